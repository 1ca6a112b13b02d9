"""Notes exchanged in a chunk of MIDI events; every other event stays as it is, with its tick and its bytes.

A track of a piece is what plays on one channel with one program in one chunk, as symusic reads it. `exchange` finds
which events have to go, move or come so that a track has other notes, `changed` makes the chunk.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from symusic.core import ScoreTick

from musicae.errors import DamagedFileError
from musicae.music.midi import (
    MICROSECONDS_PER_MINUTE,
    TEMPO,
    EventTrack,
    MidiFile,
    Notes,
    meta_message,
    tempo_message,
)
from musicae.music.score import DEFAULT_TEMPO_BPM

_LONGEST_QUARTER = 2**24 - 1  # microseconds


class NewNote(NamedTuple):
    """A note to be written."""

    start: int
    end: int
    channel: int
    program: int
    pitch: int
    velocity: int


@dataclass(frozen=True)
class TrackPlace:
    """Where a track's notes lie: its chunk, and their places among the chunk's notes."""

    chunk: int
    channel: int
    program: int
    notes: np.ndarray


@dataclass
class Change:
    """What becomes of the events of a chunk.

    Attributes:
        removed: places of events to leave out.
        moved: places of note-offs, and the ticks they move to.
        added: notes to put in.
    """

    removed: set[int] = field(default_factory=set)
    moved: list[tuple[int, int]] = field(default_factory=list)
    added: list[NewNote] = field(default_factory=list)


def exchange(
    change: Change, chunk: EventTrack, place: TrackPlace, own: Notes, inside: np.ndarray, wanted: Notes
) -> None:
    """Finds what is to be done to a chunk so that some notes of a track become others.

    Args:
        change: of the chunk; added to.
        chunk: the events.
        place: of the track.
        own: its notes.
        inside: which of them are to be exchanged.
        wanted: what they become.
    """
    there: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for note in inside.tolist():
        there[tuple(int(column[note]) for column in own)].append(note)
    rows = list(zip(*(np.asarray(column).tolist() for column in wanted), strict=True))
    # Those given as they are already are found first, so that no other note takes their place.
    left = Counter(rows)
    for row in list(left):
        kept = min(left[row], len(there[row]))
        left[row] -= kept
        del there[row][:kept]
    begun: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for (start, _, pitch, velocity), notes in there.items():
        begun[start, pitch, velocity] += notes
    on, off = chunk.notes.on[place.notes], chunk.notes.off[place.notes]
    for row, count in left.items():
        start, end, pitch, velocity = row
        for _ in range(count):
            if begun[start, pitch, velocity] and end > start:
                change.moved.append((int(off[begun[start, pitch, velocity].pop()]), end))
            else:
                note = NewNote(start, max(end, start + 1), place.channel, place.program, pitch, velocity)
                change.added.append(note)
    for notes in begun.values():
        change.removed.update(int(event) for note in notes for event in (on[note], off[note]))


def check_notes(notes: Notes, first_tick: int, last_tick: int | None, most: int) -> None:
    """Raises `ValueError` unless notes are arrays of one length that begin in a span and end at tick `most` at last."""
    start, end, pitch, velocity = columns = [np.asarray(column) for column in notes]
    if start.ndim != 1 or any(column.shape != start.shape for column in columns):
        shapes = ", ".join(str(column.shape) for column in columns)
        raise ValueError(f"expected start, end, pitch and velocity of one length, got shapes {shapes}")
    if not len(start):
        return
    if not all(np.issubdtype(column.dtype, np.integer) for column in columns):
        raise ValueError("expected notes in whole ticks, with whole numbers for pitch and velocity")
    last = most if last_tick is None else min(last_tick, most)
    if start.min() < first_tick or start.max() >= last or end.max() > most:
        raise ValueError(
            f"expected notes that begin at ticks {first_tick} to {last - 1}, got {start.min()} to {start.max()}"
        )
    if (end < start).any() or pitch.min() < 0 or pitch.max() > 127 or velocity.min() < 1 or velocity.max() > 127:
        raise ValueError("expected notes that end after they begin, pitches 0 to 127 and velocities 1 to 127")


def track_places(file: MidiFile, score: ScoreTick, name: str) -> tuple[TrackPlace, ...]:
    """Where each track of a score lies: symusic makes one of each channel and program in a chunk, in this order.

    Args:
        file: every event, every note ended.
        score: the same file, as symusic reads it.
        name: of the file, for the error.

    Raises:
        DamagedFileError: the two readers don't agree.
    """
    groups = []
    for number, chunk in enumerate(file.tracks):
        key = chunk.notes.channel * 128 + chunk.notes.program
        for value in np.unique(key).tolist():
            groups.append(TrackPlace(number, value // 128, value % 128, np.flatnonzero(key == value)))
    remaining = iter(groups)
    nowhere = TrackPlace(0, 0, 0, np.zeros(0, np.int64))
    places = tuple(next(remaining, nowhere) if len(track.notes) else nowhere for track in score.tracks)
    if [len(place.notes) for place in places] != [len(track.notes) for track in score.tracks]:
        raise DamagedFileError(f"{name} has parts that no two readers read alike; export it again.")
    return places


def changed(chunk: EventTrack, change: Change) -> EventTrack:
    """The chunk with a change made. At one tick new notes end before and begin after everything that is there.

    Where another program than the track's is in effect, a new note begins between two changes of program.
    """
    events = len(chunk.messages) - chunk.is_ended
    coming = []
    for place, tick in change.moved:
        coming.append((min(int(np.searchsorted(chunk.ticks, tick)), events), tick, 0, chunk.messages[place]))
    starts = np.array([note.start for note in change.added], np.int64)
    places = np.minimum(np.searchsorted(chunk.ticks, starts, side="right"), events)
    channels = np.array([note.channel for note in change.added], np.int64)
    there = chunk.programs(places, channels).tolist()
    for index, note in enumerate(change.added):
        messages = [bytes((0x90 | note.channel, note.pitch, note.velocity))]
        if note.program != there[index]:
            status = 0xC0 | note.channel
            messages = [bytes((status, note.program)), *messages, bytes((status, there[index]))]
        coming += [(int(places[index]), note.start, 1, message) for message in messages]
        ends = min(int(np.searchsorted(chunk.ticks, note.end)), events)
        coming.append((ends, note.end, 0, bytes((0x80 | note.channel, note.pitch, 64))))
    coming.sort(key=lambda event: event[:3])
    return _merged(chunk, change.removed | {place for place, _ in change.moved}, coming)


def inserted(chunk: EventTrack, tick: int, message: bytes) -> EventTrack:
    """The chunk with one more event, behind all others of its tick."""
    place = min(int(np.searchsorted(chunk.ticks, tick, side="right")), len(chunk.messages) - chunk.is_ended)
    return _merged(chunk, set(), [(place, tick, 0, message)])


def at_speed(file: MidiFile, factor: float) -> MidiFile:
    """The file with every tempo multiplied; without one at its beginning the usual 120 quarters a minute are meant."""
    is_said = False
    for index, chunk in enumerate(file.tracks):
        messages = list(chunk.messages)
        for place, message in enumerate(messages):
            microseconds = int.from_bytes(message[3:])
            # A tempo of nothing means nothing to any reader.
            if message[:3] == meta_message(TEMPO, bytes(3))[:3] and len(message) == 6 and microseconds:
                messages[place] = _tempo(microseconds / factor)
                is_said |= int(chunk.ticks[place]) == 0
        file = file.with_track(index, EventTrack(chunk.ticks, tuple(messages)))
    if is_said:
        return file
    usual = _tempo(MICROSECONDS_PER_MINUTE / DEFAULT_TEMPO_BPM / factor)
    return file.with_track(0, _merged(file.tracks[0], set(), [(0, 0, 0, usual)]))


def _tempo(microseconds: float) -> bytes:
    """Of a quarter; what no file can hold becomes the nearest that one can."""
    return tempo_message(min(_LONGEST_QUARTER, max(1, round(microseconds))))


def _merged(chunk: EventTrack, gone: set[int], new: list[tuple[int, int, int, bytes]]) -> EventTrack:
    """Puts events before the places they name, and leaves some out."""
    ticks: list[int] = []
    messages: list[bytes] = []
    own = chunk.ticks.tolist()
    coming = iter([*new, (len(own), 0, 0, b"")])
    before, tick, _, message = next(coming)
    for place in range(len(own) + 1):
        while message and before == place:
            ticks.append(tick)
            messages.append(message)
            before, tick, _, message = next(coming)
        if place < len(own) and place not in gone:
            # The end of the track goes behind what was put in.
            ticks.append(max(own[place], ticks[-1] if ticks else 0))
            messages.append(chunk.messages[place])
    return EventTrack(np.array(ticks, np.int64), messages)
