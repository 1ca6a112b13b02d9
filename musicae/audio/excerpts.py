"""Parts of a sound: all of it at a model's rate, chunks that overlap, the loudest of them.

A small file can be hours of sound: compressed silence, or a header that claims a low rate. What is held in memory at
once is bounded here. Nothing here knows tensors or models.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from musicae.audio.sound import Sound
from musicae.errors import DamagedFileError

# A chunk this far below the whole sound's RMS holds nothing to learn from.
SILENCE_DB = -50.0
MOST_SAMPLES = 200_000_000
"""Of one file, mono and at a model's rate: 3.5 hours at 16 kHz, more than one at 48 kHz, 0.8 GB."""

_SUMMED = 2**20  # in double precision at once
_GROWTH = 2**24  # samples, of a sound whose length isn't stated


@dataclass(frozen=True)
class Excerpt:
    """A part of a sound.

    Attributes:
        samples: `(samples,)`, at the sound's own level; fewer than asked for where the sound is shorter.
        start: its first sample.
        rms: of the whole sound.
    """

    samples: np.ndarray
    start: int
    rms: float


def mono_samples(sound: Sound, sample_rate_hz: int) -> np.ndarray:
    """A sound as a whole, float32 `(samples,)`, mixed to mono and resampled.

    Raises:
        DamagedFileError: more than `MOST_SAMPLES`, by its header or when it is decoded, or a file that breaks off.
    """
    stated = None if sound.stated_frames is None else round(sound.stated_frames * sample_rate_hz / sound.sample_rate_hz)
    if stated is not None and stated > MOST_SAMPLES:
        raise _too_long(sound, sample_rate_hz)
    # One array of the whole from the beginning: joining blocks would need the memory twice.
    held, count = np.empty(stated or 0, np.float32), 0
    for block in sound.mono().resample(sample_rate_hz).blocks():
        if count + len(block) > MOST_SAMPLES:
            raise _too_long(sound, sample_rate_hz)
        if count + len(block) > len(held):
            held.resize(count + max(_GROWTH, len(block)), refcheck=False)  # the system moves pages, and copies nothing
        held[count : count + len(block)] = block[:, 0]
        count += len(block)
    return held[:count]


def _too_long(sound: Sound, sample_rate_hz: int) -> DamagedFileError:
    return DamagedFileError(
        f"{sound.path or sound.name} is longer than {MOST_SAMPLES / sample_rate_hz / 3600:.1f} hours, more than is "
        f"read into memory at {sample_rate_hz} Hz; cut it into pieces."
    )


def root_mean_square(samples: np.ndarray) -> float:
    """RMS of all of an array; 0 for an empty one."""
    if not samples.size:
        return 0.0
    parts = (samples[start : start + _SUMMED] for start in range(0, len(samples), _SUMMED))
    energy = sum(float(np.square(part, dtype=np.float64).sum()) for part in parts)
    return float(np.sqrt(energy / samples.size))


def stored_chunks(samples: np.ndarray, size: int, level_rms: float) -> tuple[np.ndarray, int]:
    """Cuts a sound into chunks that overlap by half, the last one ending with the sound, and brings it to a level.

    The chunks take the place of the samples, so that an hour of sound isn't held twice: half as wide a number, twice as
    many of them, and a chunk never reaches further than the samples that are no longer needed.

    Args:
        samples: `(samples,)` float32, contiguous; overwritten.
        size: samples of a chunk, an even number.
        level_rms: RMS that the whole sound is brought to.

    Returns:
        `(chunks, size)` float16, those that are not silent, and the number of silent ones left out. A sound shorter
        than `size` is one chunk, padded with silence.
    """
    if len(samples) < size:
        samples, length = np.concatenate((samples, np.zeros(size - len(samples), np.float32))), len(samples)
    else:
        length = len(samples)
    rms = root_mean_square(samples[:length])
    threshold, scale = rms * 10 ** (SILENCE_DB / 20), level_rms / rms if rms > 0 else 0.0
    chunks, kept = samples.view(np.float16)[: len(samples) * 2 // size * size].reshape(-1, size), 0
    starts = list(range(0, len(samples) - size + 1, size // 2))
    last = samples[len(samples) - size :].copy()  # it begins before the end of the chunk before it
    if starts[-1] + size < len(samples):
        starts.append(len(samples) - size)
    for start in starts:
        chunk = last if start == len(samples) - size else samples[start : start + size]
        if root_mean_square(chunk[:length]) > threshold:
            chunks[kept] = chunk * scale
            kept += 1
    return chunks[:kept], len(starts) - kept


def find_excerpt(blocks: Iterable[np.ndarray], size: int, *, start: int | None = None) -> Excerpt:
    """Finds `size` samples in a stream: the loudest, at multiples of half of `size`, or those at `start`.

    Args:
        blocks: the sound in order, each `(samples,)`.
        size: samples wanted.
        start: where to begin; None looks for the loudest.

    Raises:
        ValueError: the sound ends before `start`.
    """
    step = max(1, size // 2)
    waiting, position, energy = np.zeros(0, np.float32), 0, 0.0
    best, best_start, best_energy = np.zeros(0, np.float32), 0, -1.0
    for block in blocks:
        energy += float(np.square(block, dtype=np.float64).sum())
        waiting = np.concatenate((waiting, block))
        while len(waiting) >= size + step:
            if start is None:
                window_energy = float(np.square(waiting[:size]).sum())
                if window_energy > best_energy:
                    best, best_start, best_energy = waiting[:size].copy(), position, window_energy
            elif position <= start < position + step:
                offset = start - position
                best, best_start = waiting[offset : offset + size].copy(), start
            waiting, position = waiting[step:], position + step
    total = position + len(waiting)
    rms = float((energy / total) ** 0.5) if total else 0.0
    if start is None:
        last = waiting[max(0, len(waiting) - size) :]
        first = waiting[:size]
        for candidate, begin in ((first, position), (last, total - len(last))):
            if float(np.square(candidate).sum()) > best_energy:
                best, best_start, best_energy = candidate, begin, float(np.square(candidate).sum())
    elif start >= position:
        if start >= total and total:
            raise ValueError(f"expected a start before the end of the sound, {total}, got {start}")
        best, best_start = waiting[start - position :][:size], start
    return Excerpt(best, best_start, rms)
