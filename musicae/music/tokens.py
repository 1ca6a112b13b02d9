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

This module knows no tracks and no files.
"""

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
    "snare": (38, 37, 39, 40, 31),  # side stick, clap, the rim of an electronic snare, sticks
    # edge, pedal, tambourine, cabasa, maracas, shaker, jingle bell, castanets
    "closed hat": (42, 22, 44, 54, 69, 70, 82, 83, 85),
    "open hat": (46, 26),  # edge
    # floor toms, the third tom's rim (a rare vibraslap in General MIDI), low conga, surdos
    "low tom": (43, 41, 58, 64, 86, 87),
    "mid tom": (47, 45, 61, 62, 63, 66),  # low bongo, high congas, low timbale
    "high tom": (50, 48, 60, 65),  # high bongo, high timbale
    "crash": (49, 52, 55, 57),
    "ride": (51, 53, 56, 59),  # bell, cowbell, edge
}
"""Class → pitches, the first of which is written."""
DRUM_VOCABULARY = 2 ** len(DRUM_PITCHES)
WRITTEN_PITCH = np.array([pitches[0] for pitches in DRUM_PITCHES.values()])

NO_CLASS = 0
BIT_OF_PITCH = np.full(128, NO_CLASS, dtype=np.int64)
for _bit, _pitches in enumerate(DRUM_PITCHES.values()):
    BIT_OF_PITCH[list(_pitches)] = 1 << _bit


def sounding(tokens: np.ndarray) -> np.ndarray:
    """Onset token of the note that sounds at each step, 0 where none does. Shape `(..., steps)`."""
    event = tokens != HOLD
    event[..., :1] = True  # nothing is held over from the row before
    flat = tokens.reshape(-1)
    token = flat[last_event(event.reshape(-1))].reshape(tokens.shape)
    return token * (token >= FIRST_ONSET)


def last_event(event: np.ndarray) -> np.ndarray:
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


def sliding_rows(rows: np.ndarray, steps: int, hop: int) -> np.ndarray:
    """As `sliding`, of rows `(total, columns)`: a view `(windows, steps, columns)`."""
    columns = rows.shape[1]
    windows = sliding(rows.reshape(-1), steps * columns, hop * columns)
    return windows.reshape(len(windows), steps, columns)


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
    token = tokens[last_event(tokens != HOLD)[: len(tokens) - steps + 1 : hop]]
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
    bit = BIT_OF_PITCH[pitch]
    tokens = np.zeros(steps, dtype=np.uint16)
    np.bitwise_or.at(tokens, step, bit.astype(np.uint16))
    return tokens, np.unique(step[bit == NO_CLASS])


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
    pitches, counts = np.unique(pitch[BIT_OF_PITCH[pitch] == NO_CLASS], return_counts=True)
    return dict(zip(pitches.tolist(), counts.tolist(), strict=True))
