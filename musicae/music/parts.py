"""The parts of a piece that a model can be trained for. Nothing else asks for a part's name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from musicae.music.drums import choose_drums
from musicae.music.melody import choose_melody
from musicae.music.streams import DrumStream, PitchedStream, Stream
from musicae.music.tracks import TrackChoice, TrackSummary
from musicae.music.trio import choose_trio


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
