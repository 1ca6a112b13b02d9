"""Keys: reading "D minor", which key notes are in, and which notes a key has.

The tonic is found by correlation with profiles of how well each pitch class fits a key (Krumhansl, *Cognitive
Foundations of Musical Pitch*, 1990, ch. 4). A minor key has the notes of natural minor.
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from musicae.errors import MusicaeError

GRAMMAR = 'write a tonic and a mode, as "D minor", "Bb major" or "F#m"'
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
_KEY = re.compile(r"^([A-Ga-g])([#♯b♭]?)\s*(major|maj|minor|min|m|)$")
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
SCALES = 12
"""Diatonic scales, each that of a major key and its relative minor."""
_TRIAD, _RELATIVE_TRIAD = (0, 4, 7), (9, 0, 4)
"""Tonic chords of a major key and of its relative minor, from the major key's tonic upwards."""
_CHORD_WEIGHT, _ROUNDING = 1e-3, 1e-6  # the first decides only between scales with the same notes
_PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
"""From the tonic upwards; ratings of probe tones (table 2.1 of the book)."""


class Key(NamedTuple):
    """A key.

    Attributes:
        tonic: pitch class, 0 for C.
        mode: `major` or `minor`.
    """

    tonic: int
    mode: str

    @property
    def scale(self) -> int:
        """The tonic of the major key that has the same notes, 0 for C."""
        return self.tonic if self.mode == "major" else (self.tonic + 3) % SCALES

    def has(self, pitch: Tensor) -> Tensor:
        """Whether pitches lie in its scale: bool, of their shape."""
        steps = torch.tensor(_SCALES[self.mode], device=pitch.device)
        return torch.isin((pitch - self.tonic) % 12, steps)


def scale_of(counts: Tensor) -> Tensor:
    """The diatonic scale that has most of the notes of each piece; of several, that whose tonic chord sounds most.

    Args:
        counts: how long each pitch class sounds, `(pieces, 12)`.

    Returns:
        int64 `(pieces,)`: the tonic of its major key, plus 12 where some notes lie outside.
    """
    tonics = torch.arange(SCALES)
    belongs = torch.zeros(3, 12, SCALES)
    for row, steps in zip(belongs, (_SCALES["major"], _TRIAD, _RELATIVE_TRIAD), strict=True):
        for step in steps:
            row[(tonics + step) % 12, tonics] = 1
    shares = counts.float().cpu() / counts.sum(1, keepdim=True).clamp_min(1).cpu()
    inside, chord = shares @ belongs[0], torch.maximum(shares @ belongs[1], shares @ belongs[2])
    best = (inside + _CHORD_WEIGHT * chord).argmax(1)
    outside = inside.gather(1, best[:, None])[:, 0] < 1 - _ROUNDING
    return best + SCALES * (outside & (counts.sum(1).cpu() > 0))


def pitch_class(letter: str, accidental: str) -> int:
    """0 for C to 11 for B, of a letter A to G and a sharp, a flat or nothing."""
    return (_LETTERS[letter.upper()] + _ACCIDENTALS[accidental]) % 12


def parse_key(text: str) -> Key:
    """Reads a key; without a mode it is major. Raises `MusicaeError` for anything else, with the grammar."""
    found = _KEY.match(text.strip())
    if not found:
        raise MusicaeError(f"{text!r} is no key; {GRAMMAR}.")
    letter, accidental, mode = found.groups()
    return Key(pitch_class(letter, accidental), "minor" if mode in ("minor", "min", "m") else "major")


def fits(counts: Tensor, mode: str) -> Tensor:
    """How well music fits each of the twelve keys of a mode.

    Args:
        counts: how long each pitch class sounds, `(pieces, 12)`.
        mode: `major` or `minor`.

    Returns:
        Correlations `(pieces, 12)`, by tonic; 0 for silence.
    """
    profiles = torch.stack([torch.tensor(_PROFILES[mode]).roll(tonic) for tonic in range(12)]).to(counts.device)
    centred = counts.float() - counts.float().mean(1, keepdim=True)
    wanted = profiles - profiles.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True) * wanted.norm(dim=1)
    return (centred @ wanted.T) / norms.clamp_min(1e-9)
