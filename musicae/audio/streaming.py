"""`SoundStream`: puts sound through a mask as it arrives, at any rate; and a whole file the same way.

At the mask's own rate the delay is that of the frames. Other rates pass through soxr's streams both ways, whose
own delay, 75 to 235 ms, is found out by trying and counted in `latency_samples`. What the mask's rate can't hold
(above its Nyquist frequency) is not lost: it is added back, turned down by as much as the upper octave of what the
mask did hear. A file mapped by a stream needs no second pass and no chunks, and comes out as it would live. Nothing
here knows models.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from musicae.audio.beyond_band import rejoined, upper_octave
from musicae.audio.files import Resampler, read_blocks, sound_info, sound_writer
from musicae.audio.frames import FrameStream, MaskFunction
from musicae.errors import MusicaeError

_TRIED_S = 1
MOST_CHANNELS = 64


class SoundStream:
    """One sound on its way through a mask.

    Args:
        mask: by how much to turn down; see `MaskFunction`.
        n_fft: window of its frames, in samples at its own rate.
        mask_rate_hz: the rate that it knows.
        sample_rate_hz: of what is pushed.
        channels: samples at a time.
    """

    def __init__(
        self, mask: MaskFunction, *, n_fft: int, mask_rate_hz: int, sample_rate_hz: int, channels: int
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._resamples = sample_rate_hz != mask_rate_hz
        watched = upper_octave(n_fft, model_rate_hz=mask_rate_hz, source_rate_hz=sample_rate_hz)
        self._frames = FrameStream(mask, n_fft=n_fft, channels=channels, watched=watched)
        self._latency_s = self._frames.latency_samples / mask_rate_hz
        self._down = Resampler(sample_rate_hz, mask_rate_hz, channels)
        self._up = Resampler(mask_rate_hz, sample_rate_hz, 2 * channels + 1)
        if self._resamples:
            self._latency_s += _resampling_delay_s(sample_rate_hz, mask_rate_hz)
            self._latency_s += _resampling_delay_s(mask_rate_hz, sample_rate_hz)
        self._pending = np.zeros((0, channels), np.float32)  # as pushed, and not given back yet
        self._heard = np.zeros((0, channels), np.float32)  # the same at the mask's rate

    @property
    def latency_samples(self) -> int:
        """The most that finished samples lag behind those pushed, at the stream's own rate."""
        return round(self._latency_s * self.sample_rate_hz)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes the next `(samples, channels)`, float32 in −1…1, and gives those that are finished.

        Raises:
            MusicaeError: samples that are not finite numbers.
        """
        if not np.isfinite(block).all():
            raise MusicaeError("the stream holds samples that are not finite numbers; check what writes it.")
        if not self._resamples:
            return self._frames.push(block).samples
        self._pending = np.concatenate((self._pending, block))
        return self._joined(self._up.push(self._columns(self._down.push(block), is_last=False)))

    def finish(self) -> np.ndarray:
        """Gives the rest; all in all it is as long as what was pushed."""
        if not self._resamples:
            return self._frames.finish().samples
        tail = self._down.push(self._pending[:0], last=True)
        ready = self._up.push(self._columns(tail, is_last=True), last=True)
        # Between two rates, rounding can cost a sample.
        missing = max(0, len(self._pending) - len(ready))
        return self._joined(np.pad(ready, ((0, missing), (0, 0)), mode="edge" if len(ready) else "constant"))

    def _columns(self, heard: np.ndarray, *, is_last: bool) -> np.ndarray:
        """Samples at the mask's rate → finished ones, what they come from, and the share removed, side by side."""
        self._heard = np.concatenate((self._heard, heard))
        parts = [self._frames.push(heard)] + ([self._frames.finish()] if is_last else [])
        samples, removed = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        origin, self._heard = self._heard[: len(samples)], self._heard[len(samples) :]
        return np.concatenate((samples, origin, removed[:, None]), axis=1)

    def _joined(self, ready: np.ndarray) -> np.ndarray:
        """Columns at the stream's rate → the result, with what the mask's rate could not hold."""
        source, self._pending = self._pending[: len(ready)], self._pending[len(ready) :]
        result, origin, removed = np.split(ready[: len(source)], [self._channels, 2 * self._channels], axis=1)
        return rejoined(result, origin, removed, source)


class StreamedBlocks:
    """Blocks of sound, cleaned as they come: `for block in streamed`.

    All blocks together are as long as the ones that went in, and sample i is sample i.

    Attributes:
        sample_rate_hz: of the blocks.
        latency_samples: the most that what came out lags behind what went in.
        latency_s: the same in seconds.
    """

    def __init__(self, blocks: Iterable[np.ndarray], open_stream: Callable[[int], SoundStream]) -> None:
        self._blocks, self._open = blocks, open_stream
        stream = open_stream(1)
        self.sample_rate_hz, self.latency_samples = stream.sample_rate_hz, stream.latency_samples
        self.latency_s = self.latency_samples / self.sample_rate_hz

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields what is finished, `(samples,)` or `(samples, channels)` as it came in.

        Raises:
            ValueError: a block of another shape than the first, or of whole numbers.
            MusicaeError: samples that are not finite numbers.
        """
        stream: SoundStream | None = None
        shape: tuple[int, ...] = ()
        for block in self._blocks:
            samples = _checked(block)
            if stream is None:
                shape = samples.shape[1:]
                stream = self._open(shape[0] if shape else 1)
            if samples.shape[1:] != shape:
                raise ValueError(
                    f"the first block was one of {_told(shape)}, a later one is of {_told(samples.shape[1:])}"
                )
            ready = stream.push(samples if shape else samples[:, None])
            if len(ready):
                yield ready.reshape(-1, *shape)
        if stream is not None and len(ready := stream.finish()):
            yield ready.reshape(-1, *shape)


def map_sound_as_stream(path: Path, target: Path, open_stream: Callable[[int, int], SoundStream]) -> None:
    """Writes what a stream makes of a file: same length, rate, channels and kind of samples.

    Args:
        path: any sound of any length.
        target: of a kind in `musicae.audio.formats`; nothing is left there on failure.
        open_stream: a rate in Hz and a number of channels → a stream.

    Raises:
        MusicaeError: no such file, no space, or a mask that is not finite.
        DamagedFileError: a file that can't be read to its end.
    """
    info = sound_info(path)
    stream = open_stream(info.sample_rate_hz, info.channels)
    with sound_writer(
        target,
        sample_rate_hz=info.sample_rate_hz,
        channels=info.channels,
        subtype=info.subtype,
        container=info.container,
        frames=info.frames,
    ) as sink:
        for block in read_blocks(path):
            sink.write(stream.push(block))
        sink.write(stream.finish())


def _checked(block: Any) -> np.ndarray:
    array = np.asarray(block)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise ValueError(f"a block is (samples,) or (samples, channels), got {array.shape}")
    if array.ndim == 2 and array.shape[1] > MOST_CHANNELS:
        raise ValueError(f"a block is (samples, channels), got {array.shape}: transpose it")
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"a block is float32 in -1…1, got {array.dtype}; divide by the largest value of the type")
    return array.astype(np.float32, copy=False)


def _told(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} channels" if shape else "one channel"


@cache
def _resampling_delay_s(from_hz: int, to_hz: int) -> float:
    """The most that a change of rate holds on to, tried with silence in blocks of a millisecond."""
    resampler = Resampler(from_hz, to_hz, 1)
    block = np.zeros((max(1, from_hz // 1000), 1), np.float32)
    pushed, given, most_s = 0, 0, 0.0
    while pushed < _TRIED_S * from_hz:
        pushed += len(block)
        given += len(resampler.push(block))
        most_s = max(most_s, pushed / from_hz - given / to_hz)
    return most_s + len(block) / from_hz  # between two tries it may be so much more
