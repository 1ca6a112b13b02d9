"""What a piece holds, or a MIDI file."""

from pathlib import Path

from symusic import Score

from musicae.music.piece import Piece


def notes(source: Path | Piece) -> list[tuple[float, float, int]]:
    """`(start, end, pitch)` in beats."""
    score = Score.from_midi(source.data) if isinstance(source, Piece) else Score(str(source))
    return sorted((n.start / score.tpq, n.end / score.tpq, n.pitch) for track in score.tracks for n in track.notes)
