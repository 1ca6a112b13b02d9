"""MIDI files event by event: what is read is written again, and notes are the pairs that symusic finds."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from symusic.core import ScoreTick

from musicae.errors import DamagedFileError
from musicae.music import midi
from musicae.music.midi import EventTrack, length_bytes, read_events, unwrapped, wrapped
from musicae.music.score import parse_midi

END = b"\x00\xff\x2f\x00"


def file(*tracks: bytes, division: int = 480, form: int = 1) -> bytes:
    chunks = [b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks]
    return b"MThd" + struct.pack(">IHHH", 6, form, len(tracks), division) + b"".join(chunks)


def events_of(data: bytes) -> list[list[tuple[int, bytes]]]:
    read = read_events(data, "x.mid")
    return [list(zip(track.ticks.tolist(), track.messages, strict=True)) for track in read.tracks]


def test_every_event_is_kept_with_its_tick_and_running_status_is_written_out() -> None:
    track = (
        b"\x00\xff\x03\x03a\xe9b"  # a name in Latin-1
        b"\x00\xff\x59\x02\x00\x09"  # a key that does not exist
        b"\x00\xff\x7f\x02\x01\x02"  # sequencer specific
        b"\x10\xf0\x03\x41\x42\xf7"  # sysex
        b"\x00\xf7\x01\x05"
        b"\x00\x91\x3c\x50\x83\x60\x3c\x00"  # running status
        b"\x00\xa1\x3c\x10\x00\xd1\x20\x00\xe1\x00\x40\x00\xb1\x07\x64\x00\xc1\x05" + END
    )
    assert events_of(file(track)) == [
        [
            (0, b"\xff\x03\x03a\xe9b"), (0, b"\xff\x59\x02\x00\x09"), (0, b"\xff\x7f\x02\x01\x02"),
            (16, b"\xf0\x03\x41\x42\xf7"), (16, b"\xf7\x01\x05"), (16, b"\x91\x3c\x50"), (496, b"\x91\x3c\x00"),
            (496, b"\xa1\x3c\x10"), (496, b"\xd1\x20"), (496, b"\xe1\x00\x40"), (496, b"\xb1\x07\x64"),
            (496, b"\xc1\x05"), (496, b"\xff\x2f\x00"),
        ]
    ]  # fmt: skip


@pytest.mark.parametrize("form", [0, 1, 2])
def test_what_is_written_is_read_again(form: int) -> None:
    data = file(b"\x00\x90\x3c\x50\x60\x3c\x00" + END, b"\x05\x91\x3e\x50\x60\x3e\x00", form=form) + b"XYZZ\0\0\0\2ab"
    read = read_events(data, "x.mid")
    again = read_events(read.to_bytes(), "x.mid")
    assert (again.form, again.ticks_per_quarter) == (form, 480)
    assert again.chunks[2] == b"XYZZ\0\0\0\2ab" and len(again.tracks) == 2
    assert events_of(read.to_bytes())[0] == events_of(data)[0]
    # The second track lacked its end.
    assert events_of(read.to_bytes())[1] == [*events_of(data)[1], (101, b"\xff\x2f\x00")]


@given(st.integers(0, 2**28 - 1))
def test_a_length_is_written_as_it_is_read(value: int) -> None:
    coded = length_bytes(value)
    assert midi._read_length(coded, 0) == (value, len(coded)) and all(byte & 0x80 for byte in coded[:-1])


@pytest.mark.parametrize(
    "track",
    [b"\x00\x3c\x50", b"\x00\x90\x3c", b"\x00\xff\x01\x05ab", b"\x00\xf0\x7f\x01", b"\x81\x81", b"\x00"],
    ids=["no status", "cut note", "cut text", "cut sysex", "cut time", "no event"],
)
def test_an_event_that_is_cut_off_is_refused_in_one_sentence(track: bytes) -> None:
    with pytest.raises(DamagedFileError, match=r"x\.mid cannot be read as MIDI \(an event in it is invalid\)") as error:
        read_events(file(track), "x.mid")
    assert "\n" not in str(error.value)


def test_too_many_events_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi, "MOST_EVENTS", 9)
    note = b"\x00\x90\x3c\x50"
    assert len(read_events(file(note * 4 + END, note * 3 + END), "x.mid").tracks) == 2
    with pytest.raises(DamagedFileError, match="over 9 events"):
        read_events(file(note * 6 + END, note * 3 + END), "x.mid")


def test_notes_that_are_never_ended_are_found_and_ended_with_the_track() -> None:
    read = read_events(
        file(b"\x00\x90\x3c\x50\x10\x90\x3c\x40\x10\x80\x3c\x00\x83\x60\x91\x3e\x50\x20\xff\x2f\x00"), "x"
    )
    assert read.unclosed == 2
    (track,) = read.closed().tracks
    notes = track.notes
    assert (notes.off >= 0).all() and read.closed().unclosed == 0
    assert track.ticks[notes.on].tolist() == [0, 16, 512] and track.ticks[notes.off].tolist() == [32, 544, 544]
    assert track.messages[-1] == b"\xff\x2f\x00"


Played = list[tuple[int, int, int, int]]
few = st.integers(0, 2)
note_events = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([0x80, 0x90, 0xC0]), few, st.integers(60, 62), few), max_size=60
)


@given(note_events)
def test_notes_channels_and_programs_are_those_that_symusic_reads(drawn: list[tuple[int, int, int, int, int]]) -> None:
    tick, events = 0, []
    for delta, status, channel, pitch, velocity in drawn:
        tick += delta
        data = (pitch - 60,) if status == 0xC0 else (pitch, velocity * 40)
        events.append((tick, bytes((status | channel, *data))))
    chunk = midi.events_in_order(events)
    data = midi.MidiFile(1, 480, (chunk,)).to_bytes()
    notes = chunk.notes
    ours: dict[tuple[int, int], Played] = {}
    for place in np.flatnonzero(notes.off >= 0).tolist():
        start, end = (int(chunk.ticks[events_at[place]]) for events_at in (notes.on, notes.off))
        key = int(notes.channel[place]), int(notes.program[place])
        ours.setdefault(key, []).append((start, end, int(notes.pitch[place]), int(notes.velocity[place])))
    theirs = [
        (track.program, [(n.start, n.end, n.pitch, n.velocity) for n in track.notes])
        for track in parse_midi(data, "x").tracks
        if len(track.notes)
    ]
    assert [(program, ours[channel, program]) for channel, program in sorted(ours)] == theirs


def test_an_rmid_file_is_unwrapped_and_others_are_left_alone() -> None:
    data = file(b"\x00\x90\x3c\x50\x60\x3c\x00" + END)
    assert unwrapped(wrapped(data)) == data == unwrapped(data)
    listed = b"RIFF\0\0\0\0RMIDLIST\x03\0\0\0abc\0data" + struct.pack("<I", len(data)) + data
    assert unwrapped(listed) == data
    assert unwrapped(b"RIFF\0\0\0\0RMID") == b""


def test_real_files_are_read_as_symusic_reads_them(shared_data: Callable[[str], Path]) -> None:
    compared = 0
    for name in ("trio", "nottingham"):
        for path in sorted(shared_data(name).rglob("*.mid"))[::20]:
            read = read_events(path.read_bytes(), path.name)
            score = ScoreTick.from_midi(path.read_bytes())
            assert sum(len(track.notes.on) for track in read.tracks) - read.unclosed == score.note_num(), path.name
            again = read_events(read.to_bytes(), path.name)
            assert all(_same(a, b) for a, b in zip(read.tracks, again.tracks, strict=True))
            compared += 1
    assert compared > 50


def _same(a: EventTrack, b: EventTrack) -> bool:
    return np.array_equal(a.ticks, b.ticks) and list(a.messages) == list(b.messages)
