"""Sound through a mask as it arrives: `SoundStream` at any rate, `FrameStream` at the mask's own, and raw samples.

Frames stand where `stft` puts them, on samples 0, hop, 2·hop, …, with the same windows and the same sound or silence
beyond the ends; the sum of the results is divided by the sum of the windows' products. With a mask of ones the sound
comes back as it was, and cut into whatever blocks it is the same sound. All channels are turned down by one mask, from
the root mean square of their magnitudes, so that everything stays where it is in the stereo image.

At the mask's own rate the delay is that of the frames. Other rates pass through soxr's streams both ways, whose own
delay, 75 to 235 ms, is found out by trying and counted in `latency_samples`. What the mask's rate can't hold (above its
Nyquist frequency) is not lost: it is added back, turned down by as much as the upper octave of what the mask was given.
A sound that goes through a stream needs no chunks, and comes out as it would live. Nothing here knows models.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from musicae.audio.loudness import highest_allowed, limit
from musicae.audio.overlap_add import upper_octave, with_upper_band
from musicae.audio.sound import MOST_CHANNELS, Resampler, Sound
from musicae.audio.stft import windows
from musicae.errors import MusicaeError

MaskFunction = Callable[[np.ndarray], np.ndarray]
"""Magnitudes of the next frames, float32 `(frequency, time)` → factors for them, same shape; it keeps its own past."""

# At most so many frames go through the mask at once, which bounds the memory.
_FRAMES_PER_CALL = 256
# Energy of a cell below which it is no use to ask by how much it was turned down.
_SILENT_CELL = 1e-12
# A mask is given nothing louder than this: beyond, float32 can't hold a square any more. Full scale is about n_fft / 4.
_LOUDEST_CELL = 1e15
_TRIED_S = 1
_LITTLE_ENDIAN = {"u8": "u1", "s16le": "<i2", "s24le": "u1", "s32le": "<i4", "f32le": "<f4"}
SAMPLE_FORMATS = tuple(_LITTLE_ENDIAN)
"""FFmpeg's names: unsigned or signed whole numbers, or floats, and their bits; little-endian."""

_BITS = {"u8": 8, "s16le": 16, "s24le": 24, "s32le": 32, "f32le": 32}
_READ_BYTES = 65_536


class Masked(NamedTuple):
    """Finished samples.

    Attributes:
        samples: `(samples, channels)`.
        removed: `(samples,)`: the share of the watched frequencies' amplitude that is gone, 0…1.
    """

    samples: np.ndarray
    removed: np.ndarray


class FrameStream:
    """Overlap-add of masked frames, for one sound.

    Args:
        mask: by how much to turn down.
        n_fft: window in samples, a multiple of 4; the hop is a quarter of it.
        channels: samples at a time.
        watched: frequencies, by their numbers, of which `Masked.removed` tells.
    """

    def __init__(self, mask: MaskFunction, *, n_fft: int, channels: int, watched: slice = slice(None)) -> None:
        self._mask = mask
        pair = windows(n_fft)
        self._n_fft, self._hop = n_fft, n_fft // 4
        self._before, self._after = pair.before, n_fft - pair.before  # of frame 0, on either side of sample 0
        self._watched = watched
        self._analysis, self._synthesis = pair.analysis.astype(np.float32), pair.synthesis.astype(np.float32)
        self._hops = pair.reach // self._hop  # that a frame gives sound for, the last ones of its window
        self._received = self._given = 0
        # Mirrored at its ends, the sound has to be known before it begins; live sound begins and ends in silence.
        self._is_mirrored = pair.reach == n_fft
        self._has_start = not self._is_mirrored
        # From the start of the next frame on, once it has one.
        self._waiting = np.zeros((0 if self._is_mirrored else self._before, channels), np.float32)
        # Sums over the frames so far, from the first sample that a later frame still adds to.
        self._sum = np.zeros((self._hops - 1, self._hop, channels), np.float32)
        self._weight = np.zeros((self._hops - 1, self._hop), np.float32)
        self._before_zero = self._hops // 2  # hops that the first frame gives sound for before there is any
        self._energies = np.zeros((2, 0), np.float32)  # of masked and of given frames, from one before the next hop on

    @property
    def latency_samples(self) -> int:
        """The most that finished samples lag behind those received: a sample is under windows that end so far off."""
        return self._hops * self._hop - 1

    def push(self, samples: np.ndarray) -> Masked:
        """Takes the next `(samples, channels)`, float32, and gives those that are finished."""
        self._received += len(samples)
        finished = self._take(samples)
        self._given += len(finished.samples)
        return finished

    def finish(self) -> Masked:
        """Gives the rest; then as many samples were given as were received."""
        missing = self._received - self._given
        # A sound that is too short to be mirrored goes on in silence.
        added = 0 if self._has_start else self._before + 1 - len(self._waiting)
        parts = [self._take(np.zeros((added, self._waiting.shape[1]), np.float32))]
        if self._is_mirrored:
            parts.append(self._take(self._waiting[-self._after - 1 : -1][::-1]))
        else:
            size = self._after + -self._received % self._hop
            parts.append(self._take(np.zeros((size, self._waiting.shape[1]), np.float32)))
        rest = self._sum / np.maximum(self._weight, 1e-8)[..., None]
        parts.append(Masked(rest.reshape(-1, rest.shape[2]), self._removed(len(rest))))
        samples, removed = (np.concatenate(columns)[:missing] for columns in zip(*parts, strict=True))
        self._given += len(samples)
        return Masked(samples, removed)

    def _take(self, samples: np.ndarray) -> Masked:
        self._waiting = np.concatenate((self._waiting, samples))
        if not self._has_start and len(self._waiting) > self._before:
            self._waiting = np.concatenate((self._waiting[self._before : 0 : -1], self._waiting))
            self._has_start = True
        finished = [Masked(self._waiting[:0], np.zeros(0, np.float32))]
        while self._has_start and (count := (len(self._waiting) - self._n_fft) // self._hop + 1) > 0:
            count = min(count, _FRAMES_PER_CALL)
            finished.append(self._add(count))
            self._waiting = self._waiting[count * self._hop :]
        return Masked(*(np.concatenate(columns) for columns in zip(*finished, strict=True)))

    def _add(self, count: int) -> Masked:
        """Puts the next frames through the mask and adds them up; gives the hops that are final now."""
        starts = range(0, count * self._hop, self._hop)
        frames = [self._waiting[start : start + self._n_fft].T for start in starts]
        given = np.stack(frames) * self._analysis  # (count, channels, n_fft)
        masked = np.fft.irfft(self._masked(np.fft.rfft(given)), n=self._n_fft) * self._synthesis
        # Hop h of what frame k gives lies on hop k + h.
        parts = masked.reshape(count, -1, 4, self._hop)[:, :, -self._hops :].transpose(2, 0, 3, 1)
        products = (self._analysis * self._synthesis).reshape(4, 1, self._hop)[-self._hops :]
        sums, weights = (
            np.concatenate((part, np.zeros((count, *part.shape[1:]), np.float32))) for part in (self._sum, self._weight)
        )
        for hop, (part, product) in enumerate(zip(parts, products, strict=True)):
            sums[hop : hop + count] += part  # (count, hop, channels)
            weights[hop : hop + count] += product
        self._sum, self._weight = sums[count:], weights[count:]
        early = min(self._before_zero, count)
        self._before_zero -= early
        final = sums[early:count] / weights[early:count, :, None]
        return Masked(final.reshape(-1, final.shape[2]), self._removed(len(final)))

    def _masked(self, spectrum: np.ndarray) -> np.ndarray:
        """`(time, channels, frequency)` complex → the same, turned down."""
        sizes = np.minimum(np.abs(spectrum), _LOUDEST_CELL)
        magnitude = np.sqrt(np.square(sizes).mean(1)).astype(np.float32).T  # (frequency, time)
        mask = self._mask(np.ascontiguousarray(magnitude))
        if mask.shape != magnitude.shape:
            raise ValueError(f"expected a mask of shape {magnitude.shape}, got {mask.shape}")
        if not np.isfinite(mask).all():
            raise MusicaeError("the model's result holds values that are not finite; train it again or use another.")
        energies = [np.square(part[self._watched]).mean(0) for part in (magnitude * mask, magnitude)]
        now = np.stack(energies)
        if not self._energies.shape[1]:  # the first frame has no other before it
            now = np.pad(now, ((0, 0), (1 if self._is_mirrored else 2, 0)), mode="edge")
        self._energies = np.concatenate((self._energies, now), axis=1)
        return spectrum * mask.T[:, None]

    def _removed(self, hops: int) -> np.ndarray:
        """What is missing from the next hops, for each sample: a line between smoothed frames."""
        if hops == 0:
            return np.zeros(0, np.float32)
        # A hop lies between two frames, each of which is smoothed with its neighbours, live with the two before it.
        energies = self._energies[:, : hops + 3]
        if energies.shape[1] < hops + 3:  # at the end
            energies = np.pad(energies, ((0, 0), (0, hops + 3 - energies.shape[1])), mode="edge")
        self._energies = self._energies[:, hops:]
        smooth = energies[:, :-2] + energies[:, 1:-1] + energies[:, 2:]  # (2, hops + 1)
        kept = np.sqrt((smooth[0] + _SILENT_CELL) / (smooth[1] + _SILENT_CELL)).clip(0.0, 1.0)
        places = np.arange(hops * self._hop, dtype=np.float32) / self._hop
        return (1.0 - np.interp(places, np.arange(hops + 1), kept)).astype(np.float32)


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
        self._given = np.zeros((0, channels), np.float32)  # the same at the mask's rate

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

    def _columns(self, given: np.ndarray, *, is_last: bool) -> np.ndarray:
        """Samples at the mask's rate → finished ones, what they come from, and the share removed, side by side."""
        self._given = np.concatenate((self._given, given))
        parts = [self._frames.push(given)] + ([self._frames.finish()] if is_last else [])
        samples, removed = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        origin, self._given = self._given[: len(samples)], self._given[len(samples) :]
        return np.concatenate((samples, origin, removed[:, None]), axis=1)

    def _joined(self, ready: np.ndarray) -> np.ndarray:
        """Columns at the stream's rate → the result, with what the mask's rate could not hold."""
        source, self._pending = self._pending[: len(ready)], self._pending[len(ready) :]
        result, origin, removed = np.split(ready[: len(source)], [self._channels, 2 * self._channels], axis=1)
        return with_upper_band(result, origin, removed, source)


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
                    f"the first block was one of {_described(shape)}, a later one is of {_described(samples.shape[1:])}"
                )
            ready = stream.push(samples if shape else samples[:, None])
            if len(ready):
                yield ready.reshape(-1, *shape)
        if stream is not None and len(ready := stream.finish()):
            yield ready.reshape(-1, *shape)


def through_stream(sound: Sound, open_stream: Callable[[], SoundStream]) -> Sound:
    """What a stream makes of a sound, computed when it is read: same length, rate, channels and format.

    Nothing in it is louder than the source's true peak and `loudness.HEADROOM_DB`.

    Args:
        sound: of any length.
        open_stream: a fresh stream at the sound's rate, for each reading.
    """

    def blocks() -> Iterator[np.ndarray]:
        stream = open_stream()
        for block in sound.blocks():
            yield stream.push(block)
        yield stream.finish()

    def limited() -> Iterator[np.ndarray]:
        most, peak = highest_allowed(sound.true_peak), max(1.0, sound.levels.peak)
        return limit(blocks(), true_peak=most, sample_peak=peak, sample_rate_hz=sound.sample_rate_hz)

    return Sound.from_blocks(
        limited, sound.sample_rate_hz, sound.channels, sound.frames, sound.subtype, sound.container,
        name=sound.name, suffix=sound.suffix, remarks=sound.remarks,
    )  # fmt: skip


def _checked(block: Any) -> np.ndarray:
    array = np.asarray(block)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise ValueError(f"a block is (samples,) or (samples, channels), got {array.shape}")
    if array.ndim == 2 and array.shape[1] > MOST_CHANNELS:
        raise ValueError(f"a block is (samples, channels), got {array.shape}: transpose it")
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"a block is float32 in -1…1, got {array.dtype}; divide by the largest value of the type")
    return array.astype(np.float32, copy=False)


def _described(shape: tuple[int, ...]) -> str:
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


class Readable(Protocol):
    """A binary stream that gives what it has without waiting for more, as Python's buffered ones do."""

    def read1(self, size: int, /) -> bytes:
        """Reads once; nothing at the end."""


def read_pcm(source: Readable, sample_format: str, channels: int) -> Iterator[np.ndarray]:
    """Yields what a pipe has, as soon as it has it, to its end; bytes too few for all channels are left out there.

    Args:
        source: a pipe.
        sample_format: one of `SAMPLE_FORMATS`.
        channels: samples at a time, one after the other.
    """
    size = channels * _BITS[sample_format] // 8
    waiting = b""
    while data := source.read1(_READ_BYTES):
        waiting += data
        whole = len(waiting) // size * size
        if whole:
            yield decode_pcm(waiting[:whole], sample_format, channels)
            waiting = waiting[whole:]


def decode_pcm(data: bytes, sample_format: str, channels: int) -> np.ndarray:
    """Bytes → float32 `(samples, channels)` in −1…1."""
    raw = np.frombuffer(data, _LITTLE_ENDIAN[sample_format])
    if sample_format == "s24le":
        raw = _widened(raw)
    samples = raw.astype(np.float64)
    if sample_format == "u8":
        samples -= 128
    if sample_format != "f32le":
        samples /= 2.0 ** (_BITS[sample_format] - 1)
    return samples.astype(np.float32).reshape(-1, channels)


def encode_pcm(samples: np.ndarray, sample_format: str) -> bytes:
    """Float `(samples, channels)` → bytes; whole numbers are rounded, and clipped to what they hold."""
    if sample_format == "f32le":
        return samples.astype("<f4").tobytes()
    largest = 2.0 ** (_BITS[sample_format] - 1)
    rounded = np.clip(np.rint(samples.astype(np.float64) * largest), -largest, largest - 1)
    if sample_format == "u8":
        return (rounded + 128).astype("u1").tobytes()
    if sample_format == "s24le":
        return rounded.astype("<i4").reshape(-1, 1).view("u1")[:, :3].tobytes()
    return rounded.astype(_LITTLE_ENDIAN[sample_format]).tobytes()


def _widened(raw: np.ndarray) -> np.ndarray:
    """Three bytes a number → int32."""
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    numbers: np.ndarray = wide.view("<i4")[:, 0] >> 8
    return numbers
