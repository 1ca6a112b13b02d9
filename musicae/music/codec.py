"""Notes to melody tokens and back.

One token for each 16th: 0 *hold* (the note sounds on, or the rest goes on), 1 *note-off*, 2–89 onset
of pitch 21–108 (A0–C8).

Every sequence of tokens 0–89 has a sound: a note lasts from its onset to the next onset, note-off or
the end. The only two spellings of one sound differ in note-offs where nothing sounds. A sequence
without those is *canonical*; `canonical` removes them. Canonical sequences and lists of notes
(monophonic, on the grid, inside the window) correspond one to one, so tokens → notes → tokens is the
identity on them.

A note that began before a window and still sounds in it is struck again at the window's first step:
a window stands alone, and people expect to hear what sounds there.
"""

import numpy as np

HOLD = 0
NOTE_OFF = 1
FIRST_ONSET = 2
LOWEST_PITCH = 21
HIGHEST_PITCH = 108
VOCABULARY = FIRST_ONSET + HIGHEST_PITCH - LOWEST_PITCH + 1
PITCH_OFFSET = LOWEST_PITCH - FIRST_ONSET
"""Pitch of an onset token minus the token."""


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


def sliding(tokens: np.ndarray, steps: int, hop: int) -> np.ndarray:
    """All stretches of `steps` tokens, one every `hop`: a view `(windows, steps)`, to be read only.

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

    Each window is heard by itself: a note that sounds at its end stops there, unless the next window
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
