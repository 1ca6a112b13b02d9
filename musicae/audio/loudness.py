"""How loud a sound is and gets: loudness, true peak, a limiter that lets nothing become louder than that, and fades.

The true peak is the largest value of a sound between its samples, at four times the rate (ITU-R BS.1770-4, annex 2).
Loudness is that of broadcasters (the same, annex 1: gated, and weighted as people hear), by pyloudnorm (Steinmetz &
Reiss, 2021). The limiter looks ahead: it turns down before a peak comes and up again after it, along smooth curves, and
where nothing exceeds it changes not a bit. Nothing here knows files, models or settings.
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from scipy.ndimage import minimum_filter1d

HEADROOM_DB = 1.0
"""A result may be so much louder than the true peak of its source."""
FULL_SCALE_DB = -1.0
"""True peak, at most, of a sound that has no source."""
USUAL_LUFS = -14.0
"""Loudness, at most, of a sound that has no source; what streaming services bring music to."""
SOFTEST_LUFS = -23.0
"""Loudness, at least, of what is made of a code alone, where peaks allow it; that of broadcasts (EBU R 128)."""
MADE_LU = 1.0
"""What a model makes of a sound may be so much louder than it, in loudness units."""
FADE_S = 0.008
# Interpolation to four times the rate: three new points between two samples, from so many neighbours.
_TAPS, _POINTS = 24, 4
_BEFORE, _AFTER = _TAPS // 2 - 1, _TAPS // 2
_LOOK_AHEAD_S = 0.004
# A wave that is turned down ends a little below what is allowed, since its slope moves what lies between samples.
_BELOW_CEILING = 0.99
_TINY = 1e-37
_ROUNDING = 1 + 1e-5  # a sound that nothing was changed of comes back so nearly
_ROWS_AT_ONCE = 65_536
_MOST_CHANNELS = 5
_USUAL_RMS = 0.1


class TruePeakMeter:
    """The largest value between the samples of a stream of `(frames, channels)`."""

    def __init__(self, channels: int) -> None:
        self._waiting = np.zeros((_BEFORE, channels), np.float32)  # a sound begins and ends in silence
        self._highest = 0.0

    def push(self, block: np.ndarray) -> None:
        """Takes the next frames."""
        self._waiting = np.concatenate((self._waiting, block))
        count = len(self._waiting) - _TAPS + 1
        if count > 0:
            self._highest = max(self._highest, float(_between(self._waiting, self._highest).max()))
            self._waiting = self._waiting[count:]

    def finish(self) -> float:
        """The largest value; 1 is full scale."""
        self.push(np.zeros((_AFTER, self._waiting.shape[1]), np.float32))
        return self._highest


def true_peak(samples: np.ndarray) -> float:
    """Of a whole float `(frames, channels)`; at least its largest sample."""
    meter = TruePeakMeter(samples.shape[1])
    meter.push(samples)
    return max(meter.finish(), float(np.abs(samples).max(initial=0.0)))


def loudness_lufs(samples: np.ndarray, sample_rate_hz: int) -> float:
    """Integrated loudness of float `(frames, channels)`; -inf for silence.

    Of a sound shorter than a block, it is that of the sound in silence of a block's length. More than five channels are
    mixed to one. Soft sound is measured at a usual level, since the standard takes what is below -70 LUFS for silence.
    """
    import pyloudnorm

    if samples.shape[1] > _MOST_CHANNELS:
        samples = samples.mean(1, keepdims=True)
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    if rms == 0:
        return -math.inf
    samples = samples * (_USUAL_RMS / rms)
    meter = pyloudnorm.Meter(sample_rate_hz)
    missing = math.ceil(meter.block_size * sample_rate_hz) + 1 - len(samples)
    padded = np.pad(samples.astype(np.float64), ((0, max(0, missing)), (0, 0)))
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")  # of the mean of no blocks, where all are below the gate
        found = float(meter.integrated_loudness(padded))
    return found + 20 * math.log10(rms / _USUAL_RMS) if math.isfinite(found) else -math.inf


def highest_allowed(source_true_peak: float | None) -> float:
    """The true peak that a result may have: its source's and `HEADROOM_DB`, or without one `FULL_SCALE_DB`."""
    if source_true_peak is None:
        return float(10 ** (FULL_SCALE_DB / 20))
    return source_true_peak * float(10 ** (HEADROOM_DB / 20))


def limit(
    blocks: Iterable[np.ndarray], *, true_peak: float, sample_peak: float, sample_rate_hz: int
) -> Iterator[np.ndarray]:
    """Turns a stream down around what would be too loud, and nowhere else.

    Args:
        blocks: float `(frames, channels)`, of any lengths.
        true_peak: that no value between samples may exceed; all channels are turned down alike.
        sample_peak: that no sample may exceed.
        sample_rate_hz: of the sound.

    Yields:
        The same frames, some milliseconds later.
    """
    ahead = max(1, round(_LOOK_AHEAD_S * sample_rate_hz))
    context = 2 * ahead + 1 + _TAPS  # frames on either side that a gain depends on
    waiting: np.ndarray | None = None
    for block in blocks:
        if waiting is None:
            waiting = np.zeros((context, block.shape[1]), np.float32)
        waiting = np.concatenate((waiting, block))
        if len(waiting) > 2 * context:
            yield _turned_down(waiting, true_peak, sample_peak, ahead, context)
            waiting = waiting[len(waiting) - 2 * context :]
    if waiting is not None:
        waiting = np.pad(waiting, ((0, context), (0, 0)))
        yield _turned_down(waiting, true_peak, sample_peak, ahead, context)


def fade_ends(blocks: Iterable[np.ndarray], frames: int, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Fades a stream of `(frames, channels)` in and out, so that it neither begins nor ends with a click.

    Args:
        blocks: of any lengths.
        frames: of all of them.
        sample_rate_hz: of the sound; the fades take `FADE_S`, and at most a quarter of a short sound each.
    """
    size = min(round(FADE_S * sample_rate_hz), frames // 4)
    start = 0
    for block in blocks:
        stop = start + len(block)
        if start < size or stop > frames - size:
            place = np.arange(start, stop)
            distance = np.minimum(place, frames - 1 - place) + 0.5
            rise = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / max(1, size), 0, 1))
            block = block * rise.astype(np.float32)[:, None]
        yield block
        start = stop


def _turned_down(samples: np.ndarray, true_peak: float, sample_peak: float, ahead: int, context: int) -> np.ndarray:
    """The middle of `(frames, channels)`, without `context` at either end."""
    middle = samples[context:-context]
    largest = np.abs(samples).max(initial=0.0)
    if largest * _most_between() <= min(true_peak, sample_peak):
        return middle
    between = _between(samples, true_peak).max(1) / max(true_peak, _TINY)  # from the frame _BEFORE on
    between = np.pad(between, (_BEFORE, _AFTER))
    excess = np.maximum(between, np.abs(samples).max(1) / max(sample_peak, _TINY))
    is_over = excess > _ROUNDING
    if not is_over.any():
        return middle
    wanted = np.where(is_over, _BELOW_CEILING / np.maximum(excess, 1), 1.0)
    least = minimum_filter1d(wanted, 2 * ahead + 3, mode="nearest")
    # Each gain is a weighted mean of the least gains around it, all of which know a peak that lies there.
    weights = np.hanning(2 * ahead + 3)[1:-1]
    lost = np.convolve(1 - least, weights / weights.sum(), mode="same")
    turned: np.ndarray = (middle * (1 - lost[context:-context, None])).astype(np.float32)
    return turned


def _between(samples: np.ndarray, least: float) -> np.ndarray:
    """The largest of each sample and the three points after it.

    Args:
        samples: `(frames, channels)`; the first 11 and the last 12 are only there to interpolate with.
        least: what is lower need not be found: there the result may be a sample's own value.

    Returns:
        `(frames - 23, channels)`, absolute.
    """
    sizes = np.abs(samples)
    values = sizes[_BEFORE : len(samples) - _AFTER].copy()
    is_large = sizes * np.float32(_most_between()) > least
    if is_large.any():
        # Only where one of the samples is large can what lies between them be.
        large_before = np.pad(np.cumsum(is_large, axis=0, dtype=np.int32), ((1, 0), (0, 0)))
        rows, channels = np.nonzero(large_before[_TAPS:] > large_before[:-_TAPS])
        windows = np.lib.stride_tricks.sliding_window_view(samples, _TAPS, axis=0)  # (frames, channels, taps)
        for part in range(0, len(rows), _ROWS_AT_ONCE):
            where = rows[part : part + _ROWS_AT_ONCE], channels[part : part + _ROWS_AT_ONCE]
            values[where] = np.maximum(values[where], np.abs(windows[where] @ _interpolation()).max(1))
    return values


@cache
def _interpolation() -> np.ndarray:
    """Kaiser-windowed sinc for the three points after the middle of 24 samples: float32 `(taps, 3)`."""
    places = np.arange(_TAPS)[:, None] - _BEFORE - np.arange(1, _POINTS) / _POINTS
    window = np.i0(7.0 * np.sqrt(np.clip(1 - np.square(places / (_TAPS / 2)), 0, 1))) / np.i0(7.0)
    return (np.sinc(places) * window).astype(np.float32)


def _most_between() -> float:
    """How much larger than all samples around it a value between them can be."""
    return max(1.0, float(np.abs(_interpolation()).sum(0).max()))
