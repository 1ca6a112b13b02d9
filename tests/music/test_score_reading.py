"""Reading scores: agreement between readers, ABC, and everything that can be wrong with a file."""

import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from symusic.core import ScoreTick

from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.quantize import quantize
from musicae.music.score import LARGEST_FILE_BYTES, MOST_TEMPI, MOST_TIME_SIGNATURES, MOST_TRACKS, read_scores

NOTE = b"\x00\x90\x3c\x50\x83\x60\x80\x3c\x00"  # C4, one quarter at division 480
END = b"\x00\xff\x2f\x00"


def midi(*tracks: bytes, division: int = 480, form: int = 1) -> bytes:
    chunks = [b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks]
    return b"MThd" + struct.pack(">IHHH", 6, form, len(tracks), division) + b"".join(chunks)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"hello, this is a text file\n" * 20, "does not start with a MIDI header"),
        (midi(NOTE + END)[:30], "cut off"),
        (midi(NOTE + END, division=0), "0 ticks per quarter"),
        (midi(NOTE + END, division=0xE728), "SMPTE"),
        (midi(NOTE + END, form=7), "file type"),
        (midi(b"\x00\x90\x3c\x50\xff\xff\xff\x7f\x80\x3c\x00" + END), "quarter notes"),
        (midi(b"\x00\x90\xbc\x50\x83\x60\x80\xbc\x00" + END), "cannot be read"),
        (midi(b"\x00\xff\x01\xff\xff\xff\x7f" + NOTE), "cut off"),
        (
            midi(
                b"\x00\xff\x58\x04\x03\x02\x18\x08\x10\xff\x58\x04\x04\x02\x18\x08" * MOST_TIME_SIGNATURES + NOTE + END
            ),
            "time sig",
        ),
        (midi(*[NOTE + END] * (MOST_TRACKS + 1)), "tracks"),
        (midi(b"\x01\xff\x51\x03\x07\xa1\x20" * (MOST_TEMPI + 1) + NOTE + END), "tempi"),
    ],
    ids=[
        "empty",
        "text",
        "cut",
        "division0",
        "smpte",
        "type7",
        "long",
        "pitch",
        "meta",
        "signatures",
        "tracks",
        "tempi",
    ],
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "odd.mid"
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=reason) as error:
        read_scores(path)
    assert "odd.mid" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "meta",
    [
        b"\x00\xff\x58\x04\x00\x02\x18\x08",  # 0/4
        b"\x00\xff\x58\x04\x04\xc8\x18\x08",  # 4/2^200
        b"\x00\xff\x51\x03\x00\x00\x00",  # tempo 0
        b"\x00\xff\x59\x02\x00\x09",  # a key of mode 9
    ],
    ids=["0/4", "4/2^200", "tempo0", "mode9"],
)
def test_meaningless_time_signatures_tempi_and_keys_are_dropped(tmp_path: Path, meta: bytes) -> None:
    path = tmp_path / "odd.mid"
    path.write_bytes(midi(meta + NOTE * 4 + END))
    (named,) = read_scores(path)
    assert not named.score.time_signatures and all(tempo.mspq > 0 for tempo in named.score.tempos)
    melody = quantize(named.score)
    assert melody.lines[0].section.time_signature == "4/4"
    assert (melody.lines[0].streams[0][::4] == 41).all()


def test_missing_large_and_other_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MusicaeError, match="no such file: "):
        read_scores(tmp_path / "nowhere.mid")
    with pytest.raises(MusicaeError, match="is a folder"):
        read_scores(tmp_path)
    with (tmp_path / "large.mid").open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)  # sparse
    with pytest.raises(DamagedFileError, match=r"large.mid has 16 MB"):
        read_scores(tmp_path / "large.mid")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(MusicaeError, match="not a score"):
        read_scores(tmp_path / "x.txt")


def test_every_malformed_file_is_read_or_refused_in_time(shared_data: Callable[[str], Path]) -> None:
    files = sorted(shared_data("malformed_midi").rglob("*.mid"))
    assert len(files) == 40
    outcomes = {"read": 0, "refused": 0}
    for path in files:
        start = time.monotonic()
        try:
            for named in read_scores(path):
                for line in quantize(named.score).lines:
                    assert line.streams[0].max(initial=0) < 90
            outcomes["read"] += 1
        except DamagedFileError:
            outcomes["refused"] += 1
        assert time.monotonic() - start < 5, path.name
    assert outcomes == {"read": 25, "refused": 15}


BOMBS = {
    "note ons without end": b"\x00\x90\x3c\x50" + b"\x00\x3c\x50" * 1_400_000,
    "notes that overlap": b"\x00\x90\x3c\x50" + b"\x01\x3c\x50" * 400_000 + b"\x00\x3c\x00" * 400_000,
    "as many notes as are read": b"\x00\x90\x3c\x50\x01\x3c\x00" + b"\x01\x3d\x50\x01\x3d\x00" * 900_000,
}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_note_bombs_end_in_time_and_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb.mid"
    path.write_bytes(midi(BOMBS[name] + END))
    program = (
        "import sys, time; from pathlib import Path\n"
        "from musicae.music.score import read_scores; from musicae.music.quantize import quantize\n"
        "from musicae.music.windows import cut_windows\n"
        "from musicae.errors import MusicaeError\n"
        "try: cut_windows(quantize(read_scores(Path(sys.argv[1]))[0].score), 2, 4)\n"
        "except MusicaeError as error: print(error)\n"
        # Not getrusage: its peak is inherited from the process that started this one.
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    peak_kib, own_s = map(float, done.stdout.split()[-2:])
    assert own_s < 10  # of its own time, so that a busy machine changes nothing: half of it to start Python
    assert peak_kib < 2**20


def struck_alone(notes: list[tuple[int, int, int]]) -> set[tuple[int, int, int]]:
    """Of (start, pitch, end), the notes that no other of the same pitch touches."""
    alone = set()
    for pitch in {note[1] for note in notes}:
        same = sorted(note for note in notes if note[1] == pitch)
        for index, note in enumerate(same):
            before = max((other[2] for other in same[:index]), default=0)
            after = same[index + 1][0] if index + 1 < len(same) else note[2]
            if before <= note[0] and note[2] <= after:
                alone.add(note)
    return alone


@pytest.mark.filterwarnings("ignore:Tempo, Key or Time signature:RuntimeWarning")  # nottingham's files
@pytest.mark.parametrize("name", ["pop909", "nottingham", "openscore_lieder"])
def test_symusic_and_pretty_midi_agree_on_real_files(shared_data: Callable[[str], Path], name: str) -> None:
    files = sorted(shared_data(name).rglob("*.mid"))[:12]
    assert len(files) == 12
    compared = 0
    for path in files:
        reference = pretty_midi.PrettyMIDI(str(path))
        theirs = sorted(
            (int(reference.time_to_tick(note.start)), note.pitch, int(reference.time_to_tick(note.end)))
            for instrument in reference.instruments
            for note in instrument.notes
        )
        (named,) = read_scores(path)
        ours = []
        for track in named.score.tracks:
            table = track.notes.numpy()
            start, duration = table["time"].tolist(), table["duration"].tolist()
            pitches = table["pitch"].tolist()
            ours += [(at, pitch, at + long) for at, pitch, long in zip(start, pitches, duration, strict=True) if long]
        ours.sort()
        assert [note[:2] for note in ours] == [note[:2] for note in theirs], path.name
        # Where a pitch is struck again before its end, the readers pair starts and ends differently.
        assert struck_alone(ours) <= set(theirs), path.name
        compared += len(ours)
    assert compared > 400


def write_abc(path: Path, *tunes: str) -> Path:
    path.write_text("\n".join(f"X:{number}\n{tune}" for number, tune in enumerate(tunes, 1)), encoding="utf-8")
    return path


def onsets(score: ScoreTick) -> list[tuple[int, int]]:
    """(step, pitch) of the melody, bars from the start."""
    (line,) = quantize(score).lines
    steps = np.flatnonzero(line.streams[0] >= 2)
    return [(int(step), int(line.streams[0][step]) + 19) for step in steps]


def test_abc_tunes_are_read_one_by_one_with_repeats_played_out(tmp_path: Path) -> None:
    path = write_abc(
        tmp_path / "x.abc",
        "T:Höhe\nM:4/4\nL:1/4\nQ:1/4=90\nK:C\n|:CDEF|[1 G4:|[2 c4|]\n",
        "T:Two\nM:4/4\nL:1/8\nK:D\nF2F2 F4|\n",
    )
    first, second = read_scores(path)
    assert (first.title, second.title) == ("Höhe", "Two")
    bar = [(0, 60), (4, 62), (8, 64), (12, 65)]
    expected = [*bar, (16, 67), *[(step + 32, pitch) for step, pitch in bar], (48, 72)]
    assert onsets(first.score) == expected
    assert round(first.score.tempos[0].qpm) == 90
    assert onsets(second.score) == [(0, 66), (4, 66), (8, 66)]


@pytest.mark.parametrize("opening", ["A2|", "|:A2|", "A2|:", '"D"A2|', "!f!A2 |", "z2|"])
def test_a_pickup_is_padded_to_a_whole_bar(tmp_path: Path, opening: str) -> None:
    path = write_abc(tmp_path / "x.abc", f"T:Pickup\nM:4/4\nL:1/8\nK:D\n{opening}d2e2f2g2|a8|\n")
    (named,) = read_scores(path)
    pickup = [] if opening.startswith("z") else [(12, 69)]
    assert onsets(named.score) == [*pickup, (16, 74), (20, 76), (24, 78), (28, 79), (32, 81)]


def test_chord_symbols_are_not_played(tmp_path: Path) -> None:
    path = write_abc(tmp_path / "x.abc", 'T:Chords\nM:4/4\nL:1/4\nK:C\n"C"CDEF|"G7"GABc|\n')
    (named,) = read_scores(path)
    assert [len(track.notes) for track in named.score.tracks if len(track.notes)] == [8]


@pytest.mark.parametrize("text", ["", "just text\n", "X:1\nT:No key\nCDEF|\n", "X:1\nT:Empty\nK:C\n"])
def test_abc_without_a_tune_is_refused(tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.abc").write_text(text)
    try:
        for named in read_scores(tmp_path / "x.abc"):
            assert sum(len(track.notes) for track in named.score.tracks) == 0
    except DamagedFileError as error:
        assert "x.abc" in str(error)
    assert capfd.readouterr() == ("", "")  # the converter must not talk on the terminal
