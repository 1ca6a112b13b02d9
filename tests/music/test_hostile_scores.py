"""MIDI files and chord symbols that are made to take for ever: read or refused at once, in one sentence."""

import struct
import time
from collections.abc import Callable

import pytest

from musicae.errors import DamagedFileError, MusicaeError
from musicae.music import score
from musicae.music.chords import chord_line, parse_chord
from musicae.music.midi import read_events
from musicae.music.piece import Piece

END = b"\0\xff\x2f\0"
NOTE = b"\0\x90\x3c\x40\x60\x80\x3c\x40"


def midi(*tracks: bytes) -> bytes:
    chunks = b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), 96) + chunks


def refused(call: Callable[[], object], error: type[MusicaeError] = DamagedFileError) -> str:
    """The sentence with which something is refused in a second of the processor."""
    started = time.process_time()
    with pytest.raises(error) as caught:
        call()
    assert time.process_time() - started < 1
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("filler", [b"\xff", b"\x80"])
def test_a_number_of_a_million_bytes_is_no_number(filler: bytes) -> None:
    """Each byte would make the number longer, and the time grow with the square."""
    for place in (b"", b"\0\xff\x03", b"\0\xf0"):
        data = midi(place + filler * 2**20 + END)
        assert "an event in it is invalid" in refused(lambda: read_events(data, "a.mid"))  # noqa: B023  # called at once


def test_a_time_of_five_bytes_is_refused_and_not_written_again() -> None:
    """The specification has four; a file with five was read, and could not be written."""
    five = midi(NOTE + b"\xd5\xdf\xac\xa5\x76\x90\x3c\x40\x60\x80\x3c\x40" + END)
    assert "an event in it is invalid" in refused(lambda: read_events(five, "a.mid"))
    four = midi(NOTE + b"\x81\x80\x80\x00" + NOTE[1:] + END)
    assert read_events(four, "a.mid").to_bytes() == four


def test_a_score_in_memory_is_bounded_as_one_on_disk_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "LARGEST_FILE_BYTES", 40)
    assert "scores up to" in refused(lambda: Piece.open(midi(NOTE + NOTE + NOTE + END)))


def test_markers_by_the_hundred_thousand_are_not_tried_as_chords() -> None:
    marks = b"\x01\xff\x06\x01C" * 60_000 + b"\x01\xff\x06\x01F" * 60_000
    piece = Piece.open(midi(marks + NOTE + END))
    started = time.process_time()
    assert chord_line(piece.score, None).source != "markers"
    assert time.process_time() - started < 2


@pytest.mark.parametrize("symbol", ["C" + "7" * 10**5, "Cmaj" + "maj" * 10**5, "C/" * 10**5, "Cm" + "(" * 10**5])
def test_a_symbol_of_a_hundred_thousand_letters_is_no_chord_and_not_repeated(symbol: str) -> None:
    assert "is no chord" in refused(lambda: parse_chord(symbol), MusicaeError)
