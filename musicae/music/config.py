"""What a music model reads: which part, how many bars, in which metre."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from musicae.domain import DomainConfig
from musicae.music.parts import PARTS, Part
from musicae.music.time_signatures import METRES, Metre

BARS = (1, 2, 4, 8, 16)


class MusicConfig(DomainConfig):
    """What a music model reads."""

    part: Literal["melody", "drums", "trio"] = "melody"
    metre: Literal["4/4", "2/4", "3/4", "6/8"] = "4/4"
    bars: int = 2  # length of a window; 1, 2, 4, 8 or 16
    min_notes: int = 4  # fewest onsets in a window that is learned from; drums: steps struck; trio: of its melody
    track: int | str | None = None  # 0-based index, name, or part of a name; None: chosen in each file
    chords: bool = False  # whether the model is told the chord of every step
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
            raise ValueError(f"min_notes is 1 to {self.steps_per_bar} in {self.metre}, got {self.min_notes}")
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
    def signature(self) -> Metre:
        """The metre, with its steps."""
        return METRES[self.metre]

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
