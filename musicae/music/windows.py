"""Lines of tokens to windows: all of them, the one with the most notes, or the one that starts at a bar.

Every window counts: each bar of the model's time signature starts one. What is left out is counted by reason.
In a part of several streams every one must sound in a window: with a silent bass or no drums it is no
example of a trio, and a model would learn to leave them out (MusicVAE keeps to the same rule).
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from symusic.core import ScoreTick

from musicae.errors import MusicaeError
from musicae.music.config import (
    TIME_SIGNATURES,
    Instrument,
    MusicConfig,
    another_time_signature,
    in_words,
    time_signatures_for,
)
from musicae.music.piece import Piece
from musicae.music.quantize import Line, QuantizedPart, quantize
from musicae.music.score import NoteTable, note_table
from musicae.music.tokens import sliding


@dataclass(frozen=True)
class WindowSet:
    """Windows of a piece, and what was left out.

    Attributes:
        windows: `(windows, steps, columns)`, the part's type, as they are stored: the streams; then, where there are
            any, their values, the chords, and the number of the time signature; zeros behind what is shorter.
        first_bar: int64 `(windows,)`: 1-based number of the bar where each starts.
        skipped: reason → number of windows.
    """

    windows: np.ndarray
    first_bar: np.ndarray
    skipped: dict[str, int]


def cut_windows(part: QuantizedPart, bars: int, min_notes: int) -> WindowSet:
    """Cuts a piece into windows, one starting at each bar, of the file or of the model, whichever is longer.

    Args:
        part: as `quantize` gives it.
        bars: length of a window.
        min_notes: fewest onsets of the first stream that make a window worth learning.
    """
    skipped: defaultdict[str, int] = defaultdict(int)
    if not part.choice.complete:
        return _no_windows(part, bars, {part.choice.reason: 1})
    if not part.phase.has_beats:
        return _no_windows(part, bars, {"played without beats: the notes agree with no grid": 1})
    kept: list[np.ndarray] = []
    first_bars: list[np.ndarray] = []
    for line in part.lines:
        section = line.section
        if not line.is_chosen:
            continue
        if not line.is_read:
            reason = f"time signature {another_time_signature(section.time_signature, part.signatures)}"
            skipped[reason] += max(1, section.bars - bars + 1)
            continue
        windows = _windows_of(part, line, bars * line.steps_per_bar)
        if not len(windows):
            skipped[f"a section in {line.signature.name} shorter than {bars} bar{'s' * (bars > 1)}"] += 1
            continue
        usable = _usable(part, line, windows, min_notes, skipped)
        kept.append(stored(part, line, windows[usable], bars))
        first_bars.append(section.first_bar + line.file_bars(1) * np.flatnonzero(usable))
    if not kept:
        return _no_windows(part, bars, dict(skipped))
    if len(kept) == 1:
        return WindowSet(kept[0], first_bars[0], dict(skipped))
    return WindowSet(np.concatenate(kept), np.concatenate(first_bars), dict(skipped))


def _no_windows(part: QuantizedPart, bars: int, skipped: dict[str, int]) -> WindowSet:
    steps = bars * max(signature.steps_per_bar for signature in part.signatures)
    columns = len(part.part.streams) + part.with_chords + (len(part.signatures) > 1)
    columns += part.with_values * sum(2 * stream.places for stream in part.part.streams)
    return WindowSet(np.zeros((0, steps, columns), part.part.dtype), np.zeros(0, np.int64), skipped)


def stored(part: QuantizedPart, line: Line, windows: np.ndarray, bars: int) -> np.ndarray:
    """Windows of a line as they are stored.

    Args:
        part: as `quantize` gives it.
        line: whose windows they are.
        windows: `(windows, steps of so many bars in the line's time signature, columns)`.
        bars: length of a window.

    Returns:
        `(windows, steps of so many bars in the longest time signature, columns)`, as in `WindowSet`.
    """
    if len(part.signatures) == 1:
        return windows
    steps = bars * max(signature.steps_per_bar for signature in part.signatures)
    padded = np.zeros((len(windows), steps, windows.shape[2] + 1), windows.dtype)
    padded[:, : windows.shape[1], :-1] = windows
    padded[..., -1] = line.number
    return padded


def _windows_of(part: QuantizedPart, line: Line, steps: int) -> np.ndarray:
    """All windows of a line, `(windows, steps, columns)`."""
    columns = [
        stream.windows(tokens, steps, line.hop) for stream, tokens in zip(part.part.streams, line.streams, strict=True)
    ]
    if line.chords is not None and len(columns[0]):
        columns.append(sliding(line.chords, steps, line.hop))
    if not part.with_values or not len(columns[0]):
        return columns[0][:, :, None] if len(columns) == 1 else np.stack(columns, axis=-1, dtype=part.part.dtype)
    values = [
        stream.value_windows(tokens, own, steps, line.hop)
        for stream, tokens, own in zip(part.part.streams, line.streams, line.values, strict=True)
    ]
    streams = len(part.part.streams)
    parts = [np.stack(columns[:streams], axis=-1), *values, *(chords[..., None] for chords in columns[streams:])]
    return np.concatenate(parts, axis=-1, dtype=part.part.dtype)


def _usable(
    part: QuantizedPart, line: Line, windows: np.ndarray, min_notes: int, skipped: defaultdict[str, int]
) -> np.ndarray:
    """Which windows are worth learning, bool `(windows,)`; the others are counted."""
    first, *others = part.part.instruments  # the column of chords comes after theirs
    notes = onset_counts(first, windows)
    usable: np.ndarray = notes >= min_notes
    if not usable.all():
        few = len(usable) - int(usable.sum())
        if len(line.outside):
            outside = _outside_counts(line, len(windows), windows.shape[1])
            unsaid = int((~usable & (notes + outside >= min_notes) & (outside > 0)).sum())
            if unsaid:
                skipped[first.streams[0].without_token] += unsaid
            few -= unsaid
        if few:
            where = f" in the {first.name}" if others else ""
            skipped[f"fewer than {min_notes} {first.streams[0].onset_name}{where}"] += few
    for instrument in others:
        silent = usable & (onset_counts(instrument, windows) == 0)
        if silent.any():
            skipped[f"the {instrument.name} {'are' if instrument.is_drums else 'is'} silent"] += int(silent.sum())
            usable = usable & ~silent
    return usable


def _outside_counts(line: Line, count: int, steps: int) -> np.ndarray:
    """Notes that no token can say in each of the first `count` windows of so many steps."""
    total = np.concatenate(([0], np.cumsum(np.bincount(line.outside, minlength=line.steps))))
    starts = line.hop * np.arange(count)
    counts: np.ndarray = total[starts + steps] - total[starts]
    return counts


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
        `(steps, columns)`, as in `WindowSet`; no chord past the end.
    """
    line = line_at(part, bar)
    start = (bar - line.section.first_bar) * line.steps_per_file_bar
    steps = bars * line.steps_per_bar
    streams, values = [], []
    for index, (stream, tokens) in enumerate(zip(part.part.streams, line.streams, strict=True)):
        window = tokens[start : start + steps].copy()
        window[0] = stream.start(tokens, start)
        streams.append(stream.padded(window, steps))
        if part.with_values:
            own = stream.value_windows(
                tokens[: start + steps], line.values[index][: start + steps], len(window), start or 1
            )
            values.append(np.pad(own[1 if start else 0], ((0, steps - len(window)), (0, 0))))
    columns = [np.stack(streams, axis=-1), *values]
    if line.chords is not None:
        chords = line.chords[start : start + steps]
        columns.append(np.pad(chords, (0, steps - len(chords)))[:, None])
    return stored(part, line, np.concatenate(columns, axis=-1, dtype=part.part.dtype)[None], bars)[0]


def quantize_for(
    config: MusicConfig,
    score: ScoreTick,
    wanted: int | str | None,
    notes: NoteTable | None,
    bars: tuple[int, int] | None = None,
) -> QuantizedPart:
    """Puts the part of a score that a model reads on the grid; arguments as in `quantize`."""
    return quantize(
        score,
        config.plan,
        config.signatures,
        wanted,
        values=config.expression,
        chords=config.chords,
        bars=bars,
        notes=notes,
    )


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
        part = quantize_for(config, score, wanted, note_table(score), piece.chosen_bars)
    except MusicaeError as error:
        raise MusicaeError(f"{piece.label}: {error}") from None
    if not part.choice.complete:
        raise MusicaeError(f"{piece.label} has {part.choice.reason}; expected {config.plan.wanted}.")
    if not part.phase.has_beats:
        raise MusicaeError(
            f"{piece.label} was played without beats: its notes agree with no grid ({part.phase.agreement:.2f} of 1), "
            "as in a recording turned into notes; match it to the beat in a sequencer (tempo mapping) and export it."
        )
    if piece.chosen_bars is not None and not piece.chosen_bars[1] <= part.bars:
        raise MusicaeError(f"{piece.label} has no bar {piece.chosen_bars[1]}; choose 1 to {part.bars}.")
    if not any(line.is_read for line in part.lines):
        found = {line.section.time_signature for line in part.lines if line.is_chosen}
        raise _in_another(piece.label, sorted(found), config)
    return part


def _in_another(label: str, found: list[str], config: MusicConfig) -> MusicaeError:
    there, readers = ", ".join(found), time_signatures_for(found)
    advice = f", or train a model for {' or '.join(readers)}" if readers else f": no model can be trained for {there}"
    return MusicaeError(
        f"{label} is in {there}; this model reads {in_words(config.signatures)}; choose another file{advice} "
        f"(there are {', '.join(TIME_SIGNATURES)})."
    )


def densest_window(part: QuantizedPart, config: MusicConfig, label: str) -> tuple[int, np.ndarray]:
    """The bar where the window with the most notes starts, 1-based, and the window `(steps, columns)`."""
    found = cut_windows(part, config.bars, 1)
    if len(found.windows):
        best = int(_onset_counts(part, found.windows).argmax())
        return int(found.first_bar[best]), found.windows[best]
    for line in part.lines:  # every section is shorter than a window, or a stream is silent everywhere
        if line.is_read and line.section.bars < line.file_bars(config.bars):
            window = window_at(part, line.section.first_bar, config.bars)
            if _onset_counts(part, window[None])[0]:
                return line.section.first_bar, window
    raise nothing_sounds(label, config)


def nothing_sounds(label: str, config: MusicConfig) -> MusicaeError:
    """Says that no window has what the model plays."""
    return MusicaeError(
        f"{label} has no window in {in_words(config.signatures)} with {config.plan.sound}; choose another file or "
        "track."
    )


def _onset_counts(part: QuantizedPart, windows: np.ndarray) -> np.ndarray:
    """Onsets of all instruments in each window, `(windows,)`; 0 where one has none."""
    counts = np.stack([onset_counts(instrument, windows) for instrument in part.part.instruments])
    return np.where((counts > 0).all(axis=0), counts.sum(axis=0), 0)


def onset_counts(instrument: Instrument, windows: np.ndarray) -> np.ndarray:
    """How often an instrument is struck in each window `(windows, steps, columns)`; steps of drums count once."""
    counts: np.ndarray = instrument.streams[0].onsets(windows[..., instrument.columns]).sum(axis=(1, 2))
    return counts


def window_from(part: QuantizedPart, config: MusicConfig, bar: int, label: str) -> np.ndarray:
    """The window that starts at a bar, `(steps, columns)`.

    Raises:
        MusicaeError: no such bar, or the model doesn't read its time signature.
    """
    if not 1 <= bar <= part.bars:
        raise MusicaeError(f"{label} has no bar {bar}; choose 1 to {part.bars}.")
    line = line_at(part, bar)
    if not line.is_read:
        raise MusicaeError(
            f"bar {bar} of {label} is in {line.section.time_signature}; this model reads "
            f"{in_words(config.signatures)}; choose another."
        )
    return window_at(part, bar, config.bars)


def bars_in_words(first: int, count: int) -> str:
    """Names some bars in a row."""
    return f"bar {first}" if count == 1 else f"bars {first}–{first + count - 1}"
