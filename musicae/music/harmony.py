"""The chords of a score: from its markers, from a track of chords, or inferred from the accompaniment.

Inference compares the pitch classes that sound in each quarter with the 48 triads (template matching:
Fujishima, 1999), favours the chord whose root lies in the bass, and keeps a chord while it fits nearly
as well as another (Viterbi, one constant cost for a change).
"""

from dataclasses import dataclass

import numpy as np
from symusic.core import ScoreTick, TrackTick

from musicae.errors import MusicaeError
from musicae.music.chords import CLASSES, NO_CHORD, chord_pitches, parse_chord

_FEWEST_MARKERS = 2
_BASS_WEIGHT = 0.3
_FOREIGN_WEIGHT = 0.5  # of what sounds outside the triad, against what lies in it
_CHANGE_COST = 0.25  # in shares of what sounds in a quarter
_LEAST_FIT = 0.3
_TEMPLATES = np.stack(
    [np.isin(np.arange(12), chord_pitches(chord)).astype(np.float64) for chord in range(1, CLASSES)]
)  # (48, 12)
_ROOTS = np.arange(CLASSES - 1) // 4


@dataclass(frozen=True)
class ChordLine:
    """The chords of a piece.

    Attributes:
        start: int64 ticks where each begins, rising.
        classes: uint8, as many.
        source: where they come from, in words.
    """

    start: np.ndarray
    classes: np.ndarray
    source: str

    def classes_at(self, ticks: np.ndarray) -> np.ndarray:
        """The class in effect at each tick, uint8; none before the first chord."""
        if not len(self.start):
            return np.zeros(len(ticks), dtype=np.uint8)
        index = np.searchsorted(self.start, ticks, side="right") - 1
        return np.where(index >= 0, self.classes[np.maximum(index, 0)], NO_CHORD).astype(np.uint8)


def chord_line(score: ScoreTick, melody_track: int | None) -> ChordLine:
    """Finds the chords of a score.

    Args:
        score: a checked score.
        melody_track: index of the track that is no accompaniment; None where there is none.
    """
    marked = _from_markers(score)
    if marked is not None:
        return marked
    for index, track in enumerate(score.tracks):
        if index != melody_track and "chord" in track.name.casefold() and len(track.notes) and not track.is_drum:
            return _inferred(score, [track], f"track {track.name!r}")
    others = [
        track
        for index, track in enumerate(score.tracks)
        if index != melody_track and len(track.notes) and not track.is_drum
    ]
    if others:
        return _inferred(score, others, "inferred from the accompaniment")
    return ChordLine(np.zeros(0, np.int64), np.zeros(0, np.uint8), "none")


def _from_markers(score: ScoreTick) -> ChordLine | None:
    """Chord symbols in markers; None where there are too few to be chords."""
    # "Verse 2" and the like are none.
    found = [(marker.time, parse_chord(marker.text)) for marker in score.markers if _is_chord(marker.text)]
    # A, B, C in the order of the alphabet, and no other chord beside them, are sections of a song.
    chords = dict.fromkeys(marker.text.strip() for marker in score.markers if _is_chord(marker.text))
    are_sections = list(chords) == list("ABCDEFG")[: len(chords)]
    if len(found) < _FEWEST_MARKERS or 2 * len(found) < len(score.markers) or are_sections:
        return None
    found.sort(key=lambda chord: chord[0])
    start, classes = zip(*found, strict=True)
    return ChordLine(np.array(start, np.int64), np.array(classes, np.uint8), "markers")


def _is_chord(text: str) -> bool:
    try:
        parse_chord(text)
    except MusicaeError:
        return False
    return True


def _inferred(score: ScoreTick, tracks: list[TrackTick], source: str) -> ChordLine:
    chroma, bass = _chroma(score.tpq, tracks)
    total = chroma.sum(axis=1, keepdims=True)
    share = np.divide(chroma, total, out=np.zeros_like(chroma), where=total > 0)
    inside = share @ _TEMPLATES.T  # (quarters, 48)
    fit = inside - _FOREIGN_WEIGHT * (share.sum(axis=1, keepdims=True) - inside)
    fit += _BASS_WEIGHT * (bass[:, None] == _ROOTS)
    # A triad of which only two notes sound fits several chords; the more of its notes sound, the better.
    fit += 0.1 * ((share > 0).astype(np.float64) @ _TEMPLATES.T) / 3
    silent = np.where(total[:, 0] > 0, _LEAST_FIT, 1.0)  # what "none" fits
    path = _viterbi(np.concatenate([silent[:, None], fit], axis=1))
    changes = np.flatnonzero(np.append(True, path[1:] != path[:-1])) if len(path) else np.zeros(0, np.int64)
    return ChordLine(changes.astype(np.int64) * score.tpq, path[changes].astype(np.uint8), source)


def _chroma(quarter: int, tracks: list[TrackTick]) -> tuple[np.ndarray, np.ndarray]:
    """Time each pitch class sounds in each quarter, `(quarters, 12)`; the lowest note's class, or −1, `(quarters,)`."""
    arrays = [track.notes.numpy() for track in tracks]
    start = np.concatenate([array["time"].astype(np.int64) for array in arrays])
    stop = start + np.concatenate([np.maximum(array["duration"].astype(np.int64), 1) for array in arrays])
    pitch = np.concatenate([array["pitch"].astype(np.int64) for array in arrays])
    # How long each pitch sounds in each quarter, by what starts less what has stopped: no note is taken apart.
    quarters = int((stop.max() - 1) // quarter) + 1
    sounding = np.zeros((quarters + 2) * 128, dtype=np.int64)
    for tick, sign in ((start, 1), (stop, -1)):
        place, late = np.divmod(tick, quarter)
        cell = place * 128 + pitch
        np.add.at(sounding, cell, sign * (quarter - late))
        np.add.at(sounding, cell + 128, sign * late)
    sounding = sounding.reshape(-1, 128).cumsum(axis=0)[:quarters]
    held = 4 * sounding >= quarter  # a short touch at the edge of a quarter is no bass
    lowest = np.where(held.any(axis=1), held.argmax(axis=1) % 12, -1)
    chroma = np.pad(sounding, ((0, 0), (0, 4))).reshape(quarters, 11, 12).sum(axis=1)
    return chroma.astype(np.float64), lowest


def _viterbi(fit: np.ndarray) -> np.ndarray:
    """The path with the best sum of fits `(quarters, classes)`, where every change costs the same."""
    quarters, classes = fit.shape
    came_from = np.zeros((quarters, classes), dtype=np.int64)
    score = fit[0].copy() if quarters else np.zeros(classes)
    own = np.arange(classes)
    for place in range(1, quarters):
        best = int(score.argmax())
        changes = score[best] - _CHANGE_COST > score
        came_from[place] = np.where(changes, best, own)
        score = np.where(changes, score[best] - _CHANGE_COST, score) + fit[place]
    path = np.zeros(quarters, dtype=np.int64)
    if quarters:
        path[-1] = int(score.argmax())
        for place in range(quarters - 1, 0, -1):
            path[place - 1] = came_from[place, path[place]]
    return path
