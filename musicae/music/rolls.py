"""Pieces and token windows as piano rolls, for `musicae.plots.piano_rolls`.

A roll is uint8 `(128 + drums, columns)`: 2 at an onset, or more by its velocity where notes differ in that, 1 where a
note sounds on; the rows behind the 128 pitches are drums, kick first. Where nothing but drums plays there are no
pitches. A column is a 16th, or a part of one where notes are played off the grid.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from musicae.music.midi import Notes
from musicae.music.score import STEPS_PER_QUARTER
from musicae.music.streams import DrumStream
from musicae.music.tokens import DRUM_PITCHES, struck
from musicae.roll_panel import FIRST_VELOCITY

if TYPE_CHECKING:
    from torch import Tensor

    from musicae.music.config import MusicConfig
    from musicae.music.piece import Piece

_BARS_A_ROW, _MOST_ROWS = 8, 16
_FINE = 6  # columns of a 16th where notes are played off the grid
_OTHER = "other"
"""A row for drums that no class has."""


class Rolls(NamedTuple):
    """What `piano_rolls` takes.

    Attributes:
        rows: label → rolls.
        names: of the drums' rows; none without drums.
        steps_per_bar, steps_per_beat: in columns.
    """

    rows: dict[str, list[np.ndarray]]
    names: tuple[str, ...]
    steps_per_bar: int
    steps_per_beat: int


def piece_rolls(piece: "Piece") -> Rolls:
    """Draws all tracks of a piece, eight bars a row; of one that is longer than 16 rows the beginning.

    Bars are drawn as the first time signature has them.
    """
    quarter = piece.ticks_per_quarter
    signature = piece.sections[0] if piece.sections else None
    numerator, denominator = (signature.numerator, signature.denominator) if signature else (4, 4)
    steps_per_bar = max(1, 4 * STEPS_PER_QUARTER * numerator // denominator)
    steps_per_beat = 6 if denominator == 8 and numerator % 3 == 0 else max(1, 4 * STEPS_PER_QUARTER // denominator)
    tracks = [(track.is_drum, piece.notes(track.index)) for track in piece.tracks if track.notes]
    fine = _columns_a_step([notes for _, notes in tracks], quarter)
    per_row = _BARS_A_ROW * steps_per_bar
    end = max((int(notes.end.max()) for _, notes in tracks), default=0)
    bars = max(1, -(-_column(np.array([end]), quarter)[0] // steps_per_bar))
    steps = min(int(bars) * steps_per_bar, _MOST_ROWS * per_row)
    roll, names = _cropped(_roll(tracks, quarter, steps, fine))
    starts = range(0, steps, per_row)
    labels = [f"bars {start // steps_per_bar + 1}–{min(start + per_row, steps) // steps_per_bar}" for start in starts]
    rows = {
        label: [roll[:, start * fine : (start + per_row) * fine]] for label, start in zip(labels, starts, strict=True)
    }
    return Rolls(rows, names, steps_per_bar * fine, steps_per_beat * fine)


def _columns_a_step(tracks: Sequence[Notes], quarter: int) -> int:
    """1 where all notes begin near the grid, else so many that one sees how far off they are."""
    for notes in tracks:
        if (np.abs(notes.start - _column(notes.start, quarter) * quarter / STEPS_PER_QUARTER) > quarter / 60).any():
            return _FINE
    return 1


def _roll(tracks: Sequence[tuple[bool, Notes]], quarter: int, steps: int, fine: int) -> np.ndarray:
    """All tracks, whether they are drums and their notes, in one roll `(128 + drums + 1, steps · fine)`."""
    roll = np.zeros((128 + len(DRUM_PITCHES) + 1, steps * fine), np.uint8)
    velocities = {int(velocity) for _, notes in tracks for velocity in np.unique(notes.velocity)}
    for is_drum, notes in tracks:
        row = 128 + _drum_row(notes.pitch) if is_drum else notes.pitch
        first = _column(notes.start, quarter, fine)
        last = first + 1 if is_drum else np.maximum(_column(notes.end, quarter, fine), first + 1)
        value = notes.velocity + FIRST_VELOCITY if len(velocities) > 1 else np.full(len(first), 2)
        _draw(roll, row, first, last, value, 1 if is_drum else max(1, fine // 2))
    return roll


def _cropped(roll: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The roll without rows of drums or pitches that nothing plays, and the names of its drums."""
    names: tuple[str, ...] = tuple(DRUM_PITCHES)
    is_drummed = [index for index in range(len(names) + 1) if roll[128 + index].any()]
    if not is_drummed:
        return roll[:128], ()
    if is_drummed[-1] < len(names):
        roll = roll[:-1]
    else:
        names = (*names, _OTHER)
    return (roll if roll[:128].any() else roll[128:]), names


def _drum_row(pitch: np.ndarray) -> np.ndarray:
    key = DrumStream("drums", 0).key(pitch)
    return np.where(key < 0, len(DRUM_PITCHES), key)


def _draw(
    roll: np.ndarray, row: np.ndarray, first: np.ndarray, last: np.ndarray, value: np.ndarray, width: int
) -> None:
    """Draws notes, sounding on by differences and onsets over them, `width` columns wide; of two the louder stays."""
    columns = roll.shape[1]
    inside = first < columns
    row, first, last, value = row[inside], first[inside], np.minimum(last[inside], columns), value[inside]
    change = np.zeros((roll.shape[0], columns + 1), np.int32)
    np.add.at(change, (row, first), 1)
    np.add.at(change, (row, last), -1)
    np.maximum(roll, change.cumsum(axis=1)[:, :columns] > 0, out=roll)
    for column in range(width):
        there = np.minimum(first + column, last - 1)
        np.maximum.at(roll, (row, there), value.astype(np.uint8))


def _column(ticks: np.ndarray, quarter: int, fine: int = 1) -> np.ndarray:
    """The nearest column."""
    columns: np.ndarray = (2 * STEPS_PER_QUARTER * fine * ticks + quarter) // (2 * quarter)
    return columns


def part_rolls(config: "MusicConfig", rows: "dict[str, Tensor]") -> Rolls:
    """Draws windows. Where they are in several time signatures, every bar is as wide as the longest.

    Args:
        config: of the model.
        rows: label → `(windows, steps, columns)`, on the CPU.
    """
    if config.expression:
        return _played_rolls(config, rows)
    streams = config.plan.streams
    pitched = [index for index, stream in enumerate(streams) if not stream.is_drums]
    drums = [index for index, stream in enumerate(streams) if stream.is_drums]

    def roll(window: np.ndarray) -> np.ndarray:
        parts = [np.max([streams[index].roll(window[:, index]) for index in pitched], 0)] if pitched else []
        parts += [(2 * struck(window[:, index]).T).astype(np.uint8) for index in drums]
        return np.concatenate(parts)

    groups = {label: list(config.slots.groups(tensor, config.plan.vocabulary)) for label, tensor in rows.items()}
    numbers = {group.number for found in groups.values() for group in found}
    signature = config.signatures[next(iter(numbers), 0)]
    if len(numbers) > 1:
        sizes = config.plan.vocabulary
        cut = {label: [_without_pads(window, sizes) for window in tensor.numpy()] for label, tensor in rows.items()}
        steps_per_bar = config.slots.size
    else:
        cut = {label: list(found[0].tokens.numpy()) if found else [] for label, found in groups.items()}
        steps_per_bar = signature.steps_per_bar
    drawn = {label: [roll(window) for window in windows] for label, windows in cut.items()}
    return Rolls(drawn, tuple(DRUM_PITCHES) if drums else (), steps_per_bar, signature.steps_per_beat)


def _without_pads(window: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Symbols `(steps, streams)` with 0 in the place of pads."""
    symbols = window[:, : len(sizes)]
    return np.where(symbols < np.array(sizes), symbols, 0)


def _played_rolls(config: "MusicConfig", rows: "dict[str, Tensor]") -> Rolls:
    """As `part_rolls`, with velocity and timing; bars are drawn as the first window's time signature has them."""
    from musicae.music.composition import MusicFrame, compose_piece

    drawn: dict[str, list[np.ndarray]] = {}
    lines = (16, 4)
    for label, tensor in rows.items():
        drawn[label] = []
        for window in tensor:
            (group,) = config.slots.groups(window[None], config.plan.vocabulary)
            signature = config.signatures[group.number]
            if not drawn[label] and len(drawn) == 1:
                lines = signature.steps_per_bar, signature.steps_per_beat
            piece = compose_piece(config, window[None], MusicFrame())
            tracks = [(track.is_drum, piece.notes(track.index)) for track in piece.tracks if track.notes]
            drawn[label].append(_roll(tracks, piece.ticks_per_quarter, group.tokens.shape[1], _FINE))
    has_drums = any(stream.is_drums for stream in config.plan.streams)
    is_pitched = any(not stream.is_drums for stream in config.plan.streams)
    part = slice(0 if is_pitched else 128, -1 if has_drums else 128)
    cut = {label: [roll[part] for roll in rolls] for label, rolls in drawn.items()}
    return Rolls(cut, tuple(DRUM_PITCHES) if has_drums else (), lines[0] * _FINE, lines[1] * _FINE)
