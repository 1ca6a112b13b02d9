"""What a music model reads: which part of a piece, how many bars, in which time signature.

A model states one time signature. Cut time is written in the same bars as 4/4, and 2/4 has the same beats with twice
the bar lines, so a 4/4 model reads both, 2/4 in pairs of bars; 3/8 is read in pairs as 6/8. `PARTS` are the
instruments that a model can be trained for, `TIME_SIGNATURES` how many 16ths a bar has and which signatures are read
so. Nothing else asks for a part's name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from musicae.domain import DomainConfig
from musicae.music.tokens import DrumStream, PitchedStream, Stream
from musicae.music.tracks import TrackChoice, TrackSummary, choose_drums, choose_melody, choose_trio

BARS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class TimeSignature:
    """A time signature that a model reads.

    Attributes:
        name: as people write it.
        numerator, denominator: as it is written into files.
        steps_per_bar: 16ths.
        steps_per_beat: 16ths of a beat as it is felt.
        file_bars: time signature → how many of the file's bars make one of this one's.
    """

    name: str
    numerator: int
    denominator: int
    steps_per_bar: int
    steps_per_beat: int
    file_bars: Mapping[tuple[int, int], int]


TIME_SIGNATURES: dict[str, TimeSignature] = {
    signature.name: signature
    for signature in (
        TimeSignature("4/4", 4, 4, 16, 4, {(4, 4): 1, (2, 2): 1, (8, 8): 1, (2, 4): 2, (4, 8): 2}),
        TimeSignature("2/4", 2, 4, 8, 4, {(2, 4): 1, (4, 8): 1}),
        TimeSignature("3/4", 3, 4, 12, 4, {(3, 4): 1}),
        TimeSignature("6/8", 6, 8, 12, 6, {(6, 8): 1, (3, 8): 2}),
    )
}
"""Name → time signature; the first is the default."""


def another_time_signature(found: str, signature: TimeSignature) -> str:
    """Says that a file's time signature is not the model's, and where no model has it, which there are."""
    there = "" if time_signatures_for([found]) else f"; there are {', '.join(TIME_SIGNATURES)}"
    return f"{found} (this model reads {signature.name}{there})"


def time_signatures_for(found: Iterable[str]) -> list[str]:
    """Names of the time signatures of models that read one of some files' ones."""
    pairs = {(int(upper), int(lower)) for upper, lower in (signature.split("/") for signature in found)}
    return [name for name, signature in TIME_SIGNATURES.items() if pairs & signature.file_bars.keys()]


@dataclass(frozen=True)
class Part:
    """What a model plays.

    Attributes:
        name: as in the model's config.
        streams: its instruments; `min_notes` counts the first one's.
        choose: summaries of a file's tracks and the user's choice → the tracks of each stream.
        wanted: what a file must have, in words.
        sound: what a window must hold, in words.
    """

    name: str
    streams: tuple[Stream, ...]
    choose: Callable[[Sequence[TrackSummary], int | str | None], TrackChoice]
    wanted: str
    sound: str

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

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("melody", (_MELODY,), choose_melody, "a track with a melody", "notes from A0 to C8"),
        Part("drums", (_DRUMS,), choose_drums, "a track of drums on channel 10", "hits"),
        Part("trio", (_MELODY, _BASS, _DRUMS), choose_trio, "a melody, a bass and drums", "melody, bass and drums"),
    )
}
"""Name → part; the first is the default."""


class MusicConfig(DomainConfig):
    """What a music model reads."""

    RENAMED: ClassVar[Mapping[str, str]] = {"metre": "time_signature"}

    part: Literal["melody", "drums", "trio"] = "melody"
    time_signature: Literal["4/4", "2/4", "3/4", "6/8"] = "4/4"
    bars: int = 2  # length of a window; 1, 2, 4, 8 or 16
    min_notes: int = 4  # fewest onsets in a window that is learned from; drums: steps struck; trio: of its melody
    track: int | str | None = None  # 0-based index, name, or part of a name; None: chosen in each file
    chords: bool = False  # whether the model is given the chord of every step as a condition
    recombined: float = Field(default=0.0, ge=0, le=1)  # share of training windows with streams from several pieces

    @field_validator("bars")
    @classmethod
    def _known_bars(cls, bars: int) -> int:
        if bars not in BARS:
            raise ValueError(f"bars is one of {', '.join(map(str, BARS))}, got {bars}")
        return bars

    @model_validator(mode="after")
    def _some_notes(self) -> "MusicConfig":
        if not 1 <= self.min_notes <= self.steps_per_bar:
            raise ValueError(f"min_notes is 1 to {self.steps_per_bar} in {self.time_signature}, got {self.min_notes}")
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
    def signature(self) -> TimeSignature:
        """The time signature, with its steps."""
        return TIME_SIGNATURES[self.time_signature]

    @property
    def steps_per_bar(self) -> int:
        """16ths in a bar."""
        return self.signature.steps_per_bar

    @property
    def columns(self) -> int:
        """Of a stored window: the streams, and the chords."""
        return len(self.plan.streams) + self.chords

    @property
    def steps(self) -> int:
        """Steps of a window."""
        return self.bars * self.steps_per_bar
