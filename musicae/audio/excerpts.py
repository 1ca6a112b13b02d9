"""Chunks of a sound: all of them, the loudest, or the one at a given place, from a stream of samples.

Picking one chunk of an hour takes the memory of one chunk. Nothing here knows files, spectra or models.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

# A chunk this far below the whole file's RMS holds nothing to learn from.
SILENCE_DB = -50.0


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


def root_mean_square(samples: np.ndarray) -> float:
    """RMS of all of an array; 0 for an empty one."""
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean())) if samples.size else 0.0


def heard_chunks(samples: np.ndarray, size: int) -> tuple[list[np.ndarray], int]:
    """Cuts `(samples,)` into chunks that overlap by half, the last one ending with the sound.

    Returns:
        The chunks that are not silent, views of `samples`, and the number of silent ones left out. A sound
        shorter than `size` is one shorter chunk.
    """
    starts = list(range(0, max(1, len(samples) - size + 1), size // 2))
    if starts[-1] + size < len(samples):
        starts.append(len(samples) - size)
    threshold = root_mean_square(samples) * 10 ** (SILENCE_DB / 20)
    chunks = [samples[start : start + size] for start in starts]
    heard = [chunk for chunk in chunks if root_mean_square(chunk) > threshold]
    return heard, len(chunks) - len(heard)


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
