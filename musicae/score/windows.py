"""A score to lines of melody tokens, one for each stretch of one metre, and lines to windows.

Every window counts: each bar of the model's metre starts one. What is left out is counted by reason.
This module doesn't know files, and leaves out nothing silently.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from symusic.core import ScoreTick

from musicae.score.codec import (
    FIRST_ONSET,
    HIGHEST_PITCH,
    LOWEST_PITCH,
    sounding,
    tokens_from_notes,
    windows_of,
    with_silence,
)
from musicae.score.grid import STEPS_PER_QUARTER, Stretch, end_tick, find_stretches, grid_shift, to_steps
from musicae.score.melody import MelodyChoice, choose_melody, skyline, summarise_tracks

STEPS_PER_BAR = 16
FILE_BARS = {(4, 4): 1, (2, 2): 1, (8, 8): 1, (2, 4): 2, (4, 8): 2}
"""Metres read as 4/4 → how many of the file's bars make one of 4/4: cut time is written in the same
bars, and 2/4 has the same beats with twice the bar lines."""
OUT_OF_RANGE = f"notes outside A0–C8 (MIDI {LOWEST_PITCH}–{HIGHEST_PITCH})"


@dataclass(frozen=True)
class MelodyLine:
    """The melody in one stretch.

    Attributes:
        stretch: where it lies.
        tokens: uint8 `(steps,)`, canonical; whole bars of 16 steps where the metre is read as 4/4.
        outside: onset steps of notes that no token can say, int64.
        file_bars: how many of the file's bars make one of 4/4; 0 where the metre is another.
    """

    stretch: Stretch
    tokens: np.ndarray
    outside: np.ndarray
    file_bars: int

    @property
    def steps_per_file_bar(self) -> int:
        """Steps of one bar of the file, where the metre is read as 4/4."""
        return STEPS_PER_BAR // self.file_bars


@dataclass(frozen=True)
class Melody:
    """The melody of a piece.

    Attributes:
        choice: the track, and why.
        name: the track's name; may be empty.
        program: its General MIDI program.
        lines: one for each stretch, in order; together the whole piece.
        end: the piece's end in ticks.
        grid_shift: ticks that onsets lay late, taken away.
    """

    choice: MelodyChoice
    name: str
    program: int
    lines: tuple[MelodyLine, ...]
    end: int
    grid_shift: int

    @property
    def bars(self) -> int:
        """Number of bars of the piece, in all metres."""
        return sum(line.stretch.bars for line in self.lines)


def extract_melody(score: ScoreTick, wanted: int | str | None = None) -> Melody:
    """Chooses the melody's track and puts it on the grid.

    Args:
        score: a checked score.
        wanted: the user's track, by index or name.

    Raises:
        MusicaeError: that track is not there, or has no melody.
    """
    summaries = summarise_tracks(score)
    choice = choose_melody(summaries, wanted)
    if choice.track is None:
        start = duration = pitch = np.zeros(0, dtype=np.int64)
        name, program = "", 0
    else:
        arrays = score.tracks[choice.track].notes.numpy()
        start, duration, pitch = (arrays[key].astype(np.int64) for key in ("time", "duration", "pitch"))
        name, program = summaries[choice.track].name, summaries[choice.track].program
    quarter = score.tpq
    half_step = quarter // (2 * STEPS_PER_QUARTER)
    stretches = _stretches(score, start, start + duration, half_step)
    shift = grid_shift(_since_stretch(start, stretches), quarter)
    onset, stop = start - shift, start - shift + duration
    if shift:
        stretches = _stretches(score, onset, stop, half_step)
    order = np.argsort(onset, kind="stable")
    notes = (onset[order], stop[order], pitch[order])
    lines = tuple(_line(stretch, notes, quarter, stretch is stretches[-1]) for stretch in stretches)
    return Melody(choice, name, program, lines, stretches[-1].end if stretches else 0, shift)


def _stretches(score: ScoreTick, onset: np.ndarray, stop: np.ndarray, half_step: int) -> list[Stretch]:
    """The stretches up to the end of the melody.

    A note that ends a hair past a bar line opens no bar; one that starts a hair before it does.
    """
    last = max(int(stop.max()) - half_step, int(onset.max()) + half_step + 1, 0) if len(onset) else 0
    return find_stretches(score, end_tick(score, last))


def _since_stretch(ticks: np.ndarray, stretches: list[Stretch]) -> np.ndarray:
    """Ticks counted from the start of their stretch, where its grid begins."""
    starts = np.array([0, *(stretch.start for stretch in stretches)], dtype=np.int64)
    return ticks - starts[np.searchsorted(starts, ticks, side="right") - 1]


def _line(
    stretch: Stretch, notes: tuple[np.ndarray, np.ndarray, np.ndarray], quarter: int, is_last: bool
) -> MelodyLine:
    merged = FILE_BARS.get((stretch.numerator, stretch.denominator), 0)
    length = max(1, to_steps(np.array(stretch.end - stretch.start, dtype=np.int64), quarter).item())
    steps = -(-stretch.bars // merged) * STEPS_PER_BAR if merged else length
    # Rounding carries an onset just before a change of metre over it; half a step decides where it belongs.
    reach = steps if is_last else min(steps, length)
    onset, stop, pitch = notes
    margin = quarter // STEPS_PER_QUARTER + 1
    low, high = np.searchsorted(onset, (stretch.start - margin, stretch.end + margin))
    onset, stop, pitch = onset[low:high], stop[low:high], pitch[low:high]
    first_step = to_steps(onset - stretch.start, quarter)
    if stretch.start == 0:
        first_step = np.maximum(first_step, 0)  # where the grid was shifted back, the first note may lie before it
    inside = (first_step >= 0) & (first_step < reach)
    first_step, stop, pitch = first_step[inside], stop[inside], pitch[inside]
    last_step = np.minimum(np.maximum(to_steps(stop - stretch.start, quarter), first_step + 1), reach)
    speakable = (pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH)
    outside = np.unique(first_step[~speakable])
    if len(outside):
        first_step, last_step, pitch = first_step[speakable], last_step[speakable], pitch[speakable]
    tokens = tokens_from_notes(*skyline(first_step, last_step, pitch), steps)
    return MelodyLine(stretch, tokens, outside, merged)


@dataclass(frozen=True)
class WindowSet:
    """Windows of a melody, and what was left out.

    Attributes:
        windows: uint8 `(windows, bars × 16)`.
        first_bar: int64 `(windows,)`: 1-based number of the bar where each starts.
        skipped: reason → number of windows.
    """

    windows: np.ndarray
    first_bar: np.ndarray
    skipped: dict[str, int]


def cut_windows(melody: Melody, bars: int, min_notes: int) -> WindowSet:
    """Cuts a melody into windows, one starting at each bar.

    Args:
        melody: as `extract_melody` gives it.
        bars: length of a window.
        min_notes: fewest onsets that make a window worth learning.
    """
    skipped: Counter[str] = Counter()
    steps = bars * STEPS_PER_BAR
    if melody.choice.track is None:
        return WindowSet(np.zeros((0, steps), np.uint8), np.zeros(0, np.int64), {melody.choice.reason: 1})
    kept: list[np.ndarray] = []
    first_bars: list[np.ndarray] = []
    for line in melody.lines:
        stretch = line.stretch
        if not line.file_bars:
            skipped[f"metre {stretch.metre} (this model reads 4/4)"] += max(1, stretch.bars - bars + 1)
            continue
        windows = windows_of(line.tokens, steps, STEPS_PER_BAR)
        if not len(windows):
            skipped[f"a stretch of 4/4 shorter than {bars} bars"] += 1
            continue
        notes = (windows >= FIRST_ONSET).sum(axis=1)
        enough = notes >= min_notes
        if not enough.all():
            outside = _outside_counts(line, len(windows), bars)
            unspeakable = ~enough & (notes + outside >= min_notes) & (outside > 0)
            if unspeakable.any():
                skipped[OUT_OF_RANGE] += int(unspeakable.sum())
            few = int((~enough & ~unspeakable).sum())
            if few:
                skipped[f"fewer than {min_notes} notes"] += few
            windows = windows[enough]
        kept.append(windows)
        first_bars.append(stretch.first_bar + line.file_bars * np.flatnonzero(enough))
    if not kept:
        kept, first_bars = [np.zeros((0, steps), np.uint8)], [np.zeros(0, np.int64)]
    return WindowSet(np.concatenate(kept), np.concatenate(first_bars), dict(skipped))


def _outside_counts(line: MelodyLine, count: int, bars: int) -> np.ndarray:
    """Notes outside the range in each of the first `count` windows."""
    per_bar = np.bincount(line.outside // STEPS_PER_BAR, minlength=len(line.tokens) // STEPS_PER_BAR)
    total = np.concatenate(([0], np.cumsum(per_bar)))
    return total[bars : bars + count] - total[:count]


def line_at(melody: Melody, bar: int) -> MelodyLine:
    """The line that holds a bar of the file, 1-based, 1 to `melody.bars`."""
    return next(line for line in melody.lines if bar < line.stretch.first_bar + line.stretch.bars)


def window_at(line: MelodyLine, bar: int, bars: int) -> np.ndarray:
    """The window that starts at a bar, filled with rests past the end of the stretch.

    Args:
        line: one that holds the bar and is read as 4/4.
        bar: 1-based, counted in the file.
        bars: length of the window in bars of 4/4.

    Returns:
        uint8 `(bars × 16,)`.
    """
    start = (bar - line.stretch.first_bar) * line.steps_per_file_bar
    steps = bars * STEPS_PER_BAR
    window = line.tokens[start : start + steps].copy()
    window[0] = sounding(line.tokens[: start + 1])[-1]
    return with_silence(window, steps)
