"""Pictures of parts as arrays: one piano roll for all streams of a window."""

import numpy as np

from musicae.music.drums import DRUM_PITCHES, struck
from musicae.music.parts import Part


def part_rolls(part: Part, rows: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Draws windows as piano rolls.

    Drums alone stand at their General MIDI pitches. Under other instruments they are nine lines below
    the lowest note of all rows, kick at the bottom, since the bass would cover them.

    Args:
        part: whose tokens they are.
        rows: label → `(windows, steps, streams)`.

    Returns:
        Label → uint8 `(128, steps)` for each window: 2 at an onset, 1 where a note sounds on.
    """
    pitched = [index for index, stream in enumerate(part.streams) if not stream.is_drums]
    rolls = {
        label: [
            np.max([part.streams[index].roll(window[:, index]) for index in pitched or [0]], 0) for window in windows
        ]
        for label, windows in rows.items()
    }
    if not pitched:
        return rolls
    used = np.zeros(128, dtype=bool)
    for drawn in rolls.values():
        for roll in drawn:
            used |= roll.any(axis=1)
    kinds = len(DRUM_PITCHES)
    bottom = max(0, (int(np.flatnonzero(used)[0]) if used.any() else 60) - kinds - 1)
    for index, stream in enumerate(part.streams):
        if stream.is_drums:
            for label, windows in rows.items():
                for roll, window in zip(rolls[label], windows, strict=True):
                    hits = struck(window[:, index]).T  # (9, steps)
                    roll[bottom : bottom + kinds][hits] = 2
    return rolls
