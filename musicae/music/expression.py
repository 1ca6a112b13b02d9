"""How notes are played: the velocity of each onset, and how far it lies from the grid, beside the tokens.

Tokens say which notes begin at which 16th. *Values* say the rest: a velocity 1 to 127, and an offset in 120ths of a
16th, from half a step early (−60) to just under half a step late (59). At 480 ticks a quarter that is one tick, so
triplets, swing and what a person played by hand survive exactly. They are stored as uint8 `(steps, 2 × places)`, the
velocities of a step before the offsets, which count from 60; 0 stands where nothing begins. A melody has one place a
step, drums have nine.

The layout follows *Learning to Groove with Inverse Sequence Transformations* (Gillick et al., 2019): hits, velocities
and offsets of a 16th. This module knows neither tokens nor tracks.
"""

import numpy as np

from musicae.spec import ValueColumn

OFFSETS = 120
"""Of a step."""
ON_GRID = OFFSETS // 2
"""How an offset of 0 is stored."""
_LOUDEST = 127
# A usual value, and how far others lie from it: Groove's hits and the hands of piano-midi.
_MIDDLE_VELOCITY, _VELOCITY_SPREAD = 70, 25
_OFFSET_SPREAD = 15


def written(
    step: np.ndarray,
    place: np.ndarray,
    priority: np.ndarray,
    velocity: np.ndarray,
    offset: np.ndarray,
    shape: tuple[int, int],
) -> np.ndarray:
    """Stores the values of notes.

    Args:
        step, place: where each note goes, int64 `(notes,)`.
        priority: of several at one place the highest counts, and of equal ones the last.
        velocity: 1 to 127.
        offset: in 120ths of a step; what is out of range becomes the nearest that is in it.
        shape: `(steps, places)`.

    Returns:
        uint8 `(steps, 2 × places)`.
    """
    order = np.argsort(priority, kind="stable")
    values = np.zeros((shape[0], 2, shape[1]), np.uint8)
    values[step[order], 0, place[order]] = np.clip(velocity[order], 1, _LOUDEST)
    values[step[order], 1, place[order]] = np.clip(offset[order] + ON_GRID, 0, OFFSETS - 1)
    return values.reshape(shape[0], 2 * shape[1])


def read(velocity: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stored values of notes → velocities 1 to 127, and offsets in 120ths of a step, int64."""
    return np.maximum(velocity.astype(np.int64), 1), offset.astype(np.int64) - ON_GRID


def again(values: np.ndarray) -> np.ndarray:
    """The values `(notes, 2)` of notes that are struck again on the grid."""
    struck = values.copy()
    struck[:, 1] = ON_GRID
    return struck


def value_columns(stream: int, places: int, least: int, vocabulary: int, is_drums: bool) -> tuple[ValueColumn, ...]:
    """How a model is to take the values of a stream.

    Args:
        stream: column of its tokens.
        places: notes that may begin at a step.
        least: the first token that begins a note, of a line.
        vocabulary: number of tokens.
        is_drums: whether each place is a bit of the token.
    """
    kinds = [
        ("velocity", _LOUDEST + 1, _MIDDLE_VELOCITY, _VELOCITY_SPREAD),
        ("offset", OFFSETS, ON_GRID, _OFFSET_SPREAD),
    ]
    return tuple(
        ValueColumn(name, stream, place if is_drums else None, least, vocabulary, levels, middle, spread)
        for name, levels, middle, spread in kinds
        for place in range(places)
    )
