"""Lines of tokens to windows: all of them, the one with the most notes, or the one that starts at a bar.

Every window counts: each bar of the model's time signature starts one. What is left out is counted by reason.
In a part of several streams every one must sound in a window: with a silent bass or no drums it is no
example of a trio, and a model would learn to leave them out (MusicVAE keeps to the same rule).
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from musicae.errors import MusicaeError
from musicae.music.config import TIME_SIGNATURES, MusicConfig, another_time_signature, time_signatures_for
from musicae.music.piece import Piece
from musicae.music.quantize import Line, QuantizedPart, quantize
from musicae.music.score import note_table
from musicae.music.tokens import sliding


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


def cut_windows(part: QuantizedPart, bars: int, min_notes: int) -> WindowSet:
    """Cuts a piece into windows, one starting at each bar.

    Args:
        part: as `quantize` gives it.
        bars: length of a window.
        min_notes: fewest onsets of the first stream that make a window worth learning.
    """
    skipped: defaultdict[str, int] = defaultdict(int)
    signature = part.signature
    steps = bars * signature.steps_per_bar
    if not part.choice.complete:
        return _no_windows(part, steps, {part.choice.reason: 1})
    kept: list[np.ndarray] = []
    first_bars: list[np.ndarray] = []
    for line in part.lines:
        section = line.section
        if not line.file_bars:
            reason = f"time signature {another_time_signature(section.time_signature, signature)}"
            skipped[reason] += max(1, section.bars - bars + 1)
            continue
        windows = _windows_of(part, line, steps)
        if not len(windows):
            skipped[f"a section in {signature.name} shorter than {bars} bar{'s' * (bars > 1)}"] += 1
            continue
        usable = _usable(part, line, windows, min_notes, skipped)
        kept.append(windows[usable])
        first_bars.append(section.first_bar + line.file_bars * np.flatnonzero(usable))
    if not kept:
        return _no_windows(part, steps, dict(skipped))
    if len(kept) == 1:
        return WindowSet(kept[0], first_bars[0], dict(skipped))
    return WindowSet(np.concatenate(kept), np.concatenate(first_bars), dict(skipped))


def _no_windows(part: QuantizedPart, steps: int, skipped: dict[str, int]) -> WindowSet:
    return WindowSet(np.zeros((0, steps, part.columns), part.part.dtype), np.zeros(0, np.int64), skipped)


def _windows_of(part: QuantizedPart, line: Line, steps: int) -> np.ndarray:
    """All windows of a line, `(windows, steps, columns)`."""
    columns = [
        stream.windows(tokens, steps, line.steps_per_bar)
        for stream, tokens in zip(part.part.streams, line.streams, strict=True)
    ]
    if line.chords is not None and len(columns[0]):
        columns.append(sliding(line.chords, steps, line.steps_per_bar))
    return columns[0][:, :, None] if len(columns) == 1 else np.stack(columns, axis=-1, dtype=part.part.dtype)


def _usable(
    part: QuantizedPart, line: Line, windows: np.ndarray, min_notes: int, skipped: defaultdict[str, int]
) -> np.ndarray:
    """Which windows are worth learning, bool `(windows,)`; the others are counted."""
    first, *others = part.part.streams  # the column of chords comes after theirs
    notes = first.onsets(windows[..., 0]).sum(axis=1)
    usable: np.ndarray = notes >= min_notes
    if not usable.all():
        few = len(usable) - int(usable.sum())
        if len(line.outside):
            outside = _outside_counts(line, len(windows), windows.shape[1] // line.steps_per_bar)
            unsaid = int((~usable & (notes + outside >= min_notes) & (outside > 0)).sum())
            if unsaid:
                skipped[first.without_token] += unsaid
            few -= unsaid
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


def line_at(part: QuantizedPart, bar: int) -> Line:
    """The line that holds a bar of the file, 1-based, 1 to `part.bars`."""
    return next(line for line in part.lines if bar < line.section.first_bar + line.section.bars)


def window_at(part: QuantizedPart, bar: int, bars: int) -> np.ndarray:
    """The window that starts at a bar, filled with rests past the end of the section.

    Args:
        part: one that the model reads at this bar.
        bar: 1-based, counted in the file.
        bars: length of the window in bars of the model.

    Returns:
        `(bars × steps_per_bar, columns)`, as in `WindowSet`; no chord past the end.
    """
    line = line_at(part, bar)
    start = (bar - line.section.first_bar) * line.steps_per_file_bar
    steps = bars * line.steps_per_bar
    columns = []
    for stream, tokens in zip(part.part.streams, line.streams, strict=True):
        window = tokens[start : start + steps].copy()
        window[0] = stream.start(tokens, start)
        columns.append(stream.padded(window, steps))
    if line.chords is not None:
        chords = line.chords[start : start + steps]
        columns.append(np.pad(chords, (0, steps - len(chords))))
    return np.stack(columns, axis=-1, dtype=part.part.dtype)


def read_part(piece: Piece, config: MusicConfig, track: int | str | None = None) -> QuantizedPart:
    """Puts the part of a piece that a model reads on the grid.

    Args:
        piece: any.
        config: of the model.
        track: in place of the piece's choice and the config's.

    Raises:
        MusicaeError: the part is not in it, or no bar of the model's time signature.
    """
    wanted = next((choice for choice in (track, piece.chosen_track, config.track) if choice is not None), None)
    score = piece.score
    try:
        part = quantize(score, config.plan, config.signature, wanted, chords=config.chords, notes=note_table(score))
    except MusicaeError as error:
        raise MusicaeError(f"{piece.label}: {error}") from None
    if not part.choice.complete:
        raise MusicaeError(f"{piece.label} has {part.choice.reason}; expected {config.plan.wanted}.")
    if not any(line.file_bars for line in part.lines):
        raise _in_another(piece.label, sorted({line.section.time_signature for line in part.lines}), config)
    return part


def _in_another(label: str, found: list[str], config: MusicConfig) -> MusicaeError:
    there, readers = ", ".join(found), time_signatures_for(found)
    advice = f", or train a model for {' or '.join(readers)}" if readers else f": no model can be trained for {there}"
    return MusicaeError(
        f"{label} is in {there}; this model reads {config.time_signature}; choose another file{advice} "
        f"(there are {', '.join(TIME_SIGNATURES)})."
    )


def densest_window(part: QuantizedPart, config: MusicConfig, label: str) -> tuple[int, np.ndarray]:
    """The bar where the window with the most notes starts, 1-based, and the window `(steps, columns)`."""
    found = cut_windows(part, config.bars, 1)
    if len(found.windows):
        best = int(_onset_counts(part, found.windows).argmax())
        return int(found.first_bar[best]), found.windows[best]
    for line in part.lines:  # every section is shorter than a window, or a stream is silent everywhere
        if line.file_bars and line.section.bars < config.bars * line.file_bars:
            window = window_at(part, line.section.first_bar, config.bars)
            if _onset_counts(part, window[None])[0]:
                return line.section.first_bar, window
    raise nothing_sounds(label, config)


def nothing_sounds(label: str, config: MusicConfig) -> MusicaeError:
    """Says that no window has what the model plays."""
    return MusicaeError(
        f"{label} has no window in {config.time_signature} with {config.plan.sound}; choose another file or track."
    )


def _onset_counts(part: QuantizedPart, windows: np.ndarray) -> np.ndarray:
    """Onsets of all streams in each window, `(windows,)`; 0 where a stream has none."""
    counts = np.stack(
        [stream.onsets(windows[..., index]).sum(axis=1) for index, stream in enumerate(part.part.streams)]
    )
    return np.where((counts > 0).all(axis=0), counts.sum(axis=0), 0)


def window_from(part: QuantizedPart, config: MusicConfig, bar: int, label: str) -> np.ndarray:
    """The window that starts at a bar, `(steps, columns)`.

    Raises:
        MusicaeError: no such bar, or the model doesn't read its time signature.
    """
    if not 1 <= bar <= part.bars:
        raise MusicaeError(f"{label} has no bar {bar}; choose 1 to {part.bars}.")
    line = line_at(part, bar)
    if not line.file_bars:
        raise MusicaeError(
            f"bar {bar} of {label} is in {line.section.time_signature}; this model reads {config.time_signature}; "
            "choose another."
        )
    return window_at(part, bar, config.bars)


def bars_in_words(first: int, count: int) -> str:
    """Names some bars in a row."""
    return f"bar {first}" if count == 1 else f"bars {first}–{first + count - 1}"
