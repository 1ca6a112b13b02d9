"""Chord symbols and their 49 classes: none, and twelve roots as major, minor, augmented or diminished.

A class is 0 for none, else 1 + 4·root + quality. Sevenths and other extensions fold into the triad they
stand on; half-diminished counts as diminished, suspended and power chords as major.

The chords of a score come from its markers, from a track of chords, or are inferred from the accompaniment. Inference
compares the pitch classes that sound in each quarter with the 48 triads (template matching: Fujishima, 1999), favours
the chord whose root lies in the bass, and keeps a chord while it fits nearly as well as another (Viterbi, one constant
cost for a change).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from symusic.core import ScoreTick, TrackTick

from musicae.errors import MusicaeError
from musicae.music.tonality import pitch_class

CLASSES = 49
NO_CHORD = 0
QUALITIES = ("major", "minor", "augmented", "diminished")
TRIADS = ((0, 4, 7), (0, 3, 7), (0, 4, 8), (0, 3, 6))
"""Semitones above the root, in the order of `QUALITIES`."""
GRAMMAR = (
    "write a root (C, F#, Bb) and a quality: nothing or maj for major, m for minor, + or aug, dim or °; "
    "6, 7, maj7, 9, sus4 and a bass as in C/E may follow; N is no chord"
)

_ROOT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_SUFFIXES = ("", "m", "+", "dim")
_SYMBOL = re.compile(r"^([A-Ga-g])([#♯b♭]?):?(.*?)(?:/(?:[A-Ga-g][#♯b♭]?|[#♯b♭]?\d|maj7))?$")
_MAJOR, _MINOR, _AUGMENTED, _DIMINISHED = range(4)
# What may follow a quality: extensions, on which no triad depends.
# Digit by digit: were a number one piece, a long one could be cut in so many ways that matching never ends.
_EXTENSION = (
    r"(?:[-\s]|\(|\)|[Mm]aj|MAJ|MA|major|minor|min|add|sus|no|alt|[#♯b♭+]?\d|seventh|sixth|ninth|second|fourth|th|M|Δ)*"
)
# The first that fits decides.
_QUALITIES = tuple(
    (re.compile(f"^(?:{pattern}){_EXTENSION}$"), quality)
    for pattern, quality in (
        (r"half-diminished|hdim|diminished|dim|°|o|ø|(?:minor|min|m|-)(?:7|9|11)?\(?[b♭-]5\)?", _DIMINISHED),
        (r"augmented|aug|\+|(?:maj|M)?7?\(?[#♯+]5\)?|7\+", _AUGMENTED),
        (r"minor|min|mi|mmaj|m(?!aj)|-(?!maj)", _MINOR),
        (r"-?major|[Mm]aj|MAJ|[Mm]a|MA|dominant|dom|suspended|sus|power|M|Δ|", _MAJOR),
    )
)
_LONGEST_SYMBOL = 60  # longer ones are no chords, and take patterns time
_FEWEST_MARKERS, _MOST_MARKERS = 2, 20_000
_BASS_WEIGHT = 0.3
_FOREIGN_WEIGHT = 0.5  # of what sounds outside the triad, against what lies in it
_CHANGE_COST = 0.25  # in shares of what sounds in a quarter
_LEAST_FIT = 0.3


def parse_chord(symbol: str) -> int:
    """Reads a chord symbol such as Am7, Bbmaj7, F#dim, E/G#, C:dominant or N.

    Returns:
        Its class, 0 to 48.

    Raises:
        MusicaeError: no chord, with the grammar.
    """
    text = symbol.strip()
    if text.upper() in ("N", "N.C.", "NC"):
        return NO_CHORD
    found = _SYMBOL.match(text) if len(text) <= _LONGEST_SYMBOL else None
    if found:
        letter, accidental, rest = found.groups()
        root = pitch_class(letter, accidental)
        for pattern, quality in _QUALITIES:
            if pattern.match(rest.strip()):
                return 1 + 4 * root + quality
    raise MusicaeError(f"{symbol[:_LONGEST_SYMBOL]!r} is no chord; {GRAMMAR}.")


def parse_progression(text: str) -> list[int]:
    """Reads chords separated by spaces, commas or bar lines, such as "C F | G Am".

    Raises:
        MusicaeError: no chord at all, or one that can't be read.
    """
    symbols = [symbol for symbol in re.split(r"[\s,|]+", text) if symbol]
    if not symbols:
        raise MusicaeError(f"no chord given; {GRAMMAR}.")
    return [parse_chord(symbol) for symbol in symbols]


def chord_name(chord: int) -> str:
    """The shortest symbol of a class, which `parse_chord` reads as that class."""
    if not 0 <= chord < CLASSES:
        raise ValueError(f"a chord class is 0 to {CLASSES - 1}, got {chord}")
    if chord == NO_CHORD:
        return "N"
    root, quality = divmod(chord - 1, 4)
    return _ROOT_NAMES[root] + _SUFFIXES[quality]


def chord_pitches(chord: int) -> tuple[int, ...]:
    """Pitch classes of a class, the root first; none for no chord."""
    if chord == NO_CHORD:
        return ()
    root, quality = divmod(chord - 1, 4)
    return tuple((root + above) % 12 for above in TRIADS[quality])


def spread(chords: Sequence[int], steps: int) -> np.ndarray:
    """Shares steps evenly among chords, uint8 `(steps,)`.

    Raises:
        MusicaeError: more chords than steps.
    """
    if len(chords) > steps:
        raise MusicaeError(f"{len(chords)} chords are more than the {steps} steps there are; give fewer.")
    place = np.arange(steps) * len(chords) // steps
    return np.asarray(chords, dtype=np.uint8)[place]


def transpose_classes(classes: torch.Tensor, semitones: torch.Tensor) -> torch.Tensor:
    """Moves chords by semitones; none stays none.

    Args:
        classes: int64, any shape.
        semitones: int64, broadcast to it.
    """
    moved = (classes - 1 + 4 * semitones) % (CLASSES - 1) + 1
    return torch.where(classes == NO_CHORD, classes, moved)


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
    if len(score.markers) > _MOST_MARKERS:
        return None
    # "Verse 2" and the like are none.
    symbols = [(marker.time, marker.text.strip()) for marker in score.markers if _is_chord(marker.text)]
    found = [(time, parse_chord(symbol)) for time, symbol in symbols]
    # A, B, C in the order of the alphabet, and no other chord beside them, are sections of a song.
    chords = list(dict.fromkeys(symbol for _, symbol in symbols))
    are_sections = chords == list("ABCDEFG")[: len(chords)]
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
    inside = share @ _templates().T  # (quarters, 48)
    fit = inside - _FOREIGN_WEIGHT * (share.sum(axis=1, keepdims=True) - inside)
    fit += _BASS_WEIGHT * (bass[:, None] == np.arange(CLASSES - 1) // 4)
    # A triad of which only two notes sound fits several chords; the more of its notes sound, the better.
    fit += 0.1 * ((share > 0).astype(np.float64) @ _templates().T) / 3
    silent = np.where(total[:, 0] > 0, _LEAST_FIT, 1.0)  # what "none" fits
    path = _viterbi(np.concatenate([silent[:, None], fit], axis=1))
    changes = np.flatnonzero(np.append(True, path[1:] != path[:-1])) if len(path) else np.zeros(0, np.int64)
    return ChordLine(changes.astype(np.int64) * score.tpq, path[changes].astype(np.uint8), source)


@lru_cache(maxsize=1)
def _templates() -> np.ndarray:
    """Pitch classes of the 48 chords, `(48, 12)`."""
    chords = [np.isin(np.arange(12), chord_pitches(chord)) for chord in range(1, CLASSES)]
    return np.stack(chords).astype(np.float64)


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
