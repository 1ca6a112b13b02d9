"""A stream: one instrument's tokens, a token a step. Two kinds: a line of pitches, and drums.

Everything that reads, cuts, joins, writes or draws tokens asks the stream, so nothing else needs to
know which part it works on. The tokens of a line are in `musicae.music.codec`, those of drums in
`musicae.music.drums`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from musicae.music import codec, drums
from musicae.music.melody import skyline

_HIT = 0.5
"""Steps a written hit lasts; players ignore it."""


class Stream(ABC):
    """One instrument of a part.

    Attributes:
        name: `melody`, `bass` or `drums`.
        program: General MIDI program it is written with where the source has none.
    """

    vocabulary: ClassVar[int]
    dtype: ClassVar[type[np.unsignedinteger]]
    is_drums: ClassVar[bool]
    onset_name: ClassVar[str]
    """What `min_notes` counts, in words."""
    unspeakable: ClassVar[str]
    """What no token can say, in words."""

    def __init__(self, name: str, program: int) -> None:
        self.name = name
        self.program = program

    @abstractmethod
    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Notes on the grid `(notes,)` → canonical tokens `(steps,)` and onset steps of notes no token can say."""

    @abstractmethod
    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens `(steps,)` → onset, end (in steps) and pitch of the notes that are written."""

    @abstractmethod
    def canonical(self, tokens: np.ndarray) -> np.ndarray:
        """The one spelling of what tokens `(..., steps)` sound like."""

    @abstractmethod
    def onsets(self, tokens: np.ndarray) -> np.ndarray:
        """Where something is struck: bool, of the shape of the tokens."""

    @abstractmethod
    def windows(self, tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """Cuts `(total,)` into whole windows `(windows, steps)`, each to be heard by itself."""

    @abstractmethod
    def start(self, tokens: np.ndarray, step: int) -> int:
        """The token of a window that starts at a step of a line: what sounds there is struck."""

    @abstractmethod
    def padded(self, tokens: np.ndarray, steps: int) -> np.ndarray:
        """Fills `(length,)` with silence up to `steps`. A copy."""

    @abstractmethod
    def joined(self, windows: np.ndarray, tied: np.ndarray | None = None) -> np.ndarray:
        """Puts `(windows, steps)` in a row; `tied` marks windows whose first note was held from before."""

    def left_out(self, pitch: np.ndarray) -> str:
        """Says which of the pitches `(notes,)` no token can say, where that is worth a line; else empty."""
        del pitch
        return ""

    @abstractmethod
    def roll(self, tokens: np.ndarray) -> np.ndarray:
        """Draws `(steps,)` as uint8 `(128, steps)`: 2 at an onset, 1 where a note sounds on."""


class PitchedStream(Stream):
    """A melody, or a bass: one note at a time.

    Args:
        name, program: as in `Stream`.
        lowest: of notes that start together the lowest is taken, not the highest.
    """

    vocabulary = codec.VOCABULARY
    dtype = np.uint8
    is_drums = False
    onset_name = "notes"
    unspeakable = f"notes outside A0–C8 (MIDI {codec.LOWEST_PITCH}–{codec.HIGHEST_PITCH})"

    def __init__(self, name: str, program: int, *, lowest: bool = False) -> None:
        super().__init__(name, program)
        self.lowest = lowest

    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The skyline, upwards or downwards."""
        speakable = (pitch >= codec.LOWEST_PITCH) & (pitch <= codec.HIGHEST_PITCH)
        outside = np.zeros(0, dtype=np.int64)
        if not speakable.all():
            outside = np.unique(onset[~speakable])
            onset, end, pitch = onset[speakable], end[speakable], pitch[speakable]
        if self.lowest:
            onset, end, pitch = skyline(onset, end, -pitch)
            return codec.tokens_from_notes(onset, end, -pitch, steps), outside
        return codec.tokens_from_notes(*skyline(onset, end, pitch), steps), outside

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Notes up to the next onset, note-off or the end."""
        return codec.notes_from_tokens(tokens)

    def canonical(self, tokens: np.ndarray) -> np.ndarray:
        """Without note-offs where nothing sounds."""
        return codec.canonical(tokens)

    def onsets(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens of pitches."""
        return tokens >= codec.FIRST_ONSET

    def windows(self, tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """A note held over from before is struck again."""
        return codec.windows_of(tokens, steps, hop)

    def start(self, tokens: np.ndarray, step: int) -> int:
        """The note that sounds, or 0."""
        return int(codec.sounding(tokens[: step + 1])[-1])

    def padded(self, tokens: np.ndarray, steps: int) -> np.ndarray:
        """What sounds at the end stops there."""
        return codec.with_silence(tokens, steps)

    def joined(self, windows: np.ndarray, tied: np.ndarray | None = None) -> np.ndarray:
        """What sounds at a window's end stops there, unless it is tied."""
        return codec.join_windows(windows, tied)

    def roll(self, tokens: np.ndarray) -> np.ndarray:
        """A piano roll."""
        return codec.piano_roll(tokens)


class DrumStream(Stream):
    """A set of drums: nine kinds, any of them together at a step."""

    vocabulary = drums.VOCABULARY
    dtype = np.uint16
    is_drums = True
    onset_name = "steps struck"
    unspeakable = "hits of drums that no class has"

    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ends don't matter."""
        return drums.tokens_from_hits(onset, pitch, steps)

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Short notes at General MIDI's pitches."""
        step, kind = drums.hits_from_tokens(tokens)
        return step, step + _HIT, drums.WRITTEN_PITCH[kind]

    def canonical(self, tokens: np.ndarray) -> np.ndarray:
        """Every token is."""
        return tokens

    def onsets(self, tokens: np.ndarray) -> np.ndarray:
        """Steps where any drum is struck."""
        return tokens > 0

    def windows(self, tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """A hit has no length: nothing is held over."""
        return codec.sliding(tokens, steps, hop)

    def start(self, tokens: np.ndarray, step: int) -> int:
        """What is struck there."""
        return int(tokens[step])

    def padded(self, tokens: np.ndarray, steps: int) -> np.ndarray:
        """With steps where nothing is struck."""
        return np.pad(tokens, (0, steps - len(tokens)))

    def joined(self, windows: np.ndarray, tied: np.ndarray | None = None) -> np.ndarray:
        """One after the other."""
        return np.array(windows).reshape(-1)

    def left_out(self, pitch: np.ndarray) -> str:
        """Hand percussion and the like, with the pitches."""
        counts = drums.unmapped_pitches(pitch)
        told = ", ".join(f"{count} × pitch {number}" for number, count in counts.items())
        return f"{self.unspeakable}: {told}" if counts else ""

    def roll(self, tokens: np.ndarray) -> np.ndarray:
        """Hits at General MIDI's pitches."""
        roll = np.zeros((128, len(tokens)), dtype=np.uint8)
        step, kind = drums.hits_from_tokens(tokens)
        roll[drums.WRITTEN_PITCH[kind], step] = 2
        return roll
