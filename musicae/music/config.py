"""What a music model reads: which part of a piece, how many bars, in which time signatures.

A model states one time signature, or `any`: then the file decides, and the model is given it as a condition. Cut time
is written in the same bars as 4/4, and 2/4 has the same beats with twice the bar lines, so both are read as 4/4, 2/4 in
pairs of bars; a bar of 12/8 is read as two of 6/8. `PARTS` are the instruments that a model can be trained for,
`TIME_SIGNATURES` how many 16ths a bar has and which signatures are read so. Nothing else asks for a part's name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from musicae.domain import DomainConfig
from musicae.music.slots import Slots
from musicae.music.streams import DrumStream, KeyStream, PitchedStream, Stream
from musicae.music.tokens import HIGHEST_PITCH, LOWEST_PITCH
from musicae.music.tracks import TrackChoice, TrackSummary, choose_drums, choose_melody, choose_piano, choose_trio

BARS = (1, 2, 4, 8, 16)


class BarRatio(NamedTuple):
    """So many bars of a file are so many of a model; one of the two is 1."""

    file: int
    model: int


@dataclass(frozen=True)
class TimeSignature:
    """A time signature that a model reads.

    Attributes:
        name: as people write it.
        numerator, denominator: as it is written into files.
        steps_per_bar: 16ths.
        steps_per_beat: 16ths of a beat as it is felt.
        reads: a file's time signature → how its bars are read in this one's.
    """

    name: str
    numerator: int
    denominator: int
    steps_per_bar: int
    steps_per_beat: int
    reads: Mapping[tuple[int, int], BarRatio]


_SAME, _PAIR, _HALVES, _THIRDS = BarRatio(1, 1), BarRatio(2, 1), BarRatio(1, 2), BarRatio(1, 3)
_COMMON = {(4, 4): _SAME, (2, 2): _SAME, (8, 8): _SAME, (2, 4): _PAIR, (4, 8): _PAIR, (4, 2): _HALVES, (8, 4): _HALVES}

TIME_SIGNATURES: dict[str, TimeSignature] = {
    signature.name: signature
    for signature in (
        TimeSignature("4/4", 4, 4, 16, 4, _COMMON),
        TimeSignature("2/4", 2, 4, 8, 4, {(2, 4): _SAME, (4, 8): _SAME}),
        TimeSignature("3/4", 3, 4, 12, 4, {(3, 4): _SAME, (6, 4): _HALVES, (3, 2): _HALVES, (9, 4): _THIRDS}),
        TimeSignature("6/8", 6, 8, 12, 6, {(6, 8): _SAME, (3, 8): _PAIR, (12, 8): _HALVES}),
        TimeSignature("9/8", 9, 8, 18, 6, {(9, 8): _SAME}),
    )
}
"""Name → time signature; the first is the default."""
ANY = "any"
_OF_ANY = ("4/4", "3/4", "6/8", "9/8")
"""What a model of any time signature reads; their order is that of the condition's classes."""


def another_time_signature(found: str, signatures: Sequence[TimeSignature]) -> str:
    """Says that a file's time signature is not one of a model's, and where no model has it, which there are."""
    there = "" if time_signatures_for([found]) else f"; there are {', '.join(TIME_SIGNATURES)}"
    return f"{found} (this model reads {in_words(signatures)}{there})"


def in_words(signatures: Sequence[TimeSignature]) -> str:
    """Names time signatures."""
    *others, last = (signature.name for signature in signatures)
    return f"{', '.join(others)} and {last}" if others else last


def time_signatures_for(found: Iterable[str]) -> list[str]:
    """Names of the time signatures of models that read one of some files' ones."""
    pairs = {(int(upper), int(lower)) for upper, lower in (signature.split("/") for signature in found)}
    return [name for name, signature in TIME_SIGNATURES.items() if pairs & signature.reads.keys()]


@dataclass(frozen=True)
class Instrument:
    """Streams that are written to one track: one of a line or of drums, all the keys of a keyboard.

    Attributes:
        name: of all its streams.
        streams: themselves.
        first: place of the first of them in the part.
    """

    name: str
    streams: tuple[Stream, ...]
    first: int

    @property
    def is_drums(self) -> bool:
        """Whether it is struck and has no pitches."""
        return self.streams[0].is_drums

    @property
    def is_keys(self) -> bool:
        """Whether it plays several notes at a time, one for each stream."""
        return len(self.streams) > 1

    @property
    def program(self) -> int:
        """General MIDI program it is written with where the source has none."""
        return self.streams[0].program

    @property
    def columns(self) -> slice:
        """Where its tokens are."""
        return slice(self.first, self.first + len(self.streams))


@dataclass(frozen=True)
class Part:
    """What a model plays.

    Attributes:
        name: as in the model's config.
        streams: columns of tokens; those of one instrument have one name and stand together.
        choose: summaries of a file's tracks and the user's choice → the tracks of each instrument.
        wanted: what a file must have, in words.
        sound: what a window must hold, in words.
    """

    name: str
    streams: tuple[Stream, ...]
    choose: Callable[[Sequence[TrackSummary], int | str | None], TrackChoice]
    wanted: str
    sound: str

    @cached_property
    def instruments(self) -> tuple[Instrument, ...]:
        """Its instruments; `min_notes` counts the first one's."""
        found: list[Instrument] = []
        for name, streams in groupby(self.streams, key=lambda stream: stream.name):
            found.append(Instrument(name, tuple(streams), sum(len(each.streams) for each in found)))
        return tuple(found)

    @cached_property
    def instrument_of(self) -> tuple[int, ...]:
        """For each stream the place of its instrument."""
        return tuple(place for place, instrument in enumerate(self.instruments) for _ in instrument.streams)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every stream's tokens."""
        return np.result_type(*(stream.dtype for stream in self.streams))

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Number of tokens of each stream."""
        return tuple(stream.vocabulary for stream in self.streams)


_MELODY = PitchedStream("melody", 0)
_BASS = PitchedStream("bass", 33, lowest=True)
_DRUMS = DrumStream("drums", 0)
_KEYS = tuple(KeyStream("piano", 0, pitch) for pitch in range(LOWEST_PITCH, HIGHEST_PITCH + 1))

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("melody", (_MELODY,), choose_melody, "a track with a melody", "notes from A0 to C8"),
        Part("drums", (_DRUMS,), choose_drums, "a track of drums on channel 10", "hits"),
        Part("piano", _KEYS, choose_piano, "a piano", "notes from A0 to C8"),
        Part("trio", (_MELODY, _BASS, _DRUMS), choose_trio, "a melody, a bass and drums", "melody, bass and drums"),
    )
}
"""Name → part; the first is the default."""


class MusicConfig(DomainConfig):
    """What a music model reads."""

    RENAMED: ClassVar[Mapping[str, str]] = {"metre": "time_signature"}

    part: Literal["melody", "drums", "piano", "trio"] = "melody"
    time_signature: Literal["any", "4/4", "2/4", "3/4", "6/8", "9/8"] = "any"  # any: each file's own is a condition
    bars: int = 2  # length of a window; 1, 2, 4, 8 or 16
    min_notes: int = 4  # fewest onsets in a window that is learned from; drums: steps struck; trio: of its melody
    track: int | str | None = None  # 0-based index, name, or part of a name; None: chosen in each file
    expression: bool = False  # whether each onset has its velocity and its distance from the grid
    chords: bool = False  # whether the model is given the chord of every step as a condition
    varied_drums: float = Field(default=1.0, ge=0, le=1)  # 0: training windows keep each drum in its place
    recombined: float = Field(default=0.0, ge=0, le=1)  # share of training windows with streams from several pieces

    @field_validator("bars")
    @classmethod
    def _known_bars(cls, bars: int) -> int:
        if bars not in BARS:
            raise ValueError(f"bars is one of {', '.join(map(str, BARS))}, got {bars}")
        return bars

    @model_validator(mode="after")
    def _some_notes(self) -> "MusicConfig":
        most = min(signature.steps_per_bar for signature in self.signatures)
        if not 1 <= self.min_notes <= most:
            raise ValueError(f"min_notes is 1 to {most} in {in_words(self.signatures)}, got {self.min_notes}")
        return self

    @model_validator(mode="after")
    def _chords_under_notes(self) -> "MusicConfig":
        if self.chords and all(stream.is_drums for stream in self.plan.streams):
            raise ValueError("chords go with a melody or a trio; drums have none")
        if self.chords and self.recombined:
            raise ValueError("streams of several pieces have no chords in common; leave out chords or recombined")
        return self

    @property
    def plan(self) -> Part:
        """The part's streams."""
        return PARTS[self.part]

    @property
    def signatures(self) -> tuple[TimeSignature, ...]:
        """The time signatures that are read, with their steps."""
        return tuple(
            TIME_SIGNATURES[name] for name in (_OF_ANY if self.time_signature == ANY else [self.time_signature])
        )

    @property
    def slots(self) -> Slots:
        """Where the steps of a window lie in its tensor."""
        return Slots(tuple(signature.steps_per_bar for signature in self.signatures), self.bars)

    @property
    def columns(self) -> int:
        """Of a stored window: streams, values, chords, and the number of the time signature where there are several."""
        return len(self.plan.streams) + self.values + self.chords + self.slots.are_several

    @property
    def values(self) -> int:
        """How many columns of values a window has behind its streams."""
        return sum(2 * stream.places for stream in self.plan.streams) if self.expression else 0

    @property
    def steps(self) -> int:
        """Steps of a window; in shorter time signatures some are not used."""
        return self.slots.steps
