"""The notes of all tracks of a score as arrays, copied out once, and how many of them sound at a time.

numpy takes longer to start than to go through the notes of a track, so all tracks are measured together.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from symusic.core import ScoreTick


@dataclass(frozen=True)
class NoteTable:
    """Notes, one track after the other.

    Attributes:
        start, end: in ticks, int64 `(notes,)`, in the order of the file.
        pitch: int64 `(notes,)`.
        first: place of each track's first note, and the number of all notes at the end; `tracks + 1` values.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    first: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.start)

    def count(self, track: int) -> int:
        """Number of notes of a track."""
        return self.first[track + 1] - self.first[track]

    def of_track(self, track: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start, end and pitch of a track's notes."""
        first, stop = self.first[track], self.first[track + 1]
        return self.start[first:stop], self.end[first:stop], self.pitch[first:stop]

    @cached_property
    def polyphony(self) -> tuple[float, ...]:
        """Of each track: notes that sound at once on average, where any sounds; 0 without notes.

        It is the summed durations over the time in which anything sounds. The tracks are laid one after
        the other in time, so far apart that none overlap.
        """
        filled = [track for track in range(len(self.first) - 1) if self.count(track)]
        polyphony = [0.0] * (len(self.first) - 1)
        if not filled:
            return tuple(polyphony)
        start, end = self.start, self.end
        duration = end - start
        if len(filled) > 1:
            shift = np.repeat(np.arange(len(filled)) * (int(end.max()) + 1), [self.count(track) for track in filled])
            start, end = start + shift, end + shift
        if not (start[1:] >= start[:-1]).all():
            order = np.argsort(start, kind="stable")
            start, end = start[order], end[order]
        reached = np.maximum.accumulate(end)
        added = end - start  # the time in which a note sounds and none did before
        added[1:] = np.maximum(reached[1:] - np.maximum(start[1:], reached[:-1]), 0)
        first = [self.first[track] for track in filled]
        sums = (np.add.reduceat(ticks, first).tolist() for ticks in (duration, added))
        for track, sounding, covered in zip(filled, *sums, strict=True):
            polyphony[track] = sounding / covered if covered else 1.0
        return tuple(polyphony)


def note_table(score: ScoreTick) -> NoteTable:
    """Copies the notes out of a score, checked or not."""
    lists = [track.notes for track in score.tracks]
    first = tuple(accumulate(map(len, lists), initial=0))
    tables = [notes.numpy() for notes in lists if len(notes)]
    if not tables:
        nothing = np.zeros(0, dtype=np.int64)
        return NoteTable(nothing, nothing, nothing, first)
    start, duration, pitch = (
        np.concatenate([table[key] for table in tables], dtype=np.int64) for key in ("time", "duration", "pitch")
    )
    return NoteTable(start, start + duration, pitch, first)
