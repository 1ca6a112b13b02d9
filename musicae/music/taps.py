"""A rhythm that somebody tapped, on whatever key or pad, as hits of one drum."""

import numpy as np

from musicae.errors import MusicaeError
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.tokens import DRUM_PITCHES

_PITCH = DRUM_PITCHES["closed hat"][0]


def as_taps(piece: Piece) -> Piece:
    """The piece itself where it has drums; else one of drums alone, which are struck at each onset of any track.

    Tempi, time signatures and the choice of bars are the piece's.

    Raises:
        MusicaeError: it has no notes.
    """
    if any(track.is_drum and track.notes for track in piece.tracks):
        return piece
    if not piece.note_count:
        raise MusicaeError(f"{piece.label} has no notes, so no rhythm is tapped in it.")
    if piece.chosen_bars is not None and piece.chosen_bars[1] > piece.bars:
        raise MusicaeError(f"{piece.label} has no bar {piece.chosen_bars[1]}; choose 1 to {piece.bars}.")
    notes = [piece.notes(track.index) for track in piece.tracks]
    start = np.concatenate([own.start for own in notes])
    velocity = np.concatenate([own.velocity for own in notes])
    order = np.lexsort((-velocity, start))
    start, first = np.unique(start[order], return_index=True)
    if piece.chosen_bars is not None:
        begin, end = piece.bar_tick(piece.chosen_bars[0]), piece.bar_tick(piece.chosen_bars[1] + 1)
        inside = (start >= begin) & (start < end)
        start, first = start[inside], first[inside]
    hits = Notes(start, start + 1, np.full(len(start), _PITCH), velocity[order][first])
    made = Piece.new(
        [NewTrack("Drums", 0, True, hits)],
        tempi=piece.tempi,
        time_signatures=piece.time_signatures,
        ticks_per_quarter=piece.ticks_per_quarter,
        end=piece.bar_tick(piece.bars + 1),
        name=piece.name,
        title=piece.title,
    )
    return made if piece.chosen_bars is None else made.with_bars(*piece.chosen_bars)
