"""`Piece`: what it opens from, what it keeps, and bars of it exchanged on the events."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import symusic
from music_pieces import events

from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.midi import NewTrack, Notes, read_events, wrapped
from musicae.music.piece import Piece
from musicae.starter import starter_file

A = starter_file("a.mid")
END = b"\x00\xff\x2f\x00"
TUNES = "X:1\nT:One\nM:4/4\nL:1/4\nQ:1/4=90\nK:C\nCDEF|\n\nX:2\nT:Two\nM:3/4\nL:1/4\nK:C\nGAB|c3|\n"


def file(*tracks: bytes, division: int = 480, form: int = 1) -> bytes:
    chunks = [b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks]
    return b"MThd" + struct.pack(">IHHH", 6, form, len(tracks), division) + b"".join(chunks)


def note(pitch: int, channel: int = 0, velocity: int = 80) -> bytes:
    """A quarter, with running status."""
    return bytes((0, 0x90 | channel, pitch, velocity, 0x83, 0x60, pitch, 0))


RICH = (
    b"\x00\xff\x03\x04Lead\x00\xff\x01\x03abc\x00\xf0\x03\x41\x42\xf7\x00\xff\x59\x02\x00\x09"  # the key is none
    b"\x00\xff\x58\x04\x04\x02\x18\x08\x00\xff\x51\x03\x07\xa1\x20\x00\xb0\x07\x64\x00\xc0\x05"
    + note(60) + note(62)
    + b"\x00\xe0\x00\x50\x00\xff\x06\x05verse"
    + note(64, 1) + note(65)
    + b"\x00\xc0\x10\x00\xff\x51\x03\x0f\x42\x40" + note(67) + b"\x00\xff\x05\x02la" + note(36, 9) + END
)  # fmt: skip
BASS = 5  # its track
RICH_0, RICH_1 = file(RICH, form=0), file(RICH, b"\x00\xff\x03\x04Bass" + note(40, 2) * 4 + END)


def row(*notes: tuple[int, int, int, int]) -> Notes:
    """Notes of `(start, end, pitch, velocity)`."""
    return Notes(*np.array(notes, np.int64).reshape(-1, 4).T)


def listed(piece: Piece, track: int = 0) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in piece.notes(track)), strict=True))


# opened


@pytest.mark.parametrize(
    ("tempi", "expected"),
    [(((0, 120.0),), 120.0), (((0, 60.0), (960, 120.0)), 80.0), (((480, 240.0),), 160.0)],
)
def test_tempi_are_scaled_and_have_a_mean(tempi, expected):
    notes = Notes(*(np.array(column) for column in ([0, 960], [960, 1920], [60, 62], [90, 90])))
    piece = Piece.new([NewTrack("flute", 73, False, notes)], tempi=tempi, time_signatures=((0, 4, 4),))
    mean = piece.tempo_map.mean_bpm(1920)
    assert mean == pytest.approx(expected if tempi[0][0] == 0 else 4 / (1 / 120 + 3 / 240), rel=1e-3)
    faster = piece.at_speed(1.5)
    assert faster.tempo_map.mean_bpm(1920) == pytest.approx(1.5 * mean, rel=1e-3)
    assert faster.duration_s == pytest.approx(piece.duration_s / 1.5, rel=1e-3)
    assert faster.notes(0).start.tolist() == piece.notes(0).start.tolist()
    assert faster.time_signatures == piece.time_signatures


def test_a_piece_that_is_played_off_the_grid_is_drawn_so():
    from musicae.music.rolls import piece_rolls
    from musicae.roll_panel import FIRST_VELOCITY

    start = np.array([0, 500, 960])
    notes = Notes(start, start + 240, np.array([60, 62, 64]), np.array([30, 90, 120]))
    played = piece_rolls(Piece.new([NewTrack("flute", 73, False, notes)]))
    (roll,) = played.rows["bars 1–1"]
    assert played.steps_per_bar == 96 and roll.shape[1] == 96  # six columns a 16th
    assert [int(np.flatnonzero(roll[pitch] > 1)[0]) for pitch in (60, 62, 64)] == [0, 25, 48]
    assert [int(roll[pitch].max()) - FIRST_VELOCITY for pitch in (60, 62, 64)] == [30, 90, 120]
    even = piece_rolls(Piece.new([NewTrack("flute", 73, False, notes._replace(velocity=np.full(3, 90)))]))
    assert int(even.rows["bars 1–1"][0].max()) == 2
    on_grid = Notes(start - 20 * (start == 500), start + 240, notes.pitch, notes.velocity)
    assert piece_rolls(Piece.new([NewTrack("flute", 73, False, on_grid)])).steps_per_bar == 16


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_a_factor_of_tempi_that_is_none_is_refused(factor):
    with pytest.raises(ValueError, match="a factor of tempi is a number above 0"):
        Piece.new([]).at_speed(factor)


def test_a_path_bytes_a_file_object_and_a_piece_are_the_same() -> None:
    data = A.read_bytes()
    opened = Piece.open(A)
    assert opened.name == opened.title == "a" and opened.label == "a.mid" and opened.suffix == ".mid"
    assert Piece.open(opened) is opened
    assert Piece.open(data).to_bytes() == Piece.open(io.BytesIO(data)).to_bytes() == opened.to_bytes() == data
    with A.open("rb") as stream:
        assert Piece.open(stream).name == "a"
    assert listed(Piece.open(symusic.Score(str(A)))) == listed(opened)


def test_an_unchanged_piece_is_saved_as_the_bytes_it_was_read_from(tmp_path: Path) -> None:
    for number, data in enumerate((RICH_0, RICH_1, RICH_1 + b"XYZZ\0\0\0\2ab", A.read_bytes())):
        (tmp_path / f"{number}.mid").write_bytes(data)
        piece = Piece.open(tmp_path / f"{number}.mid")
        assert piece.bars > 0 and piece.duration_s > 0
        for ending in (".mid", ".midi", ".kar"):
            assert piece.save(tmp_path / f"x{ending}").read_bytes() == data


def test_an_rmid_file_is_read_and_saved_as_it_was(tmp_path: Path) -> None:
    riff = wrapped(RICH_1)[:12] + b"DISP\x02\0\0\0ab" + wrapped(RICH_1)[12:]
    (tmp_path / "x.rmi").write_bytes(riff)
    piece = Piece.open(tmp_path / "x.rmi")
    assert piece.to_bytes() == RICH_1 and listed(piece) == listed(Piece.open(RICH_1))
    assert piece.save(tmp_path / "y.rmi").read_bytes() == riff
    assert Piece.open(Piece.open(A).save(tmp_path / "z.rmi")).to_bytes() == A.read_bytes()


def test_a_tune_is_chosen_by_place_or_title_and_the_first_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.abc").write_text(TUNES)
    first = Piece.open(tmp_path / "x.abc")
    assert (first.title, first.name, first.bars, first.remarks) == (
        "One", "x", 1, ("x.abc holds 2 tunes; the first, One, is taken",),
    )  # fmt: skip
    assert round(first.tempi[0][1]) == 90
    for tune in (2, "Two"):
        chosen = Piece.open(tmp_path / "x.abc", tune=tune)
        assert chosen.title == "Two" and chosen.bars == 2 and chosen.remarks == ()
    assert [piece.title for piece in Piece.open_all(tmp_path / "x.abc")] == ["One", "Two"]
    assert Piece.open(TUNES.encode()).title == Piece.open(io.StringIO(TUNES)).title == "One"
    for tune in (0, 3, "Three"):
        with pytest.raises(MusicaeError, match=r"x\.abc has no tune .*; choose 1 to 2, or a title: One, Two"):
            Piece.open(tmp_path / "x.abc", tune=tune)
    with pytest.raises(MusicaeError, match="one piece and no collection of tunes"):
        Piece.open(A, tune=1)


@pytest.mark.parametrize("source", [3, None, np.zeros(4), ["a.mid"], object()])
def test_an_object_of_another_type_is_refused(source: object) -> None:
    with pytest.raises(ValueError, match=f"expected a path, .* got {type(source).__name__}"):
        Piece.open(source)


def test_what_is_not_there_or_not_music_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MusicaeError, match="no such file: "):
        Piece.open(tmp_path / "none.mid")
    with pytest.raises(MusicaeError, match="is a folder"):
        Piece.open(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(MusicaeError, match="is not a score"):
        Piece.open(tmp_path / "x.txt")
    for data in (b"", b"hello", RICH_1[:40], file(RICH, division=0), wrapped(b"")):
        with pytest.raises(DamagedFileError):
            Piece.open(data)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("start", float("nan"), "numbers"), ("pitch", 300, "outside"), ("end", 1e9, "longer"), ("start", -1.0, "outside")],
)
def test_a_pretty_midi_with_nonsense_is_refused(field: str, value: float, message: str) -> None:
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes.append(pretty_midi.Note(80, 60, 0.0, 1.0))
    setattr(midi.instruments[0].notes[0], field, value)
    with pytest.raises(ValueError, match=f"expected a PrettyMIDI .*{message}"):
        Piece.open(midi)


def test_a_pretty_midi_keeps_all_it_holds_both_ways() -> None:
    midi = pretty_midi.PrettyMIDI(resolution=220, initial_tempo=87.5)
    midi._tick_scales = [(0, 60 / (87.5 * 220)), (440, 60 / (140 * 220))]
    midi._update_tick_to_time(5000)
    flute = pretty_midi.Instrument(73, name="Flöte ♪")  # its own writer raises on this name
    ticks = [(0, 200), (220, 400), (440, 700), (880, 1100)]
    flute.notes = [
        pretty_midi.Note(60 + index, 70 + index, midi.tick_to_time(on), midi.tick_to_time(off))
        for index, (on, off) in enumerate(ticks)
    ]
    flute.control_changes = [pretty_midi.ControlChange(7, 90, midi.tick_to_time(100))]
    flute.pitch_bends = [pretty_midi.PitchBend(-8192, 0.0), pretty_midi.PitchBend(8191, midi.tick_to_time(330))]
    kit = pretty_midi.Instrument(0, is_drum=True)
    kit.notes = [pretty_midi.Note(100, 36, 0.0, midi.tick_to_time(55))]
    midi.instruments += [flute, kit]
    midi.time_signature_changes = [
        pretty_midi.TimeSignature(3, 4, 0.0),
        pretty_midi.TimeSignature(6, 8, midi.tick_to_time(660)),
    ]
    midi.key_signature_changes = [
        pretty_midi.KeySignature(7, 0.0),
        pretty_midi.KeySignature(12 + 9, midi.tick_to_time(440)),
    ]
    midi.lyrics = [pretty_midi.Lyric("lä", midi.tick_to_time(220))]
    midi.text_events = [pretty_midi.Text("verse", midi.tick_to_time(440))]

    piece = Piece.open(midi)
    assert listed(piece) == [(on, off, 70 + index, 60 + index) for index, (on, off) in enumerate(ticks)]
    assert [(track.name, track.program, track.is_drum, track.notes) for track in piece.tracks[:2]] == [
        ("Flöte ♪", 73, False, 4), ("", 0, True, 1),
    ]  # fmt: skip
    np.testing.assert_allclose(piece.tempi, [(0, 87.5), (440, 140)], rtol=1e-5)
    assert piece.time_signatures == ((0, 3, 4), (660, 6, 8))
    assert piece.key_signatures == ((0, 1, False), (440, 0, True))  # G major, A minor
    assert piece.lyrics == ((220, "lä"),) and piece.texts == ((440, "verse"),)
    assert piece.controllers == ((100, 0, 7, 90),)

    back = piece.to_pretty_midi()
    assert [(n.velocity, n.pitch, round(n.start, 5), round(n.end, 5)) for n in back.instruments[0].notes] == [
        (n.velocity, n.pitch, round(n.start, 5), round(n.end, 5)) for n in flute.notes
    ]
    assert [bend.pitch for bend in back.instruments[0].pitch_bends] == [-8192, 8191]
    assert [(c.number, c.value) for c in back.instruments[0].control_changes] == [(7, 90)]
    assert [key.key_number for key in back.key_signature_changes] == [7, 21]
    assert [(s.numerator, s.denominator) for s in back.time_signature_changes] == [(3, 4), (6, 8)]
    assert [lyric.text for lyric in back.lyrics] == ["lä"] and [text.text for text in back.text_events] == ["verse"]
    np.testing.assert_allclose(back.get_tempo_changes(), midi.get_tempo_changes(), rtol=1e-5)
    assert Piece.open(back).notes(0).start.tolist() == piece.notes(0).start.tolist()


# what it holds


def test_properties_give_everything_of_a_file() -> None:
    piece = Piece.open(RICH_1)
    assert [(track.name, track.program, track.is_drum, track.channel, track.notes) for track in piece.tracks] == [
        ("Lead", 5, False, 0, 3), ("Lead", 16, False, 0, 1), ("Lead", 0, False, 1, 1), ("Lead", 0, True, 9, 1),
        ("Lead", 0, False, 0, 0), ("Bass", 0, False, 2, 4),  # symusic makes a track of lyrics
    ]  # fmt: skip
    assert listed(piece)[:2] == [(0, 480, 60, 80), (480, 960, 62, 80)]
    assert piece.ticks_per_quarter == 480 and piece.note_count == 10
    assert piece.tempi == ((0, 120.0), (1920, 60.0))
    assert piece.time_signatures == ((0, 4, 4),) and piece.key_signatures == ()
    assert piece.markers == ((960, "verse"),) and piece.texts == ((0, "abc"),) and piece.lyrics == ((2400, "la"),)
    assert piece.controllers == ((0, 0, 7, 100),)
    assert piece.duration_s == pytest.approx(4 * 0.5 + 2 * 1.0)
    assert piece.bars == 2 and [piece.bar_tick(bar) for bar in (1, 2, 3)] == [0, 1920, 3840]
    with pytest.raises(ValueError, match="expected a bar 1 to 3, got 4"):
        piece.bar_tick(4)
    assert repr(piece) == "<Piece 'piece': 6 tracks, 10 notes, 2 bars, 4 s>"


def test_notes_that_are_never_ended_end_with_the_track_and_are_counted(tmp_path: Path) -> None:
    (tmp_path / "x.mid").write_bytes(file(note(60) + b"\x00\x90\x40\x50\x10\x91\x41\x50\x83\x50\xff\x2f\x00"))
    piece = Piece.open(tmp_path / "x.mid")
    assert piece.remarks == ("x.mid: 2 notes are never ended and end with the track",)
    assert listed(piece) == [(0, 480, 60, 80), (480, 960, 64, 80)] and listed(piece, 1) == [(496, 960, 65, 80)]
    assert piece.save(tmp_path / "y.mid").read_bytes() == (tmp_path / "x.mid").read_bytes()
    changed = piece.replace({0: row()}, 0, 480)
    assert listed(changed) == [(480, 960, 64, 80)] and changed.remarks == piece.remarks


@pytest.mark.parametrize(
    "piece",
    [
        Piece.new([]),
        Piece.open(file(END)),
        Piece.new([NewTrack("one", 0, False, row((5, 6, 0, 1)))], ticks_per_quarter=1),
        Piece.new([NewTrack("late", 0, False, row((40_000_000, 40_000_500, 60, 9)))], ticks_per_quarter=480),
        Piece.new([NewTrack("slow", 127, False, row((0, 480, 127, 127)))], tempi=((0, 3.6),), end=1920),
    ],
    ids=["no track", "no note", "one note", "late", "slow"],
)
def test_odd_pieces_have_a_length_a_picture_and_a_page(piece: Piece, tmp_path: Path) -> None:
    assert piece.duration_s >= 0 and piece.bars >= 0 and repr(piece)
    assert min(piece.plot().size) > 50
    assert Piece.open(piece.save(tmp_path / "x.mid")).to_bytes() == piece.to_bytes()
    assert len(piece.to_pretty_midi().instruments) == sum(track.notes > 0 for track in piece.tracks)


def test_a_notebook_shows_the_roll_and_plays_the_beginning() -> None:
    page = Piece.open(A).with_remarks("a < b")._repr_html_()
    assert "data:image/png;base64," in page and '<audio controls src="data:audio/wav;base64,' in page
    assert "a &lt; b" in page and len(page) < 5_000_000


def test_a_picture_has_a_named_row_for_each_drum_and_eight_bars_a_row() -> None:
    from musicae.music.rolls import piece_rolls

    kit = NewTrack("", 0, True, row((0, 30, 36, 90), (480, 500, 38, 90), (960, 990, 75, 90)))
    lead = NewTrack("", 0, False, row((0, 960, 60, 90), (1920 * 8, 1920 * 8 + 480, 62, 90)))
    both = piece_rolls(Piece.new([lead, kit]))
    assert list(both.rows) == ["bars 1–8", "bars 9–9"] and both.names[:2] == ("kick", "snare")
    (first,), (second,) = both.rows.values()
    assert np.argwhere(first == 2).tolist() == [[60, 0], [128, 0], [129, 4], [128 + both.names.index("other"), 8]]
    assert (first[60, 1:8] == 1).all() and second.shape == (len(first), 16) and second[62, 0] == 2
    alone = piece_rolls(Piece.new([kit]))
    assert alone.rows["bars 1–1"][0].shape == (10, 16)


def test_endings_decide_what_is_saved_and_others_are_refused(tmp_path: Path) -> None:
    piece = Piece.open(A)
    assert piece.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(MusicaeError, match=r"can't write music as 'a\.mp3'; choose a name ending in \.mid"):
        piece.save(tmp_path / "a.mp3")
    with pytest.raises(MusicaeError, match="is a folder"):
        piece.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# changed


@pytest.mark.parametrize("data", [RICH_0, RICH_1], ids=["format 0", "format 1"])
def test_outside_the_exchanged_notes_every_event_is_the_source_s(data: bytes) -> None:
    piece = Piece.open(data)
    changed = piece.replace({0: row((480, 700, 70, 33), (720, 900, 71, 44))}, 480, 960)
    assert listed(changed) == [
        (0, 480, 60, 80), (480, 700, 70, 33), (720, 900, 71, 44), (1440, 1920, 65, 80)
    ]  # fmt: skip
    gone = {(0, 480, b"\x90\x3e\x50"), (0, 960, b"\x90\x3e\x00")}
    new = [(0, 480, b"\x90\x46\x21"), (0, 700, b"\x80\x46\x40"), (0, 720, b"\x90\x47\x2c"), (0, 900, b"\x80\x47\x40")]
    before, after = events(piece, with_notes=True), events(changed, with_notes=True)
    assert sorted(after) == sorted([event for event in before if event not in gone] + new)
    assert events(changed) == events(piece)
    assert [listed(changed, track) for track in (1, 2, 3)] == [listed(piece, track) for track in (1, 2, 3)]


def test_what_is_given_as_it_is_changes_no_byte_and_of_a_longer_note_the_beginning_stays() -> None:
    piece = Piece.open(RICH_1)
    assert piece.replace({track.index: piece.notes(track.index) for track in piece.tracks}).to_bytes() == RICH_1
    own = piece.notes(0)
    longer = piece.replace({0: own._replace(end=own.end + np.array([0, 10, 0]))})
    assert listed(longer)[1] == (480, 970, 62, 80)
    before, after = (set(events(each, with_notes=True)) for each in (piece, longer))
    assert before - after == {(0, 960, b"\x90\x3e\x00")} and after - before == {(0, 970, b"\x90\x3e\x00")}


def test_a_note_where_another_program_plays_keeps_its_track() -> None:
    piece = Piece.open(RICH_1)
    changed = piece.replace({0: row((2000, 2100, 50, 60))}, 1920)
    assert listed(changed)[-1] == (2000, 2100, 50, 60)
    assert listed(changed, 1) == listed(piece, 1) and changed.tracks[1].program == 16
    assert len(changed.tracks) == len(piece.tracks)


def test_notes_after_the_end_move_the_end_of_the_track() -> None:
    changed = Piece.open(RICH_1).replace({BASS: row((9000, 9500, 40, 60))})
    assert listed(changed, BASS) == [(9000, 9500, 40, 60)]
    assert read_events(changed.to_bytes(), "x").tracks[1].end == 9500


def test_any_notes_of_a_piece_without_overlaps_are_read_back() -> None:
    generator = np.random.default_rng(0)
    piece = Piece.open(RICH_1)
    for number in range(50):
        count = 1 + int(generator.integers(0, 30))
        edges = np.sort(generator.choice(6000, 2 * count, replace=False)).reshape(-1, 2)
        # Two tracks share a channel; notes of one pitch there could be told apart by no reader.
        wanted = Notes(*edges.T, generator.integers(70, 128, count), generator.integers(1, 128, count))
        track = (0, 1, 2, 3, BASS)[number % 5]
        changed = piece.replace({track: wanted})
        assert sorted(listed(changed, track)) == sorted(zip(*(column.tolist() for column in wanted), strict=True))
        others = [each.index for each in piece.tracks if each.index != track]
        assert [listed(changed, other) for other in others] == [listed(piece, other) for other in others]
        assert _kept(changed) == _kept(piece)


def _kept(piece: Piece) -> list[tuple[int, int, bytes]]:
    """Events but for notes, the changes of program around them, and the ends of tracks."""
    found = events(piece)
    return [event for event in found if event[2][0] & 0xF0 != 0xC0 and event[2][:2] != b"\xff\x2f"]


@pytest.mark.parametrize(
    ("track", "notes", "message"),
    [
        (7, row(), "expected a track 0 to 5, got 7"),
        (0, row((100, 200, 60, 80)), "begin at ticks 480 to 959, got 100"),
        (0, row((500, 400, 60, 80)), "end after they begin"),
        (0, row((500, 600, 128, 80)), "pitches 0 to 127"),
        (0, row((500, 600, 60, 0)), "velocities 1 to 127"),
        (0, Notes(np.zeros(2), *[np.zeros(1)] * 3), "of one length"),
        (0, Notes(*[np.array([500.5])] * 4), "whole ticks"),
    ],
)
def test_notes_that_cannot_be_are_refused(track: int, notes: Notes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Piece.open(RICH_1).replace({track: notes}, 480, 960)


def test_a_single_track_can_be_left_by_name_or_number() -> None:
    piece = Piece.open(RICH_1)
    bass = piece.only_track("bass")
    assert [(track.name, track.notes) for track in bass.tracks if track.notes] == [("Bass", 4)]
    assert bass.markers == piece.markers and bass.controllers == piece.controllers
    assert listed(piece.only_track(BASS)) == listed(bass)
    with pytest.raises(MusicaeError, match="no track 'oboe'"):
        piece.only_track("oboe")


def test_a_piece_is_a_value() -> None:
    piece = Piece.open(A)
    assert piece == Piece.open(A.read_bytes()).__class__.open(A) and hash(piece) == hash(Piece.open(A))
    assert piece.with_remarks("x").remarks == ("x",) and piece.remarks == ()
    assert piece.with_track("lead").chosen_track == "lead" and piece.chosen_track is None
    with pytest.raises(AttributeError):
        piece.name = "b"  # type: ignore[misc]


def test_real_files_keep_every_event_when_their_notes_change(shared_data: Callable[[str], Path]) -> None:
    tried = 0
    for path in sorted(shared_data("trio").rglob("*.mid"))[::12]:
        piece = Piece.open(path)
        track = max(piece.tracks, key=lambda each: each.notes).index
        own = piece.notes(track)
        moved = piece.replace({track: own._replace(pitch=np.where(own.pitch < 127, own.pitch + 1, 0))})
        assert events(moved) == events(piece), path.name
        others = [each.index for each in piece.tracks if each.index != track]
        assert [listed(moved, other) for other in others] == [listed(piece, other) for other in others], path.name
        assert len(moved.notes(track).start) == len(own.start)
        tried += 1
    assert tried > 10
