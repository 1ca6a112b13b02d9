"""Sound files: which decoder reads one, what can be written, and how.

A file is recognised by its first bytes (`musicae.audio.containers`). libsndfile reads most formats; what it doesn't
(m4a, for one) goes to FFmpeg where that is installed. Each way of failing becomes one sentence. A result is of its
source's format as far as its name's ending can hold it: 24-bit FLAC stays 24-bit FLAC, Vorbis stays Vorbis; what has no
equal gets the nearest that loses nothing, or the finest there is. What a format can't hold is said before anything is
computed. Nothing here knows what the samples are for.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from musicae.atomic_io import atomic_write, check_writable
from musicae.audio.containers import Container, container_of
from musicae.audio.sound import BLOCK_FRAMES, FASTEST_RATE_HZ, MOST_CHANNELS, SLOWEST_RATE_HZ
from musicae.errors import DamagedFileError, MusicaeError

if TYPE_CHECKING:
    from musicae.audio.ffmpeg import FFmpegStream
    from musicae.audio.sound import Sound

SOUND_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64", ".m4a", ".aac",
    ".mp4",
)  # fmt: skip


# Ending of a name → libsndfile's container.
CONTAINERS = {
    ".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3", ".aiff": "AIFF",
    ".aif": "AIFF", ".au": "AU", ".caf": "CAF", ".w64": "W64", ".rf64": "RF64",
}  # fmt: skip
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

# Floats may be scaled as whole numbers of 32 bits are; what is far beyond that overflows where it is squared.
_LOUDEST = 2.0**33
# libsndfile's Vorbis encoder puts a whole block on its stack: a large one ends the process.
_ENCODED_FRAMES = 4_096


@dataclass(frozen=True)
class SoundInfo:
    """What a sound file says of itself.

    Attributes:
        sample_rate_hz: frames in a second.
        channels: samples in a frame.
        frames: length by the file's header, of which a damaged file may hold less; None where nothing states it.
        subtype: how a sample is stored, in libsndfile's words: "PCM_16", "FLOAT", "VORBIS".
        container: what holds the samples, in the same words: "WAV", "FLAC", "OGG".
    """

    sample_rate_hz: int
    channels: int
    frames: int | None
    subtype: str
    container: str = "WAV"


@dataclass(frozen=True)
class SoundFormat:
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


def result_format(
    target: Path, *, subtype: str, container: str, sample_rate_hz: int, channels: int, frames: int
) -> SoundFormat:
    """Chooses the container by a name, and for it the subtype nearest to the source's.

    Args:
        target: the file to write.
        subtype: of the source.
        container: of the source; RF64, WAV's large sibling, stays itself under the name of a WAV.
        sample_rate_hz: frames in a second.
        channels: samples in a frame.
        frames: expected length; a WAV beyond 4 GB becomes RF64.

    Raises:
        MusicaeError: the ending is of no format that can be written, or that format can't hold such a sound.
    """
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        raise MusicaeError(
            f"cannot write {target}: sounds are written as {', '.join(CONTAINERS)}; choose a name with such an ending."
        )
    chosen = SoundFormat(CONTAINERS[suffix], _nearest(CONTAINERS[suffix], suffix, subtype))
    size = frames * channels * BYTES_PER_SAMPLE.get(chosen.subtype, 1)
    if chosen.container == "WAV" and (container == "RF64" or size > _LIMIT_BYTES):
        chosen = SoundFormat("RF64", chosen.subtype)
    if chosen.container in ("AIFF", "AU") and size > _LIMIT_BYTES:
        raise MusicaeError(f"cannot write {target}: {chosen.container} holds 4 GB at most; choose .wav, .w64 or .flac.")
    _refuse_what_does_not_fit(target, chosen, sample_rate_hz, channels)
    return chosen


def _nearest(container: str, suffix: str, subtype: str) -> str:
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


def _refuse_what_does_not_fit(target: Path, chosen: SoundFormat, sample_rate_hz: int, channels: int) -> None:
    codec = "ALAC" if chosen.subtype.startswith("ALAC") else chosen.subtype if chosen.is_lossy else chosen.container
    name = {"OPUS": "Opus", "MPEG_LAYER_III": "MP3"}.get(codec, codec)
    rates_hz = _RATES_HZ.get(codec, (sample_rate_hz,))
    if sample_rate_hz not in rates_hz:
        raise MusicaeError(
            f"cannot write {target}: {name} holds {', '.join(map(str, rates_hz))} Hz and this sound has "
            f"{sample_rate_hz} Hz; choose a name ending in .flac, .wav or .ogg."
        )
    most = _MOST_CHANNELS.get(codec, channels)
    if channels > most:
        raise MusicaeError(
            f"cannot write {target}: {name} holds {most} channels at most and this sound has {channels}; "
            f"choose a name ending in .wav."
        )


def read_info(source: Path | bytes) -> SoundInfo:
    """What a file says of itself; only its header is read.

    Raises:
        MusicaeError: no such file, or a folder.
        DamagedFileError: not a sound, or one without samples.
    """
    with _opened(source) as file:
        if file.info.frames == 0:
            raise _no_samples(source)
        return file.info


def read_blocks(source: Path | bytes, *, block_frames: int = BLOCK_FRAMES) -> Iterator[np.ndarray]:
    """Yields a file's samples, float32 `(frames, channels)` where full scale is 1, in order.

    Args:
        source: the path of a file that libsndfile or FFmpeg reads, or all bytes of one that libsndfile reads.
        block_frames: most frames in a block.

    Raises:
        MusicaeError: no such file, or a folder.
        DamagedFileError: not a sound, no samples, or some that are not numbers.
    """
    frames = 0
    with _opened(source) as file:
        for block in file.blocks(block_frames):
            if not np.abs(block).max(initial=0.0) <= _LOUDEST:  # NaN is neither
                raise DamagedFileError(
                    f"{_name(source)} holds samples that are not finite numbers, or billions of times full scale; "
                    f"export it again from its source."
                )
            frames += len(block)
            yield block
    if frames == 0:
        raise _no_samples(source)


def write_sound(sound: "Sound", target: Path) -> None:
    """Writes a sound block by block. See `Sound.save`.

    Raises:
        MusicaeError: the format can't hold such a sound, or the file can't be written (no space, no permission).
    """
    check_writable(target)
    chosen = result_format(
        target, subtype=sound.subtype, container=sound.container, sample_rate_hz=sound.sample_rate_hz,
        channels=sound.channels, frames=sound.frames,
    )  # fmt: skip
    with atomic_write(target) as partial:
        frames = 0
        try:
            with soundfile.SoundFile(
                partial, "w", sound.sample_rate_hz, sound.channels, chosen.subtype, format=chosen.container
            ) as file:
                for block in sound.blocks():
                    _write_block(file, block, chosen, target)
                    frames += len(block)
            # A short file means that the disk is full, whatever the library says; an encoder can't tell its place.
            if soundfile.info(partial).frames < frames:
                raise OSError("the disk took only a part of it")
        except soundfile.SoundFileError as error:
            raise _not_written(target, error) from error


def _write_block(file: Any, block: np.ndarray, chosen: SoundFormat, target: Path) -> None:
    bits = chosen.integer_bits
    samples = block if bits is None else _as_integers(block, bits)
    if chosen.subtype in ("ULAW", "ALAW"):
        samples = np.clip(samples, -1.0, 1.0)  # beyond full scale libsndfile's telephone codes wrap
    try:
        for start in range(0, len(samples), _ENCODED_FRAMES):
            file.write(samples[start : start + _ENCODED_FRAMES])
        file.flush()
    except AssertionError as error:  # of soundfile, when fewer frames were taken than given
        raise _not_written(target, error) from error


def _as_integers(frames: np.ndarray, bits: int) -> np.ndarray:
    """Float in [-1, 1] → int32 whose upper bits are the rounded sample, clipped.

    libsndfile would scale by one less than it divides by when reading, and cut instead of round.
    """
    largest = 2.0 ** (bits - 1)
    rounded = np.clip(np.rint(frames.astype(np.float64) * largest), -largest, largest - 1)
    return rounded.astype(np.int32) << (32 - bits)


class _Bytes(io.BytesIO):
    """A file in memory that may be asked for places before its beginning, as damaged headers make libsndfile do."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return super().seek(max(0, offset) if whence == 0 else offset, whence)


class _SndfileFile:
    """A file that libsndfile opened."""

    def __init__(self, file: Any, source: Path | bytes) -> None:
        self._file, self._source = file, source
        self.info = SoundInfo(
            int(file.samplerate), int(file.channels), int(file.frames), str(file.subtype), str(file.format)
        )

    def blocks(self, block_frames: int) -> Iterator[np.ndarray]:
        while True:
            try:
                block = self._file.read(block_frames, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise DamagedFileError(
                    f"{_name(self._source)} breaks off in the middle ({_reason(error)}); fetch it again."
                ) from error
            if len(block) == 0:
                return
            yield block


class _FFmpegFile:
    """A file that FFmpeg is decoding."""

    def __init__(self, stream: "FFmpegStream", path: Path) -> None:
        self.blocks = stream.blocks
        # FFmpeg states a length in hundredths of a second, or none.
        self.info = SoundInfo(
            stream.sample_rate_hz, stream.channels, None, "PCM_16", path.suffix.removeprefix(".").upper()
        )


@contextmanager
def _opened(source: Path | bytes) -> Iterator["_SndfileFile | _FFmpegFile"]:
    """Opens a file with the decoder that takes it."""
    if isinstance(source, Path):
        if not source.exists():
            raise MusicaeError(f"no such file: {source}")
        if not source.is_file():
            raise MusicaeError(f"{source} is not a file; expected a sound such as {', '.join(SOUND_SUFFIXES[:4])}.")
    container = _container_of(source)
    reason = f"its codec is not one that libsndfile reads in {container.name}"
    if container.is_plain:
        try:
            opened = soundfile.SoundFile(_Bytes(source) if isinstance(source, bytes) else source)
        except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: it is called .raw
            reason = _reason(error)
        else:
            with opened:
                file = _SndfileFile(opened, source)
                _refuse_absurd(source, file.info)
                yield file
            return
    if isinstance(source, bytes):
        raise DamagedFileError(
            f"{_name(source)} is not a sound that can be read ({reason}); m4a, aac and mp4 are read by a path."
        )
    with _opened_by_ffmpeg(source, container, reason) as foreign:
        yield foreign


def _container_of(source: Path | bytes) -> Container:
    """What a file is, by its first bytes."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        if not file.read(1):
            raise DamagedFileError(f"{_name(source)} is empty (0 bytes); fetch it again.")
        container = container_of(file)
    if container is None:
        raise DamagedFileError(
            f"{_name(source)} is not a sound that can be read (it begins as no such file does); expected one of "
            f"{', '.join(SOUND_SUFFIXES)}."
        )
    return container


@contextmanager
def _opened_by_ffmpeg(path: Path, container: Container, reason: str) -> Iterator["_FFmpegFile"]:
    from musicae.audio.ffmpeg import FFmpegStream, is_installed  # for few files

    try:
        if not is_installed():
            raise FileNotFoundError("there is no such program")
        stream = FFmpegStream(path, container.demuxer)
    except (DamagedFileError, OSError) as error:
        raise DamagedFileError(
            f"{path} is not a sound that can be read ({reason}); expected one of {', '.join(SOUND_SUFFIXES)}, and for "
            f".m4a, .aac or .mp4 that FFmpeg is installed."
        ) from error
    with stream:
        file = _FFmpegFile(stream, path)
        _refuse_absurd(path, file.info)
        yield file


def _refuse_absurd(source: Path | bytes, info: SoundInfo) -> None:
    """Rates at which a small file would become hours, and channels by the hundred, are no recordings."""
    if not SLOWEST_RATE_HZ <= info.sample_rate_hz <= FASTEST_RATE_HZ:
        raise DamagedFileError(
            f"{_name(source)} claims {info.sample_rate_hz:,} Hz; sounds of {SLOWEST_RATE_HZ:,} to {FASTEST_RATE_HZ:,} "
            f"Hz are read; its header is probably damaged, so fetch it again."
        )
    if info.channels > MOST_CHANNELS:
        raise DamagedFileError(
            f"{_name(source)} claims {info.channels:,} channels; up to {MOST_CHANNELS} are read; fetch it again."
        )


def _name(source: Path | bytes) -> str:
    return str(source) if isinstance(source, Path) else "this data"


def _no_samples(source: Path | bytes) -> DamagedFileError:
    return DamagedFileError(f"{_name(source)} has no samples (its length is zero); expected a sound.")


def _not_written(target: Path, error: BaseException) -> MusicaeError:
    return MusicaeError(f"{target} cannot be written ({_reason(error)}); free some space or choose another folder.")


def _reason(error: BaseException) -> str:
    """The library's own words, without the path that our sentence has already."""
    return str(getattr(error, "error_string", "") or error).rstrip(".")
