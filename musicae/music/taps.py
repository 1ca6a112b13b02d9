"""A rhythm that somebody tapped, on whatever key or pad, as hits of one drum."""

import numpy as np

from musicae.errors import MusicaeError
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece

_PITCH = 42  # the closed hi-hat


def as_taps(piece: Piece) -> Piece:
    """The piece itself where it has drums; else one with a track of drums that is struck at each onset of any track.

    Tempi and time signatures are the piece's.

    Raises:
        MusicaeError: it has no notes.
    """
    if any(track.is_drum and track.notes for track in piece.tracks):
        return piece
    if not piece.note_count:
        raise MusicaeError(f"{piece.label} has no notes, so no rhythm is tapped in it.")
    notes = [piece.notes(track.index) for track in piece.tracks]
    start = np.concatenate([own.start for own in notes])
    velocity = np.concatenate([own.velocity for own in notes])
    order = np.lexsort((-velocity, start))
    start, first = np.unique(start[order], return_index=True)
    hits = Notes(start, start + 1, np.full(len(start), _PITCH), velocity[order][first])
    return Piece.new(
        [NewTrack("Drums", 0, True, hits)],
        tempi=piece.tempi,
        time_signatures=piece.time_signatures,
        ticks_per_quarter=piece.ticks_per_quarter,
        end=piece.bar_tick(piece.bars + 1),
        name=piece.name,
        title=piece.title,
    )
