"""Chord symbols and their 49 classes: none, and twelve roots as major, minor, augmented or diminished.

A class is 0 for none, else 1 + 4·root + quality. Sevenths and other extensions fold into the triad they
stand on; half-diminished counts as diminished, suspended and power chords as major. Where the chords of
a file come from is told by `musicae.music.harmony`.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch

from musicae.errors import MusicaeError

CLASSES = 49
NO_CHORD = 0
QUALITIES = ("major", "minor", "augmented", "diminished")
TRIADS = ((0, 4, 7), (0, 3, 7), (0, 4, 8), (0, 3, 6))
"""Semitones above the root, in the order of `QUALITIES`."""
GRAMMAR = (
    "write a root (C, F#, Bb) and a quality: nothing or maj for major, m for minor, + or aug, dim or °; "
    "6, 7, maj7, 9, sus4 and a bass as in C/E may follow; N is no chord"
)

_ROOTS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
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
    found = _SYMBOL.match(text)
    if found:
        letter, accidental, rest = found.groups()
        root = (_ROOTS[letter.upper()] + _ACCIDENTALS[accidental]) % 12
        for pattern, quality in _QUALITIES:
            if pattern.match(rest.strip()):
                return 1 + 4 * root + quality
    raise MusicaeError(f"{symbol!r} is no chord; {GRAMMAR}.")


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
