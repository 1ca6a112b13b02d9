"""Labels of single notes: instrument, pitch and velocity, as the names of files and people's words say them.

A folder for each instrument, and file names that begin with the pitch and, if it is known, the velocity:
`cello/48-90.wav`, `cello/C3_90_take2.flac`. Pitches are MIDI numbers, or names of which C4 is 60; velocities are those
of MIDI, 1 to 127. A model is asked for a note in words: "cello pitch 48 velocity 0.7". Nothing here opens a file.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicae.errors import MusicaeError, unknown_name
from musicae.nn.note_prior import NotePrior

STEPS_PER_SEMITONE = NotePrior.STEPS_PER_SEMITONE
MOST_INSTRUMENTS = NotePrior.INSTRUMENTS - 1  # number 0 stands for any
PITCHES = (0, 127)
VELOCITIES = (1, 127)
NUMBERS = NotePrior.LABEL_NUMBERS
"""Of a label, as it is stored beside an example and as a condition: instrument, pitch, velocity, 0 where unknown."""
CLASSES = (PITCHES[1] + 1) * STEPS_PER_SEMITONE + 1
_FILE = re.compile(r"(?:(\d{1,3})|([A-Ga-g])(#|s|b)?(-?\d))(?:[-_ ](\d{1,3}))?(?![\d#])")
_WORDS = re.compile(r"(.*?)(?:\bpitch\s+(\S+)\s*)?(?:\bvelocity\s+(\S+)\s*)?", re.DOTALL)
_USUAL_VELOCITIES = (40, 120)  # of MIDI: neither hardly audible nor the loudest
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"#": 1, "s": 1, "b": -1, None: 0}


class Instrument(NamedTuple):
    """What a model knows an instrument by, and the lowest and highest pitch that it learned."""

    name: str
    lowest: int
    highest: int


class NoteLabel(NamedTuple):
    """An instrument's name, the pitch in semitones, and the velocity 1…127; the last is None where it isn't known."""

    instrument: str
    pitch: int
    velocity: int | None


def read_label(path: Path | None) -> NoteLabel | None:
    """What a file is called; None where its name says no pitch."""
    found = None if path is None else _FILE.match(path.stem)
    if path is None or found is None:
        return None
    number, letter, accidental, octave, loud = found.groups()
    if number is not None:
        pitch = int(number)
    else:
        pitch = 12 * (int(octave) + 1) + _SEMITONES[letter.lower()] + _ACCIDENTALS[accidental]
    velocity = int(loud) if loud is not None and VELOCITIES[0] <= int(loud) <= VELOCITIES[1] else None
    is_pitch = PITCHES[0] <= pitch <= PITCHES[1]
    return NoteLabel(path.absolute().parent.name, pitch, velocity) if is_pitch else None


def find_instruments(files: Iterable[Path]) -> tuple[Instrument, ...]:
    """The instruments that files are labelled with, in the order of their names.

    Raises:
        MusicaeError: no file is.
    """
    pitches: dict[str, list[int]] = {}
    for path in files:
        if (label := read_label(path)) is not None:
            pitches.setdefault(label.instrument, []).append(label.pitch)
    if not pitches:
        raise MusicaeError(
            "labels=true learns notes by their names, and no file is called by a pitch; put them in a folder for each "
            "instrument and name them such as cello/48-90.wav."
        )
    if len(pitches) > MOST_INSTRUMENTS:
        raise MusicaeError(f"{len(pitches)} instruments are more than the {MOST_INSTRUMENTS} that a model tells apart.")
    return tuple(Instrument(name, min(found), max(found)) for name, found in sorted(pitches.items()))


def stored_label(label: NoteLabel | None, instruments: Sequence[Instrument]) -> list[float]:
    """The `NUMBERS` that are stored; zeros where nothing is known."""
    names = [instrument.name for instrument in instruments]
    if label is None or label.instrument not in names:
        return [0.0] * NUMBERS
    return [1.0 + names.index(label.instrument), 1.0 + label.pitch, float(label.velocity or 0)]


def condition_of(stored: Tensor, semitones: Tensor | None = None) -> Tensor:
    """Stored labels → a condition, int64 `(batch, NUMBERS)`.

    Args:
        stored: `(batch, NUMBERS)`.
        semitones: by which each sound was moved, `(batch,)`.
    """
    instrument, pitch, velocity = stored.float().unbind(1)
    moved = pitch - 1 + (0 if semitones is None else semitones)
    steps = (STEPS_PER_SEMITONE * moved).round().clamp(0, CLASSES - 2) + 1
    loud = torch.where(velocity > 0, velocity + 1, 0)
    return torch.stack([instrument, torch.where(pitch > 0, steps, 0), loud], 1).long()


def parse_condition(text: str, instruments: Sequence[Instrument]) -> list[int]:
    """Reads what a person asks for; what isn't said is 0.

    Raises:
        MusicaeError: an instrument that the model doesn't know, or a number beyond its range.
    """
    found = _WORDS.fullmatch(text)
    assert found is not None  # each part may be missing
    name, pitch, velocity = (None if part is None else part.strip() for part in found.groups())
    names = [instrument.name for instrument in instruments]
    if name and name not in names:
        raise MusicaeError(unknown_name("label", name, names))
    asked = [1 + names.index(name) if name else 0, 0, 0]
    if pitch is not None:
        semitones = _number(pitch, "pitch", *PITCHES)
        asked[1] = 1 + round(STEPS_PER_SEMITONE * semitones)
    if velocity is not None:
        share = _number(velocity, "velocity", 0, 1)
        asked[2] = 1 + max(1, round(VELOCITIES[1] * share))
    return asked


def described(instruments: Sequence[Instrument]) -> dict[str, Any]:
    """What the numbers of a condition mean, for other programs."""
    numbers = (
        "the instrument's place in `instruments`, from 1; the pitch of MIDI in steps of "
        f"1/{STEPS_PER_SEMITONE} semitone, plus 1; the velocity of MIDI, plus 1; each 0 for any"
    )
    return {"condition": numbers, "instruments": [instrument.name for instrument in instruments]}


def with_draws(condition: Tensor, instruments: Sequence[Instrument], generator: torch.Generator) -> Tensor:
    """Draws what notes were not asked for: an instrument that has the pitch, a pitch that it has, a usual velocity.

    Args:
        condition: int64 `(batch, NUMBERS)`.
        instruments: of the model.
        generator: of the draws.
    """
    condition = condition.clone()
    draws = torch.rand(condition.shape, generator=generator, device=generator.device).tolist()
    for row, (instrument, pitch, velocity) in zip(condition, draws, strict=True):
        if not row[0]:
            asked = (int(row[1]) - 1) / STEPS_PER_SEMITONE
            able = [
                number
                for number, known in enumerate(instruments, start=1)
                if not row[1] or known.lowest <= asked <= known.highest
            ]
            able = able or list(range(1, len(instruments) + 1))
            row[0] = able[int(instrument * len(able))]
        known = instruments[int(row[0]) - 1]
        if not row[1]:
            row[1] = 1 + STEPS_PER_SEMITONE * (known.lowest + int(pitch * (known.highest - known.lowest + 1)))
        if not row[2]:
            row[2] = 1 + _USUAL_VELOCITIES[0] + int(velocity * (_USUAL_VELOCITIES[1] - _USUAL_VELOCITIES[0]))
    return condition


def _number(text: str, what: str, lowest: float, highest: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = highest + 1
    if not lowest <= value <= highest:
        raise MusicaeError(f"a {what} is a number of {lowest:g} to {highest:g}, got {text}.")
    return value
