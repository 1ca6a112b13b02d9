"""Opens a sound with the decoder that can read it, and turns every way of failing into one sentence.

libsndfile reads most kinds; what it can't open (m4a, for one) goes to audioread, which asks FFmpeg or the
operating system. Nothing here knows what the samples are for.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicae.errors import DamagedFileError, MusicaeError

SOUND_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64", ".m4a", ".aac",
)  # fmt: skip


@dataclass(frozen=True)
class SoundInfo:
    """What a sound file says of itself.

    Attributes:
        sample_rate_hz: frames in a second.
        channels: samples in a frame.
        frames: length by the file's header; a damaged file may hold fewer.
        subtype: how a sample is stored, in libsndfile's words: "PCM_16", "FLOAT", "VORBIS".
        container: what holds the samples, in the same words: "WAV", "FLAC", "OGG".
    """

    sample_rate_hz: int
    channels: int
    frames: int
    subtype: str
    container: str = "WAV"

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate_hz


class _SndfileSource:
    """A file that libsndfile opened."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path
        self.info = SoundInfo(
            int(file.samplerate), int(file.channels), int(file.frames), str(file.subtype), str(file.format)
        )

    def blocks(self, block_frames: int) -> Iterator[np.ndarray]:
        import soundfile

        while True:
            try:
                block = self._file.read(block_frames, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise DamagedFileError(
                    f"{self._path} breaks off in the middle ({reason(error)}); fetch it again."
                ) from error
            if len(block) == 0:
                return
            yield block


class _AudioreadSource:
    """A file that one of audioread's decoders opened; its samples are 16-bit."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path
        self.info = SoundInfo(
            int(file.samplerate),
            int(file.channels),
            int(float(file.duration) * file.samplerate),
            "PCM_16",
            path.suffix.removeprefix(".").upper(),
        )

    def blocks(self, block_frames: int) -> Iterator[np.ndarray]:
        import audioread

        # Decoders give packets of any size, which may end between two channels; files are compared block by block.
        waiting, rest = np.zeros((0, self.info.channels), np.float32), b""
        size = 2 * self.info.channels
        try:
            for data in self._file:
                rest += data
                whole = len(rest) // size * size
                samples = np.frombuffer(rest[:whole], "<i2").astype(np.float32) / 32_768
                rest = rest[whole:]
                waiting = np.concatenate((waiting, samples.reshape(-1, self.info.channels)))
                while len(waiting) >= block_frames:
                    yield waiting[:block_frames]
                    waiting = waiting[block_frames:]
            if len(waiting):
                yield waiting
        except audioread.DecodeError as error:
            raise DamagedFileError(f"{self._path} breaks off in the middle; fetch it again.") from error


@contextmanager
def open_sound(path: Path) -> Iterator[_SndfileSource | _AudioreadSource]:
    """Opens a sound: an object with `info` and `blocks(block_frames)`.

    Raises:
        MusicaeError: there is no such file.
        DamagedFileError: no decoder here takes it.
    """
    import soundfile

    if not path.exists():
        raise MusicaeError(f"{path} does not exist; check the path.")
    if not path.is_file():
        raise MusicaeError(f"{path} is not a file; expected a sound such as {', '.join(SOUND_SUFFIXES[:4])}.")
    if path.stat().st_size == 0:
        raise DamagedFileError(f"{path} is empty (0 bytes); fetch it again.")
    try:
        opened = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError) as error:
        with _open_with_audioread(path, error) as source:
            yield source
        return
    with opened:
        yield _SndfileSource(opened, path)


@contextmanager
def _open_with_audioread(path: Path, first_error: Exception) -> Iterator[_AudioreadSource]:
    import audioread

    # Its plain readers take anything that begins like a WAV; libsndfile has refused those for a reason.
    try:
        opened = audioread.audio_open(str(path), backends=_decoders())
    except (audioread.DecodeError, OSError, EOFError) as error:
        raise DamagedFileError(
            f"{path} is not a sound that can be read ({reason(first_error)}); expected one of "
            f"{', '.join(SOUND_SUFFIXES)}, and for .m4a or .aac that FFmpeg is installed."
        ) from error
    with opened:
        yield _AudioreadSource(opened, path)


def _decoders() -> list[Any]:
    import audioread

    with warnings.catch_warnings():
        # Asking imports modules that Python 3.13 removed; audioread knows, and does without them there.
        warnings.simplefilter("ignore", DeprecationWarning)
        return [backend for backend in audioread.available_backends() if backend.__name__ != "RawAudioFile"]


def reason(error: BaseException) -> str:
    """Returns the library's own words, without the path that our sentence has already."""
    return str(getattr(error, "error_string", "") or error).rstrip(".")
