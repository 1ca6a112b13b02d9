"""Sound files: read in blocks, resampled as they stream, written whole or not at all.

An hour of music takes no more memory than a second: what reads yields blocks, what writes takes them. Rates
are changed by soxr, whose streams are free of seams and of delay. Decoders are `musicae.audio.decoding`'s
matter, containers `musicae.audio.formats`'. Nothing here knows tensors, spectra or models.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from musicae.atomic_io import partial_name, refuse_place
from musicae.audio.decoding import SoundInfo, open_sound, reason
from musicae.audio.formats import PLAIN_SUFFIX, SoundKind, result_kind
from musicae.errors import DamagedFileError, MusicaeError

BLOCK_FRAMES = 65_536
# libsndfile's Vorbis encoder puts a whole block on its stack: a large one ends the process.
_ENCODED_FRAMES = 4_096


def sound_info(path: Path) -> SoundInfo:
    """Reads the header only, and where that tells of no samples counts them.

    Raises:
        MusicaeError: there is no such file.
        DamagedFileError: it is not a sound, or has no samples.
    """
    with open_sound(path) as source:
        info = source.info
        if info.frames == 0:  # FFmpeg tells a length in tenths of a second, or none
            info = replace(info, frames=sum(map(len, source.blocks(BLOCK_FRAMES))))
    if info.frames == 0:
        raise _no_samples(path)
    return info


def read_blocks(path: Path, *, block_frames: int = BLOCK_FRAMES) -> Iterator[np.ndarray]:
    """Yields a file's samples, float32 `(frames, channels)` in [-1, 1], in order.

    Args:
        path: any file that libsndfile or audioread reads.
        block_frames: most frames in a block.

    Raises:
        MusicaeError: there is no such file.
        DamagedFileError: it is not a sound, has no samples, or some that are not numbers.
    """
    frames = 0
    with open_sound(path) as source:
        for block in source.blocks(block_frames):
            if not np.isfinite(block).all():
                raise DamagedFileError(
                    f"{path} holds samples that are not finite numbers; export it again from its source."
                )
            frames += len(block)
            yield block
    if frames == 0:
        raise _no_samples(path)


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """Reads a whole file: float32 `(frames, channels)` and its sample rate in Hz. Raises as `read_blocks`."""
    return np.concatenate(list(read_blocks(path))), sound_info(path).sample_rate_hz


def read_mono_blocks(path: Path, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Yields the mean of a file's channels at a rate, float32 `(samples,)`. Raises as `read_blocks`."""
    mono = (block.mean(axis=1, keepdims=True, dtype=np.float32) for block in read_blocks(path))
    for block in resample_blocks(mono, sound_info(path).sample_rate_hz, sample_rate_hz):
        yield block[:, 0]


def read_mono(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Reads the mean of a file's channels at a rate, float32 `(samples,)`. Raises as `read_blocks`."""
    return np.concatenate(list(read_mono_blocks(path, sample_rate_hz)))


def resample_blocks(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Changes the rate of a stream of float32 `(frames, channels)`, without seams or delay.

    The length becomes `frames · to_hz / from_hz`, rounded; the sample at time 0 stays at time 0.
    """
    if from_hz == to_hz:
        yield from blocks
        return
    resampler: Resampler | None = None
    channels = 0
    for block in blocks:
        if resampler is None:
            channels = block.shape[1]
            resampler = Resampler(from_hz, to_hz, channels)
        yield resampler.push(block)
    if resampler is not None:
        yield resampler.push(np.zeros((0, channels), np.float32), last=True)


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Changes the rate of a whole float32 `(samples,)`."""
    parts = list(resample_blocks([samples[:, None]], from_hz, to_hz))
    joined: np.ndarray = np.concatenate(parts)[:, 0]
    return joined


class Resampler:
    """soxr's stream for `(frames, channels)` float32; equal rates pass through untouched."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        import soxr

        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
        self._channels = channels

    def push(self, block: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Takes the next frames and gives those that are ready; after `last` nothing may follow."""
        if self._stream is None:
            return block
        ready: np.ndarray = self._stream.resample_chunk(np.ascontiguousarray(block, np.float32), last=last)
        return ready.reshape(-1, self._channels)


@contextmanager
def sound_writer(
    target: Path, *, sample_rate_hz: int, channels: int, subtype: str, frames: int = 0, container: str = "WAV"
) -> Iterator[Any]:
    """Opens a sound file that appears at `target` only when all of it is written.

    Args:
        target: its ending says which container, see `musicae.audio.formats`; its folder is made where needed.
        sample_rate_hz: frames in a second.
        channels: samples in a frame.
        subtype: of the source; kept where the container can hold it, else the nearest.
        frames: expected length; beyond 4 GB a WAV becomes RF64, its large sibling.
        container: of the source.

    Yields:
        An object with `write(frames)`, float `(frames, channels)`; beyond [-1, 1] integers are clipped.

    Raises:
        MusicaeError: the kind can't hold such a sound, or the file can't be written (no space, no permission).
    """
    import soundfile

    refuse_place(target)
    kind = result_kind(
        target,
        subtype=subtype,
        container=container,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        frames=frames,
    )
    partial = partial_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = soundfile.SoundFile(partial, "w", sample_rate_hz, channels, kind.subtype, format=kind.container)
    except (OSError, soundfile.SoundFileError) as error:
        with suppress(OSError):
            partial.unlink()  # on a full disk it is there, though it could not be opened
        raise _not_written(target, error) from error
    try:
        sink = _Sink(file, target, kind)
        with file:
            yield sink
        sink.check_whole(partial)
        try:
            partial.replace(target)
        except OSError as error:
            raise _not_written(target, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_sound(samples: np.ndarray, target: Path, sample_rate_hz: int, *, subtype: str = "PCM_16") -> None:
    """Writes float `(frames,)` or `(frames, channels)` as a WAV. Raises as `sound_writer`."""
    if target.suffix.lower() != PLAIN_SUFFIX and not target.is_dir():
        raise MusicaeError(f"cannot write {target}: this is written as .wav; choose a name ending in .wav.")
    frames = samples.reshape(len(samples), -1)
    with sound_writer(
        target, sample_rate_hz=sample_rate_hz, channels=frames.shape[1], subtype=subtype, frames=len(frames)
    ) as sink:
        for start in range(0, len(frames), BLOCK_FRAMES):
            sink.write(frames[start : start + BLOCK_FRAMES])


class _Sink:
    """A file being written; a short file means that the disk is full, whatever the library says."""

    def __init__(self, file: Any, target: Path, kind: SoundKind) -> None:
        self._file = file
        self._target = target
        self._kind = kind
        self._frames = 0

    def write(self, frames: np.ndarray) -> None:
        import soundfile

        bits = self._kind.integer_bits
        samples = _as_integers(frames, bits) if bits is not None else frames
        if self._kind.subtype in ("ULAW", "ALAW"):
            samples = np.clip(samples, -1.0, 1.0)  # beyond full scale libsndfile's telephone codes wrap
        try:
            for start in range(0, len(samples), _ENCODED_FRAMES):
                self._file.write(samples[start : start + _ENCODED_FRAMES])
            self._file.flush()
        except (OSError, soundfile.SoundFileError, AssertionError) as error:
            raise _not_written(self._target, error) from error
        self._frames += len(frames)

    def check_whole(self, partial: Path) -> None:
        """Raises `MusicaeError` where the closed file holds less than was written.

        Counted by the file's own header, for an encoder can't tell its place while it writes.
        """
        import soundfile

        try:
            held = soundfile.info(partial).frames
        except (OSError, soundfile.SoundFileError) as error:
            raise _not_written(self._target, error) from error
        if held < self._frames:
            raise _not_written(self._target, OSError("the disk took only a part of it"))


def _as_integers(frames: np.ndarray, bits: int) -> np.ndarray:
    """Float in [-1, 1] → int32 whose upper bits are the rounded sample, clipped.

    libsndfile would scale by one less than it divides by when reading, and cut instead of round.
    """
    largest = 2.0 ** (bits - 1)
    rounded = np.clip(np.rint(frames.astype(np.float64) * largest), -largest, largest - 1)
    return rounded.astype(np.int32) << (32 - bits)


def _no_samples(path: Path) -> DamagedFileError:
    return DamagedFileError(f"{path} has no samples (its length is zero); expected a sound.")


def _not_written(target: Path, error: Exception) -> MusicaeError:
    return MusicaeError(f"cannot write {target}: {reason(error)}; free some space or choose another folder.")
