"""The same melodies by way of pretty_midi: what `music.py` compares the speed of reading with.

The track is chosen by its name or polyphony, and quantising and cutting use the same vectorised functions, so
what is compared is the reading; the store that musicae also writes is left out.
"""

from pathlib import Path

import numpy as np
import pretty_midi

from musicae.music.codec import FIRST_ONSET, HIGHEST_PITCH, LOWEST_PITCH, tokens_from_notes, windows_of
from musicae.music.grid import find_phase, to_steps
from musicae.music.melody import MELODY_NAMES, skyline


def read_with_pretty_midi(path: Path) -> np.ndarray:
    """Windows of two bars of 4/4, 2/2 or 2/4, `(windows, 32)`; none where pretty_midi can't read the file."""
    try:
        file = pretty_midi.PrettyMIDI(str(path))
    except Exception:  # it raises whatever its parser happens to raise, and a damaged file is no result
        return np.zeros((0, 32), np.uint8)
    track = _melody_track(file)
    if track is None:
        return np.zeros((0, 32), np.uint8)
    onset, end = (
        np.array([file.time_to_tick(getattr(note, side)) for note in track.notes]) for side in ("start", "end")
    )
    pitch = np.array([note.pitch for note in track.notes])
    shift = find_phase(onset, file.resolution).shift
    changes = [(file.time_to_tick(change.time), change) for change in file.time_signature_changes]
    starts = [tick for tick, _ in changes]
    windows = []
    if not starts or starts[0] > 0:
        changes.insert(0, (0, pretty_midi.TimeSignature(4, 4, 0.0)))
    for number, (start, change) in enumerate(changes):
        stop = changes[number + 1][0] if number + 1 < len(changes) else int(end.max()) + 1
        if (change.numerator, change.denominator) not in ((4, 4), (2, 2), (2, 4)):
            continue
        inside = (onset - shift >= start) & (onset - shift < stop) & (pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH)
        steps = -(-int(to_steps(np.array(stop - start), file.resolution)) // 16) * 16
        placed = [to_steps(ticks[inside] - shift - start, file.resolution) for ticks in (onset, end)]
        line = skyline(placed[0], placed[1], pitch[inside])
        kept = line[0] < steps
        tokens = tokens_from_notes(line[0][kept], np.maximum(line[1], line[0] + 1)[kept], line[2][kept], steps)
        cut = windows_of(tokens, 32, 16)
        windows.append(cut[(cut >= FIRST_ONSET).sum(1) >= 4])
    return np.concatenate(windows) if windows else np.zeros((0, 32), np.uint8)


def _melody_track(file: pretty_midi.PrettyMIDI) -> pretty_midi.Instrument | None:
    pitched = [track for track in file.instruments if track.notes and not track.is_drum]
    for word in MELODY_NAMES:
        named = [track for track in pitched if word in track.name.casefold()]
        if named:
            return max(named, key=lambda track: len(track.notes))
    return min(pitched, key=lambda track: (round(_polyphony(track), 1), -len(track.notes)), default=None)


def _polyphony(track: pretty_midi.Instrument) -> float:
    start, end = (np.array([getattr(note, side) for note in track.notes]) for side in ("start", "end"))
    order = np.argsort(start)
    start, end = start[order], end[order]
    reached = np.maximum.accumulate(end)
    covered = reached[0] - start[0] + np.maximum(reached[1:] - np.maximum(start[1:], reached[:-1]), 0).sum()
    return float((end - start).sum() / covered) if covered > 0 else 1.0
