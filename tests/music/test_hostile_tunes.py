"""ABC that would make its converter read other files, run for ever or crash: the tune alone, or one sentence."""

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from musicae.errors import DamagedFileError
from musicae.limits import limited
from musicae.music import abc
from musicae.music.piece import Piece
from musicae.music.score import read_scores

needs_a_shell = pytest.mark.skipif(sys.platform == "win32", reason="its converter is a shell script")
HEADER = "X:1\nT:a tune\nM:4/4\nL:1/8\nK:C\n"


def tune(*lines: str) -> bytes:
    return (HEADER + "CDEF GABc|\n" + "".join(f"{line}\n" for line in lines) + "CDEF GABc|\n").encode()


def notes(data: bytes) -> int:
    (read,) = abc.read_abc(data, "a.abc")
    return int(read.score.note_num())


# abc2midi opens the file for those that are marked; the others are what a person or another program may write.
INCLUDES = [
    "%%abc-include {other}",  # opened
    "   %%abc-include {other}",  # opened
    "\t%%abc-include\t{other}",  # opened
    "% %abc-include {other}",  # opened
    "\v%%abc-include {other}",  # opened
    "\f% %abc-include {other}",  # opened
    "%%MIDI ptstress {other}",  # opened
    "%%MIDI\tptstress {other}",  # opened
    "CDEF [I:MIDI ptstress {other}]",  # opened
    "CDEF [I:MIDI=ptstress {other}",  # opened
    "[ I : MIDI = ptstress {other}]CDEF",
    "%%MIDIdef a=ptstress {other}\n%%MIDIx a",
    "%%ABC-INCLUDE {other}",
    "%% abc-include {other}",
    "I:abc-include {other}",
    "I : MIDI ptstress {other}",
    "[I:abc-include {other}]",
    "\N{NO-BREAK SPACE}%%abc-include {other}",
    "\N{ZERO WIDTH NO-BREAK SPACE}%%abc-include {other}",
    "%%EPS {other}",
    "%%format {other}",
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_no_directive_makes_a_tune_hold_another_files_notes(tmp_path: Path, encoding: str) -> None:
    """What reaches the converter names the other file in no line, whatever line breaks and encoding there are."""
    other = tmp_path / "other.abc"
    other.write_text("c'c'c'c'|\n")
    for line in INCLUDES:
        text = tune(line.format(other=other)).decode()
        for breaks in ("\n", "\r\n", "\r"):
            data = text.replace("\n", breaks).encode(encoding, "replace")
            (found,) = abc.split_tunes(data, "a.abc")
            left = abc.without_directives(found.text)
            assert "ptstress" not in left and "abc-include" not in left.lower(), (line, left)
            assert left.count("CDEF GABc|") == 2


def test_included_files_are_not_read(tmp_path: Path) -> None:
    other = tmp_path / "other.abc"
    other.write_text("c'c'c'c'|\n")
    for line in INCLUDES[::5]:
        assert notes(tune(line.format(other=other))) == 16 + 4 * line.count("CDEF")
    (tmp_path / "a.abc").write_bytes(tune(INCLUDES[0].format(other=other)))
    assert Piece.open(tmp_path / "a.abc").note_count == 16


@pytest.mark.skipif(os.name != "posix", reason="the system's limits are POSIX's")
def test_the_converter_itself_cannot_open_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the directives being left out, the system still refuses it a further file."""
    with tempfile.TemporaryDirectory() as folder:  # it finds no file whose path is as long as those of `tmp_path`
        other = Path(folder) / "o.abc"
        other.write_text("c'c'c'c'|\n", encoding="utf-8")
        monkeypatch.setattr(abc, "without_directives", lambda text: text)
        data = tune(INCLUDES[0].format(other=other))
        assert notes(data) == 16
        monkeypatch.setattr(abc, "_CONVERTER_FILES", 16)
        assert notes(data) == 20


def test_what_is_about_the_music_stays() -> None:
    text = HEADER + "%%MIDI transpose 2\nI:MIDI program 5\n[I:MIDI program 7]CDEF|\n%%propagate-accidentals not\n"
    assert abc.without_directives(text) == text
    (plain,), (transposed,) = (
        abc.read_abc((HEADER + line + "CDEF|\n").encode(), "a.abc") for line in ("", "%%MIDI transpose 2\n")
    )
    pitches = [[note.pitch for track in one.score.tracks for note in track.notes] for one in (plain, transposed)]
    assert [pitch + 2 for pitch in pitches[0]] == pitches[1]


def test_comments_and_instructions_alone_in_a_line_do_not_end_the_tune() -> None:
    assert notes(tune("% a comment", "[I:linebreak $]", "%%score (1 2)", "I:papersize a4")) == 16


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the converter's place, to be written."""
    program = tmp_path / "abc2midi"
    monkeypatch.setenv("SYMUSIC_ABC2MIDI", str(program))
    return program


@needs_a_shell
@pytest.mark.parametrize("end", ["kill -SEGV $$", "kill -ABRT $$", "sleep 30", ": > tune.mid"])
def test_a_converter_that_dies_hangs_or_writes_nothing_is_a_damaged_file(
    converter: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    converter.write_text(f"#!/bin/sh\n{end}\n", encoding="utf-8")
    converter.chmod(0o755)
    monkeypatch.setattr(abc, "SECONDS_PER_TUNE", 0.6)
    with pytest.raises(DamagedFileError, match=r"a\.abc, tune 'a tune'") as refused:
        abc.read_abc(tune(), "a.abc")
    assert "\n" not in str(refused.value)


@needs_a_shell
def test_the_converter_runs_in_an_empty_folder_with_nothing_of_the_user(
    converter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "1")
    script = f'#!/bin/sh\nls > "{tmp_path}/seen"; pwd >> "{tmp_path}/seen"; env >> "{tmp_path}/seen"\n'
    converter.write_text(script, encoding="utf-8")
    converter.chmod(0o755)
    monkeypatch.setattr(abc, "limited", lambda command, **_: command)  # which would refuse it `seen` as well
    with pytest.raises(DamagedFileError, match="cannot be read as ABC"):
        abc.read_abc(tune(), "a.abc")
    files, folder, *environment = (tmp_path / "seen").read_text().splitlines()
    assert files == "tune.abc"
    assert not Path(folder).exists()
    assert {line.split("=")[0] for line in environment} <= {"PATH", "PWD", "SHLVL", "_", "OLDPWD", "LD_LIBRARY_PATH"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS has no limit of address space")
def test_limits_hold_for_the_program_and_not_for_its_parent(tmp_path: Path) -> None:
    import subprocess

    def run(code: str, **limits: int) -> int:
        usual = {"cpu_s": 20, "memory_bytes": 2**31, "written_bytes": 2**20}
        command = limited([sys.executable, "-S", "-c", code], **{**usual, **limits})
        return subprocess.run(command, cwd=tmp_path, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode

    assert run("bytes(300 * 2**20)") == 0
    assert run("bytes(300 * 2**20)", memory_bytes=2**28) == 1
    assert run("while True: pass", cpu_s=1) < 0
    assert run("open('a', 'wb').write(bytes(2**21))") != 0
    assert (tmp_path / "a").stat().st_size <= 2**20


def test_texts_that_patterns_could_take_for_ever_over_are_read_or_refused_at_once() -> None:
    for text in (
        "X:1\nT:" + " " * 150_000 + "x\nK:C\nCDEF|\n",
        HEADER + "[A:" * 60_000 + "\n",
        HEADER + "{" * 190_000 + "\n",
        HEADER + "[I:" * 60_000 + "\n",
        HEADER + "CDEF|" + "I" + " " * 190_000 + "\n",
        "X:\n" * 30_000,
        "X:1\nK:C\n" + "C" * 10**6,
    ):
        started = time.process_time()
        try:
            abc.read_abc(text.encode(), "a.abc")
        except DamagedFileError as error:
            assert len(str(error)) < 500
        assert time.process_time() - started < 2


def test_a_file_of_tunes_names_the_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.abc").write_bytes(tune() + b"\nX:2\nT:broken\nCDEF|\n")
    with pytest.raises(DamagedFileError, match="tune 'broken'"):
        read_scores(tmp_path / "a.abc")
