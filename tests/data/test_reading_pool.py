"""Reading in several processes: the same store as in one, whatever the files do to the process that reads them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from troubled_domain import TroubledMusic
from tune_files import SCALE, write_tune, write_tunes

from musicae.data.dataset import load_dataset
from musicae.data.files import Prepared, default_guard, default_processes, prepare_store
from musicae.data.pool import Guard, is_sendable, read_in_processes
from musicae.data.store import ReadReport, open_store
from musicae.errors import MusicaeError
from musicae.music.domain import MusicDomain

TROUBLE = ("tune-010-crash", "tune-020-hang", "tune-041-hungry")
"""Before and after a file that the same process is asked for."""


STORED_FILES = [f"{name}.bin" for name in ("content", "examples", "file", "identity", "owner")]
STORED_FILES += [f"{name}.json" for name in ("checksums", "items", "report")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tunes, one of them damaged, one in another time signature, and an ABC file of two tunes."""
    folder = write_tunes(tmp_path_factory.mktemp("data") / "tunes", 60)
    (folder / "tune-030.mid").write_bytes(b"nothing")
    write_tune(folder / "tune-031.mid", SCALE + SCALE[:4], numerator=3)
    tunes = "\n\n".join(f"X:{n}\nT:{n}\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|{note}GEC|D4|]" for n, note in enumerate("cd", 1))
    (folder / "tune-032.abc").write_text(tunes)
    return folder


@pytest.fixture(scope="module")
def troubled(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The store of the same folder with files that hang, crash and take all memory."""
    for name in TROUBLE:
        write_tune(folder / f"{name}.mid", SCALE + SCALE[:4])
    cache = tmp_path_factory.mktemp("cache")
    try:
        return prepare_store(TroubledMusic(), [folder], cache=cache, processes=1, guard=Guard(2.0, 1.0))
    finally:
        for name in TROUBLE:
            (folder / f"{name}.mid").unlink()


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


def test_the_store_is_the_same_to_the_byte_for_any_number_of_processes(folder, tmp_path):
    stores = [
        prepare_store(MusicDomain(), [folder], cache=tmp_path / str(processes), processes=processes).store
        for processes in (0, 2)
    ]
    assert contents(stores[0]) == contents(stores[1])
    assert sorted(contents(stores[0])) == sorted(STORED_FILES)
    assert open_store(stores[0]).report.damaged.keys() == {"tunes/tune-030.mid"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory has no guard")
def test_files_that_hang_crash_or_take_all_memory_are_reported_and_the_others_read(folder, troubled, tmp_path):
    stored = open_store(troubled.store)
    assert troubled.files_read == 60 + 1 + len(TROUBLE)
    assert stored.report.damaged.keys() == {"tunes/tune-030.mid", *(f"tunes/{name}.mid" for name in TROUBLE)}
    assert stored.report.damaged["tunes/tune-020-hang.mid"] == (
        "tune-020-hang.mid was left out: reading it took longer than 2 s."
    )
    assert stored.report.damaged["tunes/tune-010-crash.mid"].endswith("reading it ended its process (SIGKILL).")
    assert stored.report.stopped == {
        "ended its process (SIGKILL)": 1,
        "took longer than 2 s": 1,
        "needed more than 1 GB of memory": 1,
    }
    calm = open_store(prepare_store(MusicDomain(), [folder], cache=tmp_path, processes=0).store)
    assert len(calm.examples) > 100
    assert np.array_equal(stored.examples, calm.examples)
    assert np.array_equal(stored.identity, calm.identity)
    assert [stored.items[owner] for owner in stored.owner] == [calm.items[owner] for owner in calm.owner]


def test_an_error_that_is_no_damaged_file_ends_the_reading_and_the_processes(tmp_path, monkeypatch):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    files = [(name, write_tune(tmp_path / name, SCALE)) for name in ("a.mid", "b-wrong.mid", "c.mid")]
    with pytest.raises(ZeroDivisionError, match=r"b-wrong\.mid"):
        list(read_in_processes(TroubledMusic(), files, 1, Guard()))
    assert [process.returncode is not None for process in started] == [True]


def test_processes_that_do_not_start_are_an_error_that_says_how_to_do_without(tmp_path, monkeypatch):
    files = [(path.name, path) for path in write_tunes(tmp_path, 2).iterdir()]
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MusicaeError, match="MUSICAE_PROCESSES=0"):
        list(read_in_processes(MusicDomain(), files, 2, Guard()))


def test_a_domain_that_another_process_cannot_build_is_read_in_this_one(tmp_path):
    class Local(MusicDomain):
        """Found nowhere by its name."""

    assert is_sendable(TroubledMusic())
    assert not is_sendable(Local())
    folder = write_tunes(tmp_path / "tunes", 3)
    assert load_dataset(Local(), [folder], processes=2).report == ReadReport(items=3, examples=6)


def test_few_files_are_read_in_this_process_and_many_in_others(monkeypatch):
    monkeypatch.delenv("MUSICAE_PROCESSES", raising=False)
    assert default_processes(100, 10**6) == 0
    assert 1 <= default_processes(100_000, 10**6) <= 16
    assert default_processes(100, 10**10) == default_processes(100_000, 10**6)


def test_the_environment_sets_processes_and_guard(monkeypatch):
    monkeypatch.setenv("MUSICAE_PROCESSES", "3")
    assert default_processes(1, 1) == 3
    monkeypatch.setenv("MUSICAE_READ_SECONDS", "0.5")
    assert default_guard() == Guard(seconds=0.5)
    for name, text in (("MUSICAE_PROCESSES", "-1"), ("MUSICAE_PROCESSES", "two"), ("MUSICAE_PROCESSES", "nan")):
        monkeypatch.setenv(name, text)
        with pytest.raises(MusicaeError, match=name):
            default_processes(1, 1)
    for text in ("0", "nan"):
        monkeypatch.setenv("MUSICAE_READ_GB", text)
        with pytest.raises(MusicaeError, match="MUSICAE_READ_GB"):
            default_guard()


def test_a_guard_that_allows_more_reads_anew(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 2)
    usual, patient = (prepare_store(MusicDomain(), [folder], guard=guard) for guard in (None, Guard(seconds=100.0)))
    assert usual.store != patient.store
    assert prepare_store(MusicDomain(), [folder]) == Prepared(usual.store, usual.files, 0)


def test_a_guard_that_allows_nothing_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        Guard(seconds=0)
    with pytest.raises(ValueError, match="at least 1"):
        list(read_in_processes(MusicDomain(), [], 0, Guard()))
