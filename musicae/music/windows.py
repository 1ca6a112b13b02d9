"""Lines of tokens to windows.

Every window counts: each bar of the model's metre starts one. What is left out is counted by reason.
In a part of several streams every one must sound in a window: with a silent bass or no drums it is no
example of a trio, and a model would learn to leave them out (MusicVAE keeps to the same rule).
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from musicae.music.codec import sliding
from musicae.music.lines import Line, Piece
from musicae.music.time_signatures import metre_is_another


@dataclass(frozen=True)
class WindowSet:
    """Windows of a piece, and what was left out.

    Attributes:
        windows: `(windows, steps, columns)`, the part's type: the streams, then the chords where they were asked for.
        first_bar: int64 `(windows,)`: 1-based number of the bar where each starts.
        skipped: reason → number of windows.
    """

    windows: np.ndarray
    first_bar: np.ndarray
    skipped: dict[str, int]


def cut_windows(piece: Piece, bars: int, min_notes: int) -> WindowSet:
    """Cuts a piece into windows, one starting at each bar.

    Args:
        piece: as `extract_piece` gives it.
        bars: length of a window.
        min_notes: fewest onsets of the first stream that make a window worth learning.
    """
    skipped: defaultdict[str, int] = defaultdict(int)
    metre = piece.metre
    steps = bars * metre.steps_per_bar
    if not piece.choice.complete:
        return _no_windows(piece, steps, {piece.choice.reason: 1})
    kept: list[np.ndarray] = []
    first_bars: list[np.ndarray] = []
    for line in piece.lines:
        stretch = line.stretch
        if not line.file_bars:
            skipped[f"metre {metre_is_another(stretch.metre, metre)}"] += max(1, stretch.bars - bars + 1)
            continue
        windows = _windows_of(piece, line, steps)
        if not len(windows):
            skipped[f"a stretch of {metre.name} shorter than {bars} bar{'s' * (bars > 1)}"] += 1
            continue
        usable = _usable(piece, line, windows, min_notes, skipped)
        kept.append(windows[usable])
        first_bars.append(stretch.first_bar + line.file_bars * np.flatnonzero(usable))
    if not kept:
        return _no_windows(piece, steps, dict(skipped))
    if len(kept) == 1:
        return WindowSet(kept[0], first_bars[0], dict(skipped))
    return WindowSet(np.concatenate(kept), np.concatenate(first_bars), dict(skipped))


def _no_windows(piece: Piece, steps: int, skipped: dict[str, int]) -> WindowSet:
    return WindowSet(np.zeros((0, steps, piece.columns), piece.part.dtype), np.zeros(0, np.int64), skipped)


def _windows_of(piece: Piece, line: Line, steps: int) -> np.ndarray:
    """All windows of a line, `(windows, steps, columns)`."""
    columns = [
        stream.windows(tokens, steps, line.steps_per_bar)
        for stream, tokens in zip(piece.part.streams, line.streams, strict=True)
    ]
    if line.chords is not None and len(columns[0]):
        columns.append(sliding(line.chords, steps, line.steps_per_bar))
    return columns[0][:, :, None] if len(columns) == 1 else np.stack(columns, axis=-1, dtype=piece.part.dtype)


def _usable(
    piece: Piece, line: Line, windows: np.ndarray, min_notes: int, skipped: defaultdict[str, int]
) -> np.ndarray:
    """Which windows are worth learning, bool `(windows,)`; the others are counted."""
    first, *others = piece.part.streams  # the column of chords comes after theirs
    notes = first.onsets(windows[..., 0]).sum(axis=1)
    usable: np.ndarray = notes >= min_notes
    if not usable.all():
        few = len(usable) - int(usable.sum())
        if len(line.outside):
            outside = _outside_counts(line, len(windows), windows.shape[1] // line.steps_per_bar)
            unspeakable = int((~usable & (notes + outside >= min_notes) & (outside > 0)).sum())
            if unspeakable:
                skipped[first.unspeakable] += unspeakable
            few -= unspeakable
        if few:
            where = f" in the {first.name}" if others else ""
            skipped[f"fewer than {min_notes} {first.onset_name}{where}"] += few
    for index, stream in enumerate(others, 1):
        silent = usable & ~stream.onsets(windows[..., index]).any(axis=1)
        if silent.any():
            skipped[f"the {stream.name} {'are' if stream.is_drums else 'is'} silent"] += int(silent.sum())
            usable = usable & ~silent
    return usable


def _outside_counts(line: Line, count: int, bars: int) -> np.ndarray:
    """Notes that no token can say in each of the first `count` windows."""
    per_bar = np.bincount(line.outside // line.steps_per_bar, minlength=line.steps // line.steps_per_bar)
    total = np.concatenate(([0], np.cumsum(per_bar)))
    return total[bars : bars + count] - total[:count]


def line_at(piece: Piece, bar: int) -> Line:
    """The line that holds a bar of the file, 1-based, 1 to `piece.bars`."""
    return next(line for line in piece.lines if bar < line.stretch.first_bar + line.stretch.bars)


def window_at(piece: Piece, bar: int, bars: int) -> np.ndarray:
    """The window that starts at a bar, filled with rests past the end of the stretch.

    Args:
        piece: one that the model reads at this bar.
        bar: 1-based, counted in the file.
        bars: length of the window in bars of the model's metre.

    Returns:
        `(bars × steps_per_bar, columns)`, as in `WindowSet`; no chord past the end.
    """
    line = line_at(piece, bar)
    start = (bar - line.stretch.first_bar) * line.steps_per_file_bar
    steps = bars * line.steps_per_bar
    columns = []
    for stream, tokens in zip(piece.part.streams, line.streams, strict=True):
        window = tokens[start : start + steps].copy()
        window[0] = stream.start(tokens, start)
        columns.append(stream.padded(window, steps))
    if line.chords is not None:
        chords = line.chords[start : start + steps]
        columns.append(np.pad(chords, (0, steps - len(chords))))
    return np.stack(columns, axis=-1, dtype=piece.part.dtype)
