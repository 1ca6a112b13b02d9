"""Pieces and token windows as piano rolls, for `musicae.plots.piano_rolls`.

A roll is uint8 `(128 + drums, steps)`: 2 at an onset, 1 where a note sounds on; the rows behind the 128 pitches are
drums, kick first. Where nothing but drums plays there are no pitches.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from musicae.music.score import STEPS_PER_QUARTER
from musicae.music.streams import DrumStream
from musicae.music.tokens import DRUM_PITCHES, struck

if TYPE_CHECKING:
    from torch import Tensor

    from musicae.music.config import MusicConfig
    from musicae.music.piece import Piece

_BARS_A_ROW, _MOST_ROWS = 8, 16
_OTHER = "other"
"""A row for drums that no class has."""


class Rolls(NamedTuple):
    """What `piano_rolls` takes.

    Attributes:
        rows: label → rolls.
        names: of the drums' rows; none without drums.
        steps_per_bar, steps_per_beat: in 16ths.
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
    per_row = _BARS_A_ROW * steps_per_bar
    tracks = [(track, piece.notes(track.index)) for track in piece.tracks if track.notes]
    end = max((int(notes.end.max()) for _, notes in tracks), default=0)
    bars = max(1, -(-_step(np.array([end]), quarter)[0] // steps_per_bar))
    steps = min(int(bars) * steps_per_bar, _MOST_ROWS * per_row)
    names = tuple(DRUM_PITCHES)
    roll = np.zeros((128 + len(names) + 1, steps), np.uint8)
    for track, notes in tracks:
        row = 128 + _drum_row(notes.pitch) if track.is_drum else notes.pitch
        first = _step(notes.start, quarter)
        last = first + 1 if track.is_drum else np.maximum(_step(notes.end, quarter), first + 1)
        _draw(roll, row, first, last)
    is_drummed = [index for index in range(len(names) + 1) if roll[128 + index].any()]
    if not is_drummed:
        roll, names = roll[:128], ()
    elif is_drummed[-1] < len(names):
        roll = roll[:-1]
    else:
        names = (*names, _OTHER)
    if names and not roll[:128].any():
        roll = roll[128:]
    starts = range(0, steps, per_row)
    labels = [f"bars {start // steps_per_bar + 1}–{min(start + per_row, steps) // steps_per_bar}" for start in starts]
    rows = {label: [roll[:, start : start + per_row]] for label, start in zip(labels, starts, strict=True)}
    return Rolls(rows, names, steps_per_bar, steps_per_beat)


def _drum_row(pitch: np.ndarray) -> np.ndarray:
    key = DrumStream("drums", 0).key(pitch)
    return np.where(key < 0, len(DRUM_PITCHES), key)


def _draw(roll: np.ndarray, row: np.ndarray, first: np.ndarray, last: np.ndarray) -> None:
    """Draws notes, sounding on by differences and onsets over them."""
    steps = roll.shape[1]
    inside = first < steps
    row, first, last = row[inside], first[inside], np.minimum(last[inside], steps)
    change = np.zeros((roll.shape[0], steps + 1), np.int32)
    np.add.at(change, (row, first), 1)
    np.add.at(change, (row, last), -1)
    np.maximum(roll, change.cumsum(axis=1)[:, :steps] > 0, out=roll)
    roll[row, first] = 2


def _step(ticks: np.ndarray, quarter: int) -> np.ndarray:
    steps: np.ndarray = (2 * STEPS_PER_QUARTER * ticks + quarter) // (2 * quarter)
    return steps


def part_rolls(config: "MusicConfig", rows: "dict[str, Tensor]") -> Rolls:
    """Draws windows. Where they are in several time signatures, every bar is as wide as the longest.

    Args:
        config: of the model.
        rows: label → `(windows, steps, columns)`, on the CPU.
    """
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
