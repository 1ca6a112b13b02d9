"""MIDI files event by event: nothing in them is lost, and what is not changed stays as it was.

symusic, which reads files in bulk, keeps notes and drops the rest; `MidiFile` keeps every event of every chunk at
its tick, as the bytes it was read from (running status written out). Notes are pairs of events: of the notes of one
pitch and channel that sound at once, the first that began ends first. Written from the specification of the Standard
MIDI File 1.0. This module doesn't know what a track of a piece or a step is.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from musicae.errors import DamagedFileError

TRACK_NAME, LYRIC, MARKER, END_OF_TRACK, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 3, 5, 6, 0x2F, 0x51, 0x58, 0x59
TEXT = 1
TICKS_PER_QUARTER = 480
"""Of files that are made here."""
VELOCITY = 90
"""Of notes whose own is not known."""
DRUM_CHANNEL = 9
PITCHED_CHANNELS = [channel for channel in range(16) if channel != DRUM_CHANNEL]
MICROSECONDS_PER_MINUTE = 60_000_000
SLOWEST_BPM = MICROSECONDS_PER_MINUTE / (2**24 - 1)  # three bytes of microseconds
FASTEST_BPM = 1_000.0
_META = 0xFF
MOST_EVENTS = 2_500_000
"""A million notes and what goes with them."""
_LONGEST_DELTA = 2**28 - 1  # four bytes of seven bits
_SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}


class EventNotes(NamedTuple):
    """The notes of a chunk, in the order in which they begin; int64 `(notes,)` each.

    Attributes:
        on, off: places of their two events; −1 for a note that is never ended.
        channel: 0 to 15; 9 is drums.
        program: the channel's, where the note begins.
        pitch, velocity: 0 to 127.
    """

    on: np.ndarray
    off: np.ndarray
    channel: np.ndarray
    program: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray


class Notes(NamedTuple):
    """Notes of a track, int64 `(notes,)` each.

    Attributes:
        start, end: in ticks.
        pitch: 0 to 127.
        velocity: 1 to 127.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray


class NewTrack(NamedTuple):
    """A track of a piece to be made: its name, General MIDI program (0 to 127), whether it is drums, and notes."""

    name: str
    program: int
    is_drum: bool
    notes: Notes


@dataclass(frozen=True)
class EventTrack:
    """A chunk of events.

    Attributes:
        ticks: int64 `(events,)`, counted from the beginning, never falling.
        messages: each event's bytes, the status byte first; of a meta event and sysex with their length.
    """

    ticks: np.ndarray
    messages: Sequence[bytes]

    @cached_property
    def notes(self) -> EventNotes:
        """Its notes."""
        status = self.status
        event = np.flatnonzero((status & 0xE0) == 0x80)
        data = b"".join([self.messages[place][1:3] for place in event.tolist()])
        pitch, velocity = np.frombuffer(data, np.uint8).reshape(-1, 2).astype(np.int64).T
        channel = status[event] & 15
        begins = (status[event] >= 0x90) & (velocity > 0)
        partner = _paired(channel * 128 + pitch, begins)
        on = np.flatnonzero(begins)
        off = np.where(partner[on] >= 0, event[partner[on]], -1) if len(on) else on
        on_event = event[on]
        program = self.programs(on_event, channel[on])
        return EventNotes(on_event, off, channel[on], program, pitch[on], velocity[on])

    @cached_property
    def status(self) -> np.ndarray:
        """Status byte of each event, int64."""
        return np.fromiter((message[0] for message in self.messages), np.int64, len(self.messages))

    def programs(self, place: np.ndarray, channel: np.ndarray) -> np.ndarray:
        """The program in effect for each channel at each place among the events."""
        status = self.status
        program = np.zeros(len(place), np.int64)
        changes = np.flatnonzero((status & 0xF0) == 0xC0)
        for number in np.unique(status[changes] & 15).tolist():
            own = changes[(status[changes] & 15) == number]
            values = np.array([0, *(self.messages[at][1] for at in own.tolist())], np.int64)
            here = channel == number
            program[here] = values[np.searchsorted(own, place[here])]
        return program

    @property
    def end(self) -> int:
        """Tick of its last event."""
        return int(self.ticks[-1]) if len(self.ticks) else 0

    @property
    def is_ended(self) -> bool:
        """Whether its last event is the end of the track."""
        return bool(self.messages) and self.messages[-1][:2] == bytes((_META, END_OF_TRACK))

    def meta(self, number: int) -> list[tuple[int, bytes]]:
        """Tick and content of every meta event of a number."""
        found = []
        for place, message in enumerate(self.messages):
            if message[0] == _META and message[1] == number:
                size, start = _read_length(message, 2)
                found.append((int(self.ticks[place]), message[start : start + size]))
        return found

    @property
    def name(self) -> str:
        """What its last event of a name says; may be empty."""
        names = self.meta(TRACK_NAME)
        return printable(decoded(names[-1][1])).strip() if names else ""

    def closed(self) -> "EventTrack":
        """The same with every note that is never ended ended with the track."""
        notes = self.notes
        open_notes = np.flatnonzero(notes.off < 0).tolist()
        kept = len(self.messages) - self.is_ended
        ends = [bytes((0x80 | int(notes.channel[note]), int(notes.pitch[note]), 64)) for note in open_notes]
        ticks = np.concatenate([self.ticks[:kept], np.full(len(ends), self.end), self.ticks[kept:]])
        return EventTrack(ticks, [*self.messages[:kept], *ends, *self.messages[kept:]])

    def to_bytes(self) -> bytes:
        """The chunk as it stands in a file."""
        parts = []
        before = 0
        for tick, message in zip(self.ticks.tolist(), self.messages, strict=True):
            parts += [length_bytes(tick - before), message]
            before = tick
        if not self.is_ended:
            parts.append(b"\0" + meta_message(END_OF_TRACK))
        body = b"".join(parts)
        return b"MTrk" + struct.pack(">I", len(body)) + body


@dataclass(frozen=True)
class MidiFile:
    """A Standard MIDI File.

    Attributes:
        form: 0 one track, 1 several at once, 2 several one after the other.
        ticks_per_quarter: its division.
        chunks: tracks, and other chunks as bytes, in order.
    """

    form: int
    ticks_per_quarter: int
    chunks: tuple[EventTrack | bytes, ...]

    @property
    def tracks(self) -> tuple[EventTrack, ...]:
        """The chunks that hold events."""
        return tuple(chunk for chunk in self.chunks if isinstance(chunk, EventTrack))

    @cached_property
    def unclosed(self) -> int:
        """Number of notes that are never ended."""
        return sum(int((track.notes.off < 0).sum()) for track in self.tracks)

    def meta(self, number: int) -> list[tuple[int, bytes]]:
        """Tick and content of every meta event of a number, in order of time."""
        return sorted((event for track in self.tracks for event in track.meta(number)), key=lambda event: event[0])

    def texts(self, number: int) -> tuple[tuple[int, str], ...]:
        """Tick and text of every meta event of a number."""
        return tuple((tick, decoded(content)) for tick, content in self.meta(number))

    def key_signatures(self) -> tuple[tuple[int, int, bool], ...]:
        """`(tick, sharps, whether it is minor)` of those that make sense."""
        found = []
        for tick, content in self.meta(KEY_SIGNATURE):
            sharps = int.from_bytes(content[:1], signed=True)
            if len(content) >= 2 and abs(sharps) <= 7 and content[1] <= 1:
                found.append((tick, sharps, bool(content[1])))
        return tuple(found)

    def controllers(self) -> tuple[tuple[int, int, int, int], ...]:
        """`(tick, channel, controller, value)` of every control change."""
        return tuple(
            (tick, message[0] & 15, message[1], message[2])
            for track in self.tracks
            for tick, message in zip(track.ticks.tolist(), track.messages, strict=True)
            if message[0] & 0xF0 == 0xB0
        )

    def closed(self) -> "MidiFile":
        """The same with every note ended."""
        chunks = (chunk if isinstance(chunk, bytes) else chunk.closed() for chunk in self.chunks)
        return replace(self, chunks=tuple(chunks)) if self.unclosed else self

    def without_other_chunks(self) -> "MidiFile":
        """The same with nothing but tracks, as simple readers want it."""
        return replace(self, chunks=self.tracks)

    def with_track(self, index: int, track: EventTrack) -> "MidiFile":
        """The same with another track, by its place among `tracks`."""
        places = [place for place, chunk in enumerate(self.chunks) if isinstance(chunk, EventTrack)]
        chunks = list(self.chunks)
        chunks[places[index]] = track
        return replace(self, chunks=tuple(chunks))

    def to_bytes(self) -> bytes:
        """The file."""
        header = b"MThd" + struct.pack(">IHHH", 6, self.form, len(self.tracks), self.ticks_per_quarter)
        return header + b"".join(chunk if isinstance(chunk, bytes) else chunk.to_bytes() for chunk in self.chunks)


def read_events(data: bytes, name: str) -> MidiFile:
    """Reads every event of a file.

    Args:
        data: a MIDI file's bytes.
        name: what to call it in an error.

    Raises:
        DamagedFileError: an event that is none, or ends after its chunk; or too many.
    """
    try:
        size, form, _, division = struct.unpack_from(">IHHH", data, 4)
        chunks: list[EventTrack | bytes] = []
        start, events = 8 + size, 0
        while start + 8 <= len(data):
            stop = start + 8 + int.from_bytes(data[start + 4 : start + 8], "big")
            if data[start : start + 4] == b"MTrk":
                track = _read_track(data[start + 8 : stop], MOST_EVENTS - events)
                events += len(track.messages)
                chunks.append(track)
            else:
                chunks.append(data[start:stop])
            start = stop
    except OverflowError:
        raise DamagedFileError(f"{name} has over {MOST_EVENTS:,} events; split it, or leave it out.") from None
    except (IndexError, struct.error):
        raise DamagedFileError(
            f"{name} cannot be read as MIDI (an event in it is invalid); export it again from the program that made it."
        ) from None
    return MidiFile(form, division, tuple(chunks))


def _read_track(data: bytes, most: int) -> EventTrack:
    ticks: list[int] = []
    messages: list[bytes] = []
    place, stop, tick, running = 0, len(data), 0, b""
    end = bytes((_META, END_OF_TRACK))
    while place < stop:
        delta, place = _read_length(data, place)
        tick += delta
        status = data[place]
        if status < 0x80:
            if not running:
                raise IndexError
            size = 1 if 0xC0 <= running[0] < 0xE0 else 2
            message = running + data[place : place + size]
            place += size
        elif status < 0xF0:
            running = data[place : place + 1]
            size = 2 if 0xC0 <= status < 0xE0 else 3
            message = data[place : place + size]
            place += size
        else:
            start = place
            if status in (0xF0, 0xF7, _META):
                size, place = _read_length(data, place + (2 if status == _META else 1))
                place += size
            else:
                place += 1 + _SYSTEM_BYTES.get(status, 0)
            message = data[start:place]
        if place > stop:
            raise IndexError
        ticks.append(tick)
        messages.append(message)
        if message[:2] == end:
            break
        if len(messages) > most:
            raise OverflowError
    return EventTrack(np.array(ticks, np.int64), messages)


def _read_length(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, at most four of them, and the place after it; else an `IndexError`."""
    value = data[place]
    if value < 0x80:
        return value, place + 1
    value &= 0x7F
    for following in range(place + 1, place + 4):
        byte = data[following]
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, following + 1
    raise IndexError


def length_bytes(value: int) -> bytes:
    """A number as seven bits a byte, the high ones first.

    Raises:
        ValueError: more than four bytes hold.
    """
    if not 0 <= value <= _LONGEST_DELTA:
        raise ValueError(f"expected a number from 0 to {_LONGEST_DELTA:,}, got {value:,}")
    if value < 0x80:
        return bytes((value,))
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append((value & 0x7F) | 0x80)
    return bytes(reversed(parts))


def meta_message(number: int, content: bytes = b"") -> bytes:
    """A meta event's bytes."""
    return bytes((_META, number)) + length_bytes(len(content)) + content


def text_message(number: int, text: str) -> bytes:
    """A meta event of text, in UTF-8."""
    return meta_message(number, text.encode("utf-8", "replace"))


def tempo_message(microseconds: int) -> bytes:
    """A tempo in microseconds of a quarter, 1 to 2²⁴ − 1."""
    return meta_message(TEMPO, microseconds.to_bytes(3, "big"))


def time_signature_message(numerator: int, denominator: int) -> bytes:
    """A time signature, its denominator a power of two."""
    return meta_message(TIME_SIGNATURE, bytes((numerator, denominator.bit_length() - 1, 24, 8)))


def events_in_order(events: Iterable[tuple[int, bytes]]) -> EventTrack:
    """A chunk of `(tick, message)`; those of one tick stay in their order."""
    ordered = sorted(events, key=lambda event: event[0])
    return EventTrack(np.array([tick for tick, _ in ordered], np.int64), [message for _, message in ordered])


def note_messages(
    start: np.ndarray, end: np.ndarray, pitch: np.ndarray, velocity: np.ndarray, channel: int
) -> list[tuple[int, bytes]]:
    """The events of notes `(notes,)`, in order; at one tick notes end before others begin."""
    columns = zip(*(np.asarray(column).tolist() for column in (start, end, pitch, velocity)), strict=True)
    events = []
    for index, (first, last, key, strength) in enumerate(columns):
        events.append((first, 1, index, bytes((0x90 | channel, key, strength))))
        # A note without length begins first.
        events.append((last, 0 if last > first else 2, index, bytes((0x80 | channel, key, 64))))
    events.sort(key=lambda event: event[:3])
    return [(tick, message) for tick, _, _, message in events]


def new_file(
    tracks: Sequence[NewTrack],
    ticks_per_quarter: int,
    tempi: Sequence[tuple[int, float]],
    time_signatures: Sequence[tuple[int, int, int]],
    end: int,
) -> MidiFile:
    """A file of notes; see `Piece.new`."""
    signatures = [*time_signatures]
    if end > signatures[-1][0]:
        signatures.append((end, *signatures[-1][1:]))
    conductor = [(tick, tempo_message(_microseconds(tempo_bpm))) for tick, tempo_bpm in tempi]
    conductor += [(tick, time_signature_message(*signature)) for tick, *signature in signatures]
    chunks = [events_in_order(conductor)]
    pitched = 0
    for track in tracks:
        if not 0 <= track.program <= 127:
            raise ValueError(f"expected a program 0 to 127, got {track.program}")
        channel = DRUM_CHANNEL if track.is_drum else PITCHED_CHANNELS[pitched % len(PITCHED_CHANNELS)]
        pitched += not track.is_drum
        events = [(0, text_message(TRACK_NAME, printable(track.name)))] if track.name else []
        events.append((0, bytes((0xC0 | channel, track.program))))
        chunks.append(events_in_order(events + note_messages(*track.notes, channel)))
    return MidiFile(1, ticks_per_quarter, tuple(chunks))


def _microseconds(tempo_bpm: float) -> int:
    """Of a quarter, at the nearest tempo that a MIDI file can hold."""
    if not (np.isfinite(tempo_bpm) and tempo_bpm > 0):
        raise ValueError(f"expected a tempo above 0 quarters per minute, got {tempo_bpm}")
    return round(MICROSECONDS_PER_MINUTE / min(max(tempo_bpm, SLOWEST_BPM), FASTEST_BPM))


def decoded(content: bytes) -> str:
    """Text in UTF-8, or Latin-1 as older programs write it."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def printable(name: str) -> str:
    """A name without what can't be seen."""
    return "".join(letter for letter in name if letter.isprintable())


def unwrapped(data: bytes) -> bytes:
    """The MIDI file in an RMID file (a RIFF of type RMID); other bytes as they are."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    start = 12
    while start + 8 <= len(data):
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        if data[start : start + 4] == b"data":
            return data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2
    return b""


def wrapped(data: bytes) -> bytes:
    """A MIDI file as an RMID file."""
    body = b"RMID" + b"data" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _paired(key: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """For each event the one that it is a note with, −1 where there is none; first begun, first ended.

    Args:
        key: channel and pitch of each event.
        begins: whether it begins a note, or ends one.
    """
    partner = np.full(len(key), -1, np.int64)
    if not len(key):
        return partner
    order = np.argsort(key, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(key[order])) + 1).tolist(), len(key)]
    for low, high in pairwise(edges):
        own = order[low:high]
        starts = begins[own]
        # An end counts where more began than ended: where the count makes no new low below zero.
        low_water = np.minimum(np.minimum.accumulate(np.cumsum(np.where(starts, 1, -1))), 0)
        counts = np.diff(low_water, prepend=0) == 0
        on, off = own[starts], own[~starts & counts]
        partner[on[: len(off)]] = off
    return partner
