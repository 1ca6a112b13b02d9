"""MusicXML read through music21, on a score written here; malformed files; a machine without music21."""

import contextlib
import io
import shutil
import sys
import zipfile

import numpy as np
import pytest

from musicae.data.dataset import load_dataset
from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.domain import MusicDomain
from musicae.music.piece import Piece
from musicae.music.score import read_scores
from musicae.starter import starter_file

pytest.importorskip("music21")

# Three bars of 3/4 after a pickup of a quarter, the second and third played twice, with a chord symbol and a word.
SCORE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">
<score-partwise version="4.0">
  <work><work-title>Waltz</work-title></work>
  <part-list>
    <score-part id="P1"><part-name>Flute</part-name>
      <score-instrument id="I1"><instrument-name>Flute</instrument-name></score-instrument>
      <midi-instrument id="I1"><midi-channel>1</midi-channel><midi-program>74</midi-program></midi-instrument>
    </score-part>
  </part-list>
  <part id="P1">
    <measure number="0" implicit="yes">
      <attributes><divisions>2</divisions><key><fifths>1</fifths><mode>major</mode></key>
        <time><beats>3</beats><beat-type>4</beat-type></time><clef><sign>G</sign><line>2</line></clef></attributes>
      <direction><sound tempo="90"/></direction>
      <note><pitch><step>D</step><octave>4</octave></pitch><duration>2</duration><type>quarter</type>
        <lyric><text>Oh</text></lyric></note>
    </measure>
    <measure number="1">
      <barline location="left"><repeat direction="forward"/></barline>
      <harmony><root><root-step>B</root-step><root-alter>-1</root-alter></root><kind>major</kind></harmony>
      <note><pitch><step>B</step><alter>-1</alter><octave>4</octave></pitch><duration>6</duration>
        <type>half</type><dot/></note>
    </measure>
    <measure number="2">
      <note><pitch><step>G</step><octave>4</octave></pitch><duration>6</duration><type>half</type><dot/></note>
      <barline location="right"><repeat direction="backward"/></barline>
    </measure>
    <measure number="3">
      <note><pitch><step>D</step><octave>5</octave></pitch><duration>6</duration><type>half</type><dot/></note>
    </measure>
  </part>
</score-partwise>
"""
CONTAINER = """<?xml version="1.0"?><container><rootfiles>
<rootfile full-path="score.xml" media-type="application/vnd.recordare.musicxml+xml"/></rootfiles></container>"""


def packed(score=SCORE, container=CONTAINER):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("score.xml", score)
    return file.getvalue()


def opened(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return Piece.open(path)


@pytest.mark.parametrize(("name", "data"), [("waltz.musicxml", SCORE.encode()), ("waltz.mxl", packed())])
def test_a_score_is_played_out_with_its_pickup_in_a_whole_bar(tmp_path, name, data):
    piece = opened(tmp_path, name, data)
    quarter = piece.ticks_per_quarter
    notes = [piece.notes(track.index) for track in piece.tracks if track.notes]
    starts, pitches = (notes[0].start / quarter).tolist(), notes[0].pitch.tolist()
    played = list(zip(starts, pitches, strict=True))
    assert played == [(2, 62), (3, 70), (6, 67), (9, 70), (12, 67), (15, 74)]
    assert len(notes) == 1 and piece.tracks[0].program == 73 and piece.tracks[0].name == "Flute"
    assert piece.time_signatures[0] == (0, 3, 4) and piece.key_signatures[0] == (0, 1, False)
    assert piece.tempi[0][1] == pytest.approx(90, abs=0.01)
    assert [text for _, text in piece.lyrics] == ["Oh"]
    assert [(tick / quarter, text) for tick, text in piece.markers] == [(3, "Bb"), (9, "Bb")]
    assert piece.title == "waltz" and piece.bars == 6


def test_bytes_and_data_sets_read_it_too(tmp_path):
    path = tmp_path / "waltz.mxl"
    path.write_bytes(packed())
    pieces = [Piece.open(packed()), Piece.open(SCORE.encode()), Piece.open(io.BytesIO(packed()))]
    assert len({piece.to_bytes() for piece in [*pieces, Piece.open(path)]}) == 1
    assert sum(len(track.notes) for track in read_scores(path)[0].score.tracks) == 6


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.musicxml", b"<?xml version='1.0'?><html/>", "is no MusicXML that can be read"),
        ("a.musicxml", SCORE[:700].encode(), "is no MusicXML that can be read"),
        ("a.musicxml", b"MThd\0\0", "is no MusicXML that can be read"),
        ("a.musicxml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "declares entities of its own"),
        ("a.mxl", b"PK\3\4 and no more", "is no packed MusicXML"),
        ("a.mxl", packed(container="<container/>"), "is no packed MusicXML"),
        ("a.mxl", packed(container=CONTAINER.replace("score.xml", "../other.xml")), "is no packed MusicXML"),
        ("a.mxl", packed(score="<!ENTITY a 'b'>" + SCORE), "declares entities of its own"),
        ("a.mxl", packed(score=" " * 2**25), "scores up to 16 MB are read"),
    ],
)
def test_what_is_no_score_is_refused_in_a_sentence(tmp_path, name, data, reason):
    with pytest.raises(DamagedFileError, match=reason) as error:
        opened(tmp_path, name, data)
    assert str(error.value).startswith("a.m") and "\n" not in str(error.value)


def test_without_music21_it_is_said_how_to_get_it_and_a_folder_is_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(MusicaeError, match=r"pip install \"musicae\[musicxml\]\""):
        opened(tmp_path, "waltz.musicxml", SCORE.encode())
    shutil.copy(starter_file("a.mid"), tmp_path)
    dataset = load_dataset(MusicDomain(), [tmp_path])
    assert len(dataset.examples) and "musicae[musicxml]" in str(dataset.report.damaged)


@pytest.mark.parametrize(
    ("encoding", "name"), [("ISO-8859-1", "Fl\u00f6te"), ("UTF-16", "Fl\u00f6te \u266b"), ("UTF-8", "\u7b1b")]
)
def test_a_score_is_read_in_the_encoding_that_it_declares(tmp_path, encoding, name):
    text = SCORE.replace("UTF-8", encoding).replace("<part-name>Flute", f"<part-name>{name}")
    piece = opened(tmp_path, "waltz.musicxml", text.encode(encoding))
    assert piece.bars == 6 and piece.tracks[0].notes == 6


def test_entities_are_found_in_any_encoding_and_repeats_have_a_bound(tmp_path):
    hidden = SCORE.replace("UTF-8", "UTF-16").replace("<score-partwise v", "<!ENTITY a 'b'><score-partwise v")
    with pytest.raises(DamagedFileError, match="declares entities of its own"):
        opened(tmp_path, "a.musicxml", hidden.encode("UTF-16"))
    endless = SCORE.replace('direction="backward"', 'direction="backward" times="100000"')
    with pytest.raises(DamagedFileError, match="repeats its bars 100,000 times"):
        opened(tmp_path, "a.musicxml", endless.encode())


def test_damage_to_a_packed_score_is_a_sentence(tmp_path):
    whole = packed()
    generator = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole)
        data[generator.integers(len(data))] ^= 1 << generator.integers(8)
        with contextlib.suppress(DamagedFileError):
            opened(tmp_path, "a.mxl", bytes(data))
