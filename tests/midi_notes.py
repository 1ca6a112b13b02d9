"""What a written MIDI file holds."""

from pathlib import Path

from symusic import Score


def notes(path: Path) -> list[tuple[float, float, int]]:
    """`(start, end, pitch)` in beats."""
    score = Score(str(path))
    return sorted((n.start / score.tpq, n.end / score.tpq, n.pitch) for track in score.tracks for n in track.notes)
