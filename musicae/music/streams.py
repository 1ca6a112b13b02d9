"""A `Stream` is an instrument of a part: a line of pitches, or drums.

Everything that reads, cuts, joins, writes or draws tokens asks the stream, so nothing else needs to know which
instrument it works on. What tokens mean is in `musicae.music.tokens`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from musicae.music.expression import again, read, written
from musicae.music.tokens import (
    BIT_OF_PITCH,
    DRUM_PITCHES,
    DRUM_VOCABULARY,
    FIRST_ONSET,
    HIGHEST_PITCH,
    HOLD,
    LINE_VOCABULARY,
    LOWEST_PITCH,
    NO_CLASS,
    NOTE_OFF,
    PITCH_OFFSET,
    WRITTEN_PITCH,
    canonical,
    hits_from_tokens,
    join_windows,
    last_event,
    notes_from_tokens,
    piano_roll,
    skyline,
    sliding,
    sliding_rows,
    sounding,
    tokens_from_hits,
    tokens_from_notes,
    unmapped_pitches,
    windows_of,
    with_silence,
)

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
    first_onset: ClassVar[int]
    """The first token that begins a note."""
    onset_name: ClassVar[str]
    """What `min_notes` counts, in words."""
    without_token: ClassVar[str]
    """What no token can say, in words."""

    def __init__(self, name: str, program: int) -> None:
        self.name = name
        self.program = program

    @property
    @abstractmethod
    def meanings(self) -> dict[str, str]:
        """What tokens mean, for other programs: a token, or a first and a last one, → words."""

    @abstractmethod
    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Notes on the grid `(notes,)` → canonical tokens `(steps,)` and onset steps of notes no token can say."""

    @property
    @abstractmethod
    def places(self) -> int:
        """How many notes may begin at a step: each has a velocity and an offset."""

    @abstractmethod
    def values(
        self, tokens: np.ndarray, notes: tuple[np.ndarray, np.ndarray, np.ndarray], velocity: np.ndarray,
        offset: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """How the notes that tokens `(steps,)` say are played, as `expression.written` lays it out.

        Args:
            tokens: made of the notes.
            notes: onset, end and pitch.
            velocity, offset: of every note.
        """

    @abstractmethod
    def value_windows(self, tokens: np.ndarray, values: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """As `windows`, of the values `(total, 2 × places)`: `(windows, steps, 2 × places)`."""

    @abstractmethod
    def played(self, tokens: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Velocity and offset of the notes that `notes` reads from tokens."""

    @abstractmethod
    def key(self, pitch: np.ndarray) -> np.ndarray:
        """Pitches → int64, equal where a token can't tell them apart, −1 for those that no token can say."""

    @abstractmethod
    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens `(steps,)` → onset, end (in steps) and pitch of the notes that are written."""

    @abstractmethod
    def pitch_of(self, tokens: np.ndarray) -> np.ndarray:
        """MIDI pitch of the note that each token begins, −1 where it begins none that has a pitch; int64."""

    @abstractmethod
    def canonical(self, tokens: np.ndarray) -> np.ndarray:
        """The one spelling of what tokens `(..., steps)` sound like."""

    @abstractmethod
    def onsets(self, tokens: np.ndarray) -> np.ndarray:
        """Where something is struck: bool, of the shape of the tokens."""

    @abstractmethod
    def windows(self, tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """Cuts `(total,)` into whole windows `(windows, steps)`, each to be played by itself."""

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

    vocabulary = LINE_VOCABULARY
    dtype = np.uint8
    is_drums = False
    first_onset = FIRST_ONSET
    onset_name = "notes"
    without_token = f"notes outside A0–C8 (MIDI {LOWEST_PITCH}–{HIGHEST_PITCH})"

    def __init__(self, name: str, program: int, *, lowest: bool = False) -> None:
        super().__init__(name, program)
        self.lowest = lowest

    @property
    def meanings(self) -> dict[str, str]:
        return {
            str(HOLD): "what sounds, or a rest, goes on",
            str(NOTE_OFF): "what sounds ends",
            f"{FIRST_ONSET}-{LINE_VOCABULARY - 1}": f"a note of MIDI pitch token + {PITCH_OFFSET} begins",
        }

    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The skyline, upwards or downwards."""
        with_token = (pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH)
        outside = np.zeros(0, dtype=np.int64)
        if not with_token.all():
            outside = np.unique(onset[~with_token])
            onset, end, pitch = onset[with_token], end[with_token], pitch[with_token]
        if self.lowest:
            onset, end, pitch = skyline(onset, end, -pitch)
            return tokens_from_notes(onset, end, -pitch, steps), outside
        return tokens_from_notes(*skyline(onset, end, pitch), steps), outside

    @property
    def places(self) -> int:
        """One."""
        return 1

    def values(
        self, tokens: np.ndarray, notes: tuple[np.ndarray, np.ndarray, np.ndarray], velocity: np.ndarray,
        offset: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Of several notes of one pitch that begin together the longest one's."""
        onset, end, pitch = notes
        said = tokens[onset] == pitch - PITCH_OFFSET
        place = np.zeros(int(said.sum()), np.int64)
        return written(onset[said], place, end[said], velocity[said], offset[said], (len(tokens), 1))

    def value_windows(self, tokens: np.ndarray, values: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """A note that is struck again has its own velocity, and lies on the grid."""
        windows = sliding_rows(values, steps, hop).copy()
        onset = tokens >= FIRST_ONSET
        starts = np.arange(len(windows)) * hop
        last = last_event(tokens != HOLD)[starts]
        held = ~onset[starts] & onset[last]
        windows[held, 0] = again(values[last[held]])
        windows[~held & ~onset[starts], 0] = 0
        return windows

    def played(self, tokens: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those at the onsets."""
        own = values[np.flatnonzero(self.onsets(tokens))]
        return read(own[:, 0], own[:, 1])

    def key(self, pitch: np.ndarray) -> np.ndarray:
        """The pitch itself."""
        return np.where((pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH), pitch, -1)

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Notes up to the next onset, note-off or the end."""
        return notes_from_tokens(tokens)

    def pitch_of(self, tokens: np.ndarray) -> np.ndarray:
        """Onsets have one."""
        return np.where(tokens >= FIRST_ONSET, tokens.astype(np.int64) + PITCH_OFFSET, -1)

    def canonical(self, tokens: np.ndarray) -> np.ndarray:
        """Without note-offs where nothing sounds."""
        return canonical(tokens)

    def onsets(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens of pitches."""
        return tokens >= FIRST_ONSET

    def windows(self, tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """A note held over from before is struck again."""
        return windows_of(tokens, steps, hop)

    def start(self, tokens: np.ndarray, step: int) -> int:
        """The note that sounds, or 0."""
        return int(sounding(tokens[: step + 1])[-1])

    def padded(self, tokens: np.ndarray, steps: int) -> np.ndarray:
        """What sounds at the end stops there."""
        return with_silence(tokens, steps)

    def joined(self, windows: np.ndarray, tied: np.ndarray | None = None) -> np.ndarray:
        """What sounds at a window's end stops there, unless it is tied."""
        return join_windows(windows, tied)

    def roll(self, tokens: np.ndarray) -> np.ndarray:
        """A piano roll."""
        return piano_roll(tokens)


class KeyStream(PitchedStream):
    """One key of a keyboard: a line that has one pitch, so that many of them together are chords and several hands.

    Args:
        name, program: as in `Stream`; of all keys of an instrument the same.
        pitch: the key's, 21 to 108.
    """

    vocabulary = FIRST_ONSET + 1

    def __init__(self, name: str, program: int, pitch: int) -> None:
        super().__init__(name, program)
        self.pitch = pitch

    @property
    def meanings(self) -> dict[str, str]:
        goes_on, ends = list(super().meanings.items())[:2]
        return dict([goes_on, ends]) | {str(FIRST_ONSET): f"a note of MIDI pitch {self.pitch} begins"}

    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The key's own notes, each ended by the next. What no key can say is counted at the first key."""
        own = pitch == self.pitch
        outside = np.zeros(0, dtype=np.int64)
        if self.pitch == LOWEST_PITCH:
            outside = np.unique(onset[(pitch < LOWEST_PITCH) | (pitch > HIGHEST_PITCH)])
        onset, end, _ = skyline(onset[own], end[own], pitch[own])
        return tokens_from_notes(onset, end, np.full(len(onset), LOWEST_PITCH), steps), outside

    def values(
        self, tokens: np.ndarray, notes: tuple[np.ndarray, np.ndarray, np.ndarray], velocity: np.ndarray,
        offset: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Of several notes that begin together the longest one's."""
        own = notes[2] == self.pitch
        onset, end = notes[0][own], notes[1][own]
        place = np.zeros(len(onset), np.int64)
        return written(onset, place, end, velocity[own], offset[own], (len(tokens), 1))

    def key(self, pitch: np.ndarray) -> np.ndarray:
        """The pitch itself, where it is the key's."""
        return np.where(pitch == self.pitch, pitch, -1)

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Notes up to the next onset, note-off or the end."""
        onset, end, pitch = super().notes(tokens)
        return onset, end, pitch + (self.pitch - LOWEST_PITCH)

    def pitch_of(self, tokens: np.ndarray) -> np.ndarray:
        """Onsets have the key's."""
        return np.where(tokens >= FIRST_ONSET, self.pitch, -1)

    def roll(self, tokens: np.ndarray) -> np.ndarray:
        """A piano roll of one row."""
        return np.roll(piano_roll(tokens), self.pitch - LOWEST_PITCH, axis=0)


class DrumStream(Stream):
    """A set of drums: nine of them, any together at a step."""

    vocabulary = DRUM_VOCABULARY
    dtype = np.uint16
    is_drums = True
    first_onset = 1
    onset_name = "steps struck"
    without_token = "hits of drums that no class has"

    @property
    def meanings(self) -> dict[str, str]:
        bits = (f"{1 << bit}: {name} ({pitches[0]})" for bit, (name, pitches) in enumerate(DRUM_PITCHES.items()))
        return {f"0-{DRUM_VOCABULARY - 1}": f"the sum of what is struck, with MIDI pitches: {', '.join(bits)}"}

    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ends don't matter."""
        return tokens_from_hits(onset, pitch, steps)

    @property
    def places(self) -> int:
        """One for each drum."""
        return len(DRUM_PITCHES)

    def values(
        self, tokens: np.ndarray, notes: tuple[np.ndarray, np.ndarray, np.ndarray], velocity: np.ndarray,
        offset: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Of several hits of a drum at one step the loudest one's."""
        drum = self.key(notes[2])
        known = drum >= 0
        shape = (len(tokens), self.places)
        return written(notes[0][known], drum[known], velocity[known], velocity[known], offset[known], shape)

    def value_windows(self, tokens: np.ndarray, values: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """Nothing is struck again."""
        return sliding_rows(values, steps, hop)

    def played(self, tokens: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of every hit."""
        step, drum = hits_from_tokens(tokens)
        return read(values[step, drum], values[step, self.places + drum])

    def key(self, pitch: np.ndarray) -> np.ndarray:
        """The class of the drum."""
        bit = BIT_OF_PITCH[pitch]
        return np.where(bit == NO_CLASS, -1, np.log2(np.maximum(bit, 1)).astype(np.int64))

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Short notes at General MIDI's pitches."""
        step, drum = hits_from_tokens(tokens)
        return step, step + _HIT, WRITTEN_PITCH[drum]

    def pitch_of(self, tokens: np.ndarray) -> np.ndarray:
        """None has."""
        return np.full(tokens.shape, -1)

    def canonical(self, tokens: np.ndarray) -> np.ndarray:
        """Every token is."""
        return tokens

    def onsets(self, tokens: np.ndarray) -> np.ndarray:
        """Steps where any drum is struck."""
        return tokens > 0

    def windows(self, tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
        """A hit has no length: nothing is held over."""
        return sliding(tokens, steps, hop)

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
        counts = unmapped_pitches(pitch)
        listed = ", ".join(f"{count} × pitch {number}" for number, count in counts.items())
        return f"{self.without_token}: {listed}" if counts else ""

    def roll(self, tokens: np.ndarray) -> np.ndarray:
        """Hits at General MIDI's pitches."""
        roll = np.zeros((128, len(tokens)), dtype=np.uint8)
        step, drum = hits_from_tokens(tokens)
        roll[WRITTEN_PITCH[drum], step] = 2
        return roll
