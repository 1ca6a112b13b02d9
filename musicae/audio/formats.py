"""Which kind of file a sound is written as: the container its name asks for, and how samples lie in it.

A result is of the kind of its source, as far as the container can hold it: 24-bit FLAC stays 24-bit FLAC, Vorbis
stays Vorbis. What has no equal gets the nearest that loses nothing, or the finest there is. Containers and codecs
are libsndfile's, and what they can't hold is said here before anything is computed. Nothing here opens files.
"""

from dataclasses import dataclass
from pathlib import Path

from musicae.errors import MusicaeError

# Ending of a name → libsndfile's container.
CONTAINERS = {
    ".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3", ".aiff": "AIFF",
    ".aif": "AIFF", ".au": "AU", ".caf": "CAF", ".w64": "W64", ".rf64": "RF64",
}  # fmt: skip
PLAIN_SUFFIX = ".wav"
LOSSY = frozenset({"VORBIS", "OPUS", "MPEG_LAYER_III"})
# Bits of a sample, by how fine it can be: a float is finer than an integer of its size. Codecs in blocks (ADPCM, GSM)
# are missing: they would change the length, so their sound is written with 16 bits.
BITS = {
    "ULAW": 14, "ALAW": 14, "PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "ALAC_16": 16, "ALAC_20": 20, "PCM_24": 24,
    "ALAC_24": 24, "PCM_32": 32, "ALAC_32": 32, "FLOAT": 33, "DOUBLE": 64,
}  # fmt: skip
BYTES_PER_SAMPLE = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_PLAIN = ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_LIMIT_BYTES = 2**32 - 2**16
_RATES_HZ = {
    "OPUS": (8_000, 12_000, 16_000, 24_000, 48_000),
    "MPEG_LAYER_III": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
_MOST_CHANNELS = {"MPEG_LAYER_III": 2, "FLAC": 8, "ALAC": 8}


@dataclass(frozen=True)
class SoundKind:
    """How a file is stored, in libsndfile's words.

    Attributes:
        container: "WAV", "FLAC", "OGG".
        subtype: "PCM_16", "FLOAT", "VORBIS".
    """

    container: str
    subtype: str

    @property
    def is_lossy(self) -> bool:
        """Whether samples come back only nearly, and may run over full scale."""
        return self.subtype in LOSSY

    @property
    def integer_bits(self) -> int | None:
        """Bits of a sample that is an integer as it is, None for all others."""
        is_integer = self.subtype.startswith(("PCM_", "ALAC_"))
        return BITS[self.subtype] if is_integer else None


def result_suffix(source: Path) -> str:
    """The ending of a result's name: the source's own where such files can be written, else ".wav"."""
    return source.suffix if source.suffix.lower() in CONTAINERS else PLAIN_SUFFIX


def kind_remark(source: Path, target: Path) -> str | None:
    """What to say of a result that could not be of its source's kind."""
    if source.suffix.lower() in CONTAINERS:
        return None
    return f"{target.name}: {source.suffix} can be read and not written; this is a {target.suffix}."


def result_kind(
    target: Path, *, subtype: str, container: str, sample_rate_hz: int, channels: int, frames: int
) -> SoundKind:
    """Chooses the container by a name, and for it the subtype nearest to the source's.

    Args:
        target: the file to write.
        subtype: of the source.
        container: of the source; RF64, WAV's large sibling, stays itself under the name of a WAV.
        sample_rate_hz: frames in a second.
        channels: samples in a frame.
        frames: expected length; a WAV beyond 4 GB becomes RF64.

    Raises:
        MusicaeError: the ending is of no kind that can be written, or that kind can't hold such a sound.
    """
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        raise MusicaeError(
            f"cannot write {target}: sounds are written as {', '.join(CONTAINERS)}; choose a name with such an ending."
        )
    kind = SoundKind(CONTAINERS[suffix], _nearest(CONTAINERS[suffix], suffix, subtype))
    size = frames * channels * BYTES_PER_SAMPLE.get(kind.subtype, 1)
    if kind.container == "WAV" and (container == "RF64" or size > _LIMIT_BYTES):
        kind = SoundKind("RF64", kind.subtype)
    if kind.container in ("AIFF", "AU") and size > _LIMIT_BYTES:
        raise MusicaeError(f"cannot write {target}: {kind.container} holds 4 GB at most; choose .wav, .w64 or .flac.")
    _refuse_what_does_not_fit(target, kind, sample_rate_hz, channels)
    return kind


def _nearest(container: str, suffix: str, subtype: str) -> str:
    import soundfile

    if suffix == ".opus":
        return "OPUS"
    offered: tuple[str, ...] = tuple(soundfile.available_subtypes(container))
    if container in ("OGG", "MP3"):
        return subtype if subtype in LOSSY and subtype in offered else str(soundfile.default_subtype(container))
    if subtype in offered and subtype in BITS:
        return subtype
    held = [name for name in _PLAIN if name in offered]
    wanted = BITS.get(subtype, 16)  # what is decoded from a lossy file has no more to say than 16 bits can
    return next((name for name in held if BITS[name] >= wanted), held[-1])


def _refuse_what_does_not_fit(target: Path, kind: SoundKind, sample_rate_hz: int, channels: int) -> None:
    coder = "ALAC" if kind.subtype.startswith("ALAC") else kind.subtype if kind.is_lossy else kind.container
    name = {"OPUS": "Opus", "MPEG_LAYER_III": "MP3"}.get(coder, coder)
    rates_hz = _RATES_HZ.get(coder, (sample_rate_hz,))
    if sample_rate_hz not in rates_hz:
        raise MusicaeError(
            f"cannot write {target}: {name} holds {', '.join(map(str, rates_hz))} Hz and this sound has "
            f"{sample_rate_hz} Hz; choose a name ending in .flac, .wav or .ogg."
        )
    most = _MOST_CHANNELS.get(coder, channels)
    if channels > most:
        raise MusicaeError(
            f"cannot write {target}: {name} holds {most} channels at most and this sound has {channels}; "
            f"choose a name ending in .wav."
        )
