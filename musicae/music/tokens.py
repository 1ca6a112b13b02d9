"""Tokens of an instrument, one a step: a line of pitches, or drums.

**A line** has one token for each 16th: 0 *hold* (the note sounds on, or the rest goes on), 1 *note-off*, 2–89 onset of
pitch 21–108 (A0–C8). Every sequence of them has a sound: a note lasts from its onset to the next onset, note-off or
the end. The only two spellings of one sound differ in note-offs where nothing sounds. A sequence without those is
*canonical*; `canonical` removes them. Canonical sequences and lists of notes (monophonic, on the grid, inside the
window) correspond one to one, so tokens → notes → tokens is the identity on them. A note that began before a window
and still sounds in it is struck again at the window's first step: a window stands alone.

**Drums** have one token for each set of nine drums struck at a step, one bit each, so every token 0 to 511 is a sound
of its own and no two spell the same. A hit has no length. Pitches are those of General MIDI's percussion and of
Roland's electronic sets (TD-11), which use 22, 26 and 58 besides (Gillick et al., *Learning to Groove with Inverse
Sequence Transformations*, 2019, appendix B). Hand percussion goes where it plays the same role: shakers keep time like
a closed hat, congas stand for toms. What has no such role (guiro, claves, whistles) has no class.

Of a polyphonic track a line takes the *skyline*: the highest of the notes that start together, each ended by the next
(Uitdenbogerd & Zobel, 1998).

A `Stream` is one of the two. Everything that reads, cuts, joins, writes or draws tokens asks the stream, so nothing
else needs to know which instrument it works on. This module knows no tracks and no files.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

HOLD = 0
NOTE_OFF = 1
FIRST_ONSET = 2
LOWEST_PITCH = 21
HIGHEST_PITCH = 108
LINE_VOCABULARY = FIRST_ONSET + HIGHEST_PITCH - LOWEST_PITCH + 1
PITCH_OFFSET = LOWEST_PITCH - FIRST_ONSET
"""Pitch of an onset token minus the token."""

DRUM_PITCHES: dict[str, tuple[int, ...]] = {
    "kick": (36, 35),
    "snare": (38, 37, 39, 40),  # side stick, clap and the rim of an electronic snare
    "closed hat": (42, 22, 44, 54, 69, 70, 82),  # edge, pedal, tambourine, cabasa, maracas, shaker
    "open hat": (46, 26),  # edge
    "low tom": (43, 41, 58, 64),  # floor toms, the third tom's rim (a rare vibraslap in General MIDI), low conga
    "mid tom": (47, 45, 61, 62, 63, 66),  # low bongo, high congas, low timbale
    "high tom": (50, 48, 60, 65),  # high bongo, high timbale
    "crash": (49, 52, 55, 57),
    "ride": (51, 53, 56, 59),  # bell, cowbell, edge
}
"""Class → pitches, the first of which is written."""
DRUM_VOCABULARY = 2 ** len(DRUM_PITCHES)
WRITTEN_PITCH = np.array([pitches[0] for pitches in DRUM_PITCHES.values()])

_NO_CLASS = 0
_BIT_OF_PITCH = np.full(128, _NO_CLASS, dtype=np.int64)
for _bit, _pitches in enumerate(DRUM_PITCHES.values()):
    _BIT_OF_PITCH[list(_pitches)] = 1 << _bit
_HIT = 0.5
"""Steps a written hit lasts; players ignore it."""


def sounding(tokens: np.ndarray) -> np.ndarray:
    """Onset token of the note that sounds at each step, 0 where none does. Shape `(..., steps)`."""
    event = tokens != HOLD
    event[..., :1] = True  # nothing is held over from the row before
    flat = tokens.reshape(-1)
    token = flat[_last(event.reshape(-1))].reshape(tokens.shape)
    return token * (token >= FIRST_ONSET)


def _last(event: np.ndarray) -> np.ndarray:
    """Index of the last event up to and including each step; 0 before the first. Shape `(steps,)`."""
    index: np.ndarray = np.maximum.accumulate(np.arange(len(event)) * event)
    return index


def canonical(tokens: np.ndarray) -> np.ndarray:
    """Removes note-offs where nothing sounds. Sounds the same; idempotent. Shape `(..., steps)`."""
    flat = tokens.reshape(-1)
    event = np.flatnonzero(flat != HOLD)
    token, row = flat[event], event // tokens.shape[-1]
    sounds = np.zeros(len(event), dtype=bool)  # just before the event
    sounds[1:] = (token[:-1] >= FIRST_ONSET) & (row[1:] == row[:-1])
    result = flat.copy()
    result[event[(token == NOTE_OFF) & ~sounds]] = HOLD
    return result.reshape(tokens.shape)


def tokens_from_notes(onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int) -> np.ndarray:
    """Writes a monophonic line as tokens.

    Args:
        onset: `(notes,)` steps, strictly rising, inside `[0, steps)`.
        end: `(notes,)` steps, exclusive; past the next onset or `steps` is cut there.
        pitch: `(notes,)`, 21 to 108.
        steps: length of the result.

    Returns:
        uint8 `(steps,)`, canonical.
    """
    tokens = np.zeros(steps, dtype=np.uint8)
    if len(onset):
        following = np.empty_like(onset)
        following[:-1], following[-1] = onset[1:], steps
        tokens[end[end < following]] = NOTE_OFF
        tokens[onset] = pitch - PITCH_OFFSET
    return tokens


def notes_from_tokens(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads tokens as notes.

    Args:
        tokens: `(steps,)`, any values 0 to 89.

    Returns:
        onset and end in steps (end exclusive) and pitch, each int64 `(notes,)`.
    """
    tokens = np.asarray(tokens)
    events = np.flatnonzero(tokens != HOLD)
    following = np.append(events[1:], len(tokens))
    is_onset = tokens[events] >= FIRST_ONSET
    onset = events[is_onset]
    return onset, following[is_onset], tokens[onset].astype(np.int64) + PITCH_OFFSET


def skyline(onset: np.ndarray, end: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The highest of the notes that start together, each ended by the next.

    Args:
        onset, end: `(notes,)` whole numbers in any unit; notes in any order.
        pitch: `(notes,)` whole numbers, int64.

    Returns:
        onset (strictly rising), end and pitch of the line.
    """
    if not len(onset):
        return onset, end, pitch
    if not (onset[1:] > onset[:-1]).all():  # most melodies are one line in order already
        onset, end, pitch = _highest(onset, end, pitch)
    end = end.copy()
    np.minimum(end[:-1], onset[1:], out=end[:-1])
    return onset, end, pitch


def _highest(onset: np.ndarray, end: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The highest of the notes that start together, and of several at one pitch the longest."""
    if not (onset[1:] >= onset[:-1]).all():
        order = np.argsort(onset)
        onset, end, pitch = onset[order], end[order], pitch[order]
    is_first = np.ones(len(onset), dtype=bool)
    np.not_equal(onset[1:], onset[:-1], out=is_first[1:])
    first = np.flatnonzero(is_first)
    # Pitch and end in one number, the pitch in the upper bits: a maximum is several times as fast as sorting.
    low = end.min()
    bits = int(end.max() - low).bit_length()
    best = np.maximum.reduceat((pitch << bits) + (end - low), first)
    return onset[first], (best & ((1 << bits) - 1)) + low, best >> bits


def sliding(tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
    """All runs of `steps` tokens, one every `hop`: a view `(windows, steps)`, to be read only.

    `numpy.lib.stride_tricks.sliding_window_view` says the same, but checks for longer than the rest takes.
    """
    count = max(0, (len(tokens) - steps) // hop + 1)
    tokens = np.ascontiguousarray(tokens)
    size = tokens.itemsize
    return np.ndarray((count, steps), tokens.dtype, buffer=tokens, strides=(hop * size, size))


def windows_of(tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
    """Cuts a line into windows.

    Args:
        tokens: canonical `(total,)`.
        steps: length of a window.
        hop: steps from the start of one window to the start of the next.

    Returns:
        `(windows, steps)`, each canonical by itself; what is left at the end is not in one.
    """
    if len(tokens) < steps:
        return np.zeros((0, steps), dtype=tokens.dtype)
    windows = sliding(tokens, steps, hop).copy()
    # What sounds at the first step is its own onset, a note held from before, or 0 after a note-off.
    token = tokens[_last(tokens != HOLD)[: len(tokens) - steps + 1 : hop]]
    windows[:, 0] = token * (token >= FIRST_ONSET)
    return windows


def with_silence(tokens: np.ndarray, steps: int) -> np.ndarray:
    """Fills a line with rests up to a length; a note that sounds at its end stops there. A copy.

    Args:
        tokens: `(length,)`, not empty and no longer than `steps`.
        steps: length of the result.
    """
    filled = np.full(steps, HOLD, dtype=tokens.dtype)
    filled[: len(tokens)] = tokens
    if len(tokens) < steps and sounding(tokens)[-1]:
        filled[len(tokens)] = NOTE_OFF
    return filled


def join_windows(windows: np.ndarray, tied: np.ndarray | None = None) -> np.ndarray:
    """Puts windows in a row as one line.

    Each window is played by itself: a note that sounds at its end stops there, unless the next window
    strikes the same pitch at its first step and is marked as tied.

    Args:
        windows: `(windows, steps)`, any tokens.
        tied: `(windows,)` bool: the window's first note was held from before.

    Returns:
        canonical `(windows × steps,)`.
    """
    joined = np.array(windows)
    first = joined[:, 0].copy()
    joined[:, 0] = np.where(first == HOLD, NOTE_OFF, first)
    if tied is not None and len(joined) > 1:
        before = sounding(windows)[:-1, -1]
        same = tied[1:] & (first[1:] >= FIRST_ONSET) & (first[1:] == before)
        joined[1:, 0] = np.where(same, HOLD, joined[1:, 0])
    return canonical(joined.reshape(-1))


def piano_roll(tokens: np.ndarray) -> np.ndarray:
    """Draws tokens as uint8 `(128, steps)`: 2 at an onset, 1 where the note sounds on."""
    tokens = np.asarray(tokens)
    roll = np.zeros((128, len(tokens)), dtype=np.uint8)
    token = sounding(tokens).astype(np.int64)
    steps = np.flatnonzero(token)
    roll[token[steps] + PITCH_OFFSET, steps] = np.where(tokens[steps] >= FIRST_ONSET, 2, 1)
    return roll


def tokens_from_hits(step: np.ndarray, pitch: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Writes hits as tokens.

    Args:
        step: `(hits,)` inside `[0, steps)`, in any order.
        pitch: `(hits,)` 0 to 127.
        steps: length of the result.

    Returns:
        uint16 `(steps,)`, and the steps of hits that have no class, int64, each once.
    """
    bit = _BIT_OF_PITCH[pitch]
    tokens = np.zeros(steps, dtype=np.uint16)
    np.bitwise_or.at(tokens, step, bit.astype(np.uint16))
    return tokens, np.unique(step[bit == _NO_CLASS])


def hits_from_tokens(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads tokens as hits.

    Args:
        tokens: `(steps,)`, 0 to 511.

    Returns:
        step and class (0 to 8) of every hit, int64 `(hits,)`, in order of time.
    """
    step, drum = np.nonzero(struck(tokens))
    return step, drum


def struck(tokens: np.ndarray) -> np.ndarray:
    """Which drums are struck: bool `(..., steps, 9)` of tokens `(..., steps)`."""
    bits = np.arange(len(DRUM_PITCHES))
    found: np.ndarray = (np.asarray(tokens)[..., None].astype(np.int64) >> bits) & 1 > 0
    return found


def unmapped_pitches(pitch: np.ndarray) -> dict[int, int]:
    """Pitch → number of notes, of those that no class has."""
    pitches, counts = np.unique(pitch[_BIT_OF_PITCH[pitch] == _NO_CLASS], return_counts=True)
    return dict(zip(pitches.tolist(), counts.tolist(), strict=True))


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
    without_token: ClassVar[str]
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
    def key(self, pitch: np.ndarray) -> np.ndarray:
        """Pitches → int64, equal where a token can't tell them apart, −1 for those that no token can say."""

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
    onset_name = "notes"
    without_token = f"notes outside A0–C8 (MIDI {LOWEST_PITCH}–{HIGHEST_PITCH})"

    def __init__(self, name: str, program: int, *, lowest: bool = False) -> None:
        super().__init__(name, program)
        self.lowest = lowest

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

    def key(self, pitch: np.ndarray) -> np.ndarray:
        """The pitch itself."""
        return np.where((pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH), pitch, -1)

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Notes up to the next onset, note-off or the end."""
        return notes_from_tokens(tokens)

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


class DrumStream(Stream):
    """A set of drums: nine of them, any together at a step."""

    vocabulary = DRUM_VOCABULARY
    dtype = np.uint16
    is_drums = True
    onset_name = "steps struck"
    without_token = "hits of drums that no class has"

    def tokens(
        self, onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ends don't matter."""
        return tokens_from_hits(onset, pitch, steps)

    def key(self, pitch: np.ndarray) -> np.ndarray:
        """The class of the drum."""
        bit = _BIT_OF_PITCH[pitch]
        return np.where(bit == _NO_CLASS, -1, np.log2(np.maximum(bit, 1)).astype(np.int64))

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Short notes at General MIDI's pitches."""
        step, drum = hits_from_tokens(tokens)
        return step, step + _HIT, WRITTEN_PITCH[drum]

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
