"""Ticks to steps: stretches of one metre, the grid's phase, and rounding.

Works in ticks, so tempo changes don't matter. A change of metre splits a song; bars count from the
place where the metre starts. Steps are 16ths, half rounds up, and a note lasts at least one step.

Some recordings were made without a click and later aligned to beats by one constant amount, so that
nearly no onset lies on a 16th although the rhythm is exact. `estimate_phase` finds that amount as a
circular mean (Mardia & Jupp, *Directional Statistics*, 2000, ch. 2).
"""

import cmath
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from symusic.core import ScoreTick

Ticks = TypeVar("Ticks", int, np.ndarray)

STEPS_PER_QUARTER = 4

# A phase is believed only where onsets agree with each other (resultant) and not with the grid (near it).
LEAST_CONCENTRATION = 0.5
# Half way to the next 16th, or from a few onsets (a fill by hand), a wrong guess costs more than none.
FAR_STEPS = 0.25
FEW_ONSETS = 64
CERTAIN_CONCENTRATION = 0.75
LEAST_PHASE_STEPS = 0.12
NEAR_GRID_STEPS = 0.1
MOST_ON_GRID = 0.35
FEWEST_ONSETS = 16


@dataclass(frozen=True)
class Stretch:
    """A run of bars of one metre.

    Attributes:
        start, end: in ticks; the end is exclusive.
        numerator, denominator: the time signature.
        first_bar: 1-based number of its first bar in the piece.
        bars: number of bars, the last one counted whole.
    """

    start: int
    end: int
    numerator: int
    denominator: int
    first_bar: int
    bars: int

    @property
    def metre(self) -> str:
        """The time signature as people write it."""
        return f"{self.numerator}/{self.denominator}"

    def bar_ticks(self, ticks_per_quarter: int) -> int:
        """Length of a bar."""
        return bar_ticks(ticks_per_quarter, self.numerator, self.denominator)


def end_tick(score: ScoreTick, last_note: int) -> int:
    """Where the piece ends: at its last note, or at a later time signature.

    A file written by `musicae.music.writing` marks its end with one, so that silence at the end stays.
    """
    metres = score.time_signatures
    return max(last_note, metres[-1].time if len(metres) else 0)


def find_stretches(score: ScoreTick, end: int) -> list[Stretch]:
    """Splits a piece where the metre changes.

    Without a time signature the metre is 4/4, as the MIDI standard says. A signature repeated at a
    bar line changes nothing; one elsewhere starts a new bar there.

    Args:
        score: a checked score.
        end: where the piece ends, in ticks.
    """
    changes = [(event.time, event.numerator, event.denominator) for event in score.time_signatures]
    changes.sort(key=lambda change: change[0])
    if not changes or changes[0][0] > 0:
        changes.insert(0, (0, 4, 4))
    kept: list[tuple[int, int, int]] = []
    for time, numerator, denominator in changes:
        if kept:
            since, *metre = kept[-1]
            if time == since:
                kept.pop()
                # The later of two at one place counts, and may now repeat the one before.
                if not kept:
                    kept.append((time, numerator, denominator))
                    continue
                since, *metre = kept[-1]
            if metre == [numerator, denominator] and (time - since) % bar_ticks(score.tpq, numerator, denominator) == 0:
                continue
        kept.append((time, numerator, denominator))
    stretches: list[Stretch] = []
    first_bar = 1
    for index, (start, numerator, denominator) in enumerate(kept):
        stop = kept[index + 1][0] if index + 1 < len(kept) else end
        if stop <= start:
            continue
        bars = -(-(stop - start) // bar_ticks(score.tpq, numerator, denominator))
        stretches.append(Stretch(start, stop, numerator, denominator, first_bar, bars))
        first_bar += bars
    return stretches


def bar_ticks(ticks_per_quarter: int, numerator: int, denominator: int) -> int:
    """Length of a bar, at least one tick."""
    return max(1, ticks_per_quarter * 4 * numerator // denominator)


def estimate_phase(onset_ticks: np.ndarray, ticks_per_quarter: int) -> tuple[float, float]:
    """How far the onsets lie from the grid, all together.

    Args:
        onset_ticks: `(notes,)`.
        ticks_per_quarter: the file's division.

    Returns:
        The phase in steps, −0.5 to 0.5, positive where onsets come late; and the confidence 0 to 1
        (mean resultant length: 1 where all onsets share one phase).
    """
    if not len(onset_ticks):
        return 0.0, 0.0
    mean = complex(_turns(ticks_per_quarter)[STEPS_PER_QUARTER * onset_ticks % ticks_per_quarter].sum()) / len(
        onset_ticks
    )
    return cmath.phase(mean) / (2 * np.pi), abs(mean)


@lru_cache(maxsize=16)
def _turns(parts: int) -> np.ndarray:
    """The points of a circle of so many parts, as complex numbers; cheaper to look up than to work out."""
    return np.exp(2j * np.pi * np.arange(parts) / parts)


@dataclass(frozen=True)
class Phase:
    """How a piece lies on the grid.

    Attributes:
        onsets: how many it was estimated from.
        steps: how late the onsets lie all together, −0.5 to 0.5.
        confidence: mean resultant length, 0 to 1.
        shift: ticks to subtract from every note; 0 where the piece is taken as it is.
    """

    onsets: int
    steps: float
    confidence: float
    shift: int

    def __str__(self) -> str:
        side = "early" if self.steps < 0 else "late"
        where = f"onsets lie {abs(self.steps):.2f} of a 16th {side}, confidence {self.confidence:.2f}"
        return f"grid: {where}, {'moved' if self.shift else 'taken as written'}"


def find_phase(onset_ticks: np.ndarray, ticks_per_quarter: int) -> Phase:
    """Estimates the phase, and moves a piece only where it is clearly off the grid.

    Triplets and swing don't move the grid: a good share of their onsets lies on it. Playing by hand
    scatters onsets around their places; then only what they all share is taken away.

    Args:
        onset_ticks: `(notes,)`, counted from where the grid begins.
        ticks_per_quarter: the file's division.
    """
    steps, confidence = estimate_phase(onset_ticks, ticks_per_quarter)
    here = Phase(len(onset_ticks), steps, confidence, 0)
    doubtful = abs(steps) > FAR_STEPS or len(onset_ticks) < FEW_ONSETS
    if len(onset_ticks) < FEWEST_ONSETS or abs(steps) < LEAST_PHASE_STEPS:
        return here
    if confidence < (CERTAIN_CONCENTRATION if doubtful else LEAST_CONCENTRATION):
        return here
    places = np.asarray(onset_ticks, dtype=np.float64) * (STEPS_PER_QUARTER / ticks_per_quarter)
    near = np.abs(places - np.round(places)) <= NEAR_GRID_STEPS
    if near.mean() > MOST_ON_GRID:
        return here
    return replace(here, shift=round(steps * ticks_per_quarter / STEPS_PER_QUARTER))


def to_steps(ticks: Ticks, ticks_per_quarter: int) -> Ticks:
    """Rounds ticks to 16ths, half up: `floor(x + 1/2)` in whole numbers. int in, int out; int64 in, int64 out."""
    return (2 * STEPS_PER_QUARTER * ticks + ticks_per_quarter) // (2 * ticks_per_quarter)
