"""Stores that are damaged, old, shared by processes, or in places that can't be written or have no room."""

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tune_files import interrupted_store, write_tunes

from musicae.data.checksums import RunningChecksum, damage, write_checksums
from musicae.data.dataset import DataSet, load_dataset
from musicae.data.files import prepare_store
from musicae.data.store import open_store
from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.domain import MusicDomain

ROOT = Path(__file__).resolve().parents[2]


def same(first: DataSet, second: DataSet) -> bool:
    arrays = ("examples", "identity", "owner")
    return (
        all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays)
        and all(np.array_equal(first.splits[split], second.splits[split]) for split in first.splits)
        and replace(first.report, skipped={}) == replace(second.report, skipped={})
        and first.content == second.content
    )


def copied(dataset: DataSet) -> DataSet:
    """The same without memory maps: the files they show will be cut."""
    arrays = {name: np.array(getattr(dataset, name)) for name in ("examples", "identity", "owner")}
    return replace(dataset, **arrays)


def damages(content: bytes) -> list[bytes]:
    """A bit flipped at the beginning, in the middle and at the end; cut; grown; emptied."""
    flipped = []
    for place in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 0x10
        flipped.append(bytes(changed))
    return [*flipped, content[: len(content) // 2], content[:-1], content + b"\0", b""]


def test_every_damage_to_a_store_is_noticed_and_mended_from_the_files(tmp_path, capsys):
    folder, cache = write_tunes(tmp_path / "tunes", 6), tmp_path / "cache"
    whole = copied(load_dataset(MusicDomain(), [folder], cache=cache))
    store = cache / whole.fingerprint
    written = {path.name: path.read_bytes() for path in store.iterdir()}
    assert len(written) == 8
    tried = 0
    for name, content in written.items():
        for changed in (*damages(content), None):
            if changed is None:
                (store / name).unlink()
            else:
                (store / name).write_bytes(changed)
            with pytest.raises(DamagedFileError, match="is damaged: "):
                open_store(store)
            capsys.readouterr()
            assert same(load_dataset(MusicDomain(), [folder], cache=cache), whole), (name, changed)
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert str(store) in said
            assert {path.name: path.read_bytes() for path in store.iterdir()} == written
            assert [path.name for path in cache.iterdir()] == [store.name]
            tried += 1
    assert tried == 64
    load_dataset(MusicDomain(), [folder], cache=cache)
    assert capsys.readouterr().err == ""


def test_damage_is_found_anywhere_in_a_large_file(tmp_path):
    content = np.random.default_rng(0).bytes(70 * 2**20)
    checksum = RunningChecksum()
    for start in range(0, len(content), 9_999_991):  # pieces and blocks don't fall together
        checksum.update(content[start : start + 9_999_991])
    path = tmp_path / "large.bin"
    path.write_bytes(content)
    write_checksums(tmp_path, {path.name: checksum.describe()})
    assert damage(tmp_path) is None
    block = 4 * 2**20
    for place in (0, block - 1, block, 16 * block, len(content) - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ 1]))
        assert damage(tmp_path) == "large.bin differs from its checksum", place
        with path.open("r+b") as file:
            file.seek(place)
            file.write(content[place : place + 1])
    assert damage(tmp_path) is None


def test_a_store_of_an_older_version_is_read_anew(tmp_path, capsys):
    folder, cache = write_tunes(tmp_path / "tunes", 3), tmp_path / "cache"
    first = prepare_store(MusicDomain(), [folder], cache=cache)
    for name in ("checksums.json", "content.bin", "file.bin"):
        (first.store / name).unlink()
    again = prepare_store(MusicDomain(), [folder], cache=cache)
    assert (again.store, again.files_read) == (first.store, 3)
    assert len(again.remarks) == 1
    assert "older version" in again.remarks[0]
    assert damage(again.store) is None


@pytest.mark.parametrize("name", ["examples.bin", "journal.jsonl"])
def test_what_an_interrupted_reading_left_is_not_trusted_when_it_is_damaged(tmp_path, name):
    folder, cache = write_tunes(tmp_path / "tunes", 100), tmp_path / "cache"
    left = interrupted_store(folder, cache, 90)
    content = bytearray((left / name).read_bytes())
    content[len(content) // 2] ^= 1
    (left / name).write_bytes(content)
    resumed = prepare_store(MusicDomain(), [folder], cache=cache)
    assert resumed.files_read > 10  # what the journal said before the damage may stand, on a slow machine
    whole = prepare_store(MusicDomain(), [folder], cache=tmp_path / "other")
    for path in whole.store.iterdir():
        assert path.read_bytes() == (resumed.store / path.name).read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such locks")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EIO])
def test_without_locks_a_damaged_store_is_mended_too(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    folder, cache = write_tunes(tmp_path / "tunes", 3), tmp_path / "cache"
    first = copied(load_dataset(MusicDomain(), [folder], cache=cache))
    (cache / first.fingerprint / "owner.bin").write_bytes(b"")
    assert same(load_dataset(MusicDomain(), [folder], cache=cache), first)
    assert [path.name for path in cache.iterdir()] == [first.fingerprint]


def test_of_three_processes_one_reads_and_the_others_wait(tmp_path):
    folder, cache = write_tunes(tmp_path / "tunes", 12), tmp_path / "cache"
    # Each begins when all have started, so that they meet; reading takes longer than it takes to say that one waits.
    script = f"""
import sys, time
from pathlib import Path
from musicae.data.files import prepare_store
from musicae.music.domain import MusicDomain
read = MusicDomain.read
MusicDomain.read = lambda self, path: (time.sleep(0.3), read(self, path))[1]
place = Path({str(tmp_path)!r})
(place / f"ready-{{sys.argv[1]}}").touch()
while len(list(place.glob("ready-*"))) < 3:
    time.sleep(0.01)
made = prepare_store(MusicDomain(), [place / "tunes"], cache=place / "cache")
print(made.files_read, made.store.name)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in range(3)
    ]
    answers = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], answers
    printed = sorted(out.decode().split() for out, _ in answers)
    assert [count for count, _ in printed] == ["0", "0", "12"]
    assert len({name for _, name in printed}) == 1
    assert sum(b"waiting for it" in said for _, said in answers) == 2
    assert [path.name for path in cache.iterdir()] == [printed[0][1]]
    alone = prepare_store(MusicDomain(), [folder], cache=tmp_path / "other")
    for path in alone.store.iterdir():
        assert path.read_bytes() == (cache / printed[0][1] / path.name).read_bytes()


def test_a_cache_that_cannot_be_written_gives_way_to_the_users(tmp_path, monkeypatch, capsys):
    folder = write_tunes(tmp_path / "tunes", 3)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MUSICAE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("musicae.data.files.user_cache_folder", lambda: tmp_path / "home" / "musicae")
    prepared = prepare_store(MusicDomain(), [folder])
    assert prepared.store.parent == tmp_path / "home" / "musicae"
    assert capsys.readouterr().err.strip() == prepared.remarks[0]
    assert "can't be written" in prepared.remarks[0]
    assert prepare_store(MusicDomain(), [folder]).files_read == 0
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "home").touch()
    with pytest.raises(MusicaeError, match=r"no store can be written in .*file/cache or in .*home.*MUSICAE_CACHE"):
        prepare_store(MusicDomain(), [folder])


def _may_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="this system lets no test mount a disk of its own")
def test_a_full_disk_and_one_that_is_read_only(tmp_path):
    write_tunes(tmp_path / "tunes", 60)
    write_tunes(tmp_path / "others", 3)
    script = f"""
import os, subprocess
from pathlib import Path
from musicae.data.files import prepare_store
from musicae.errors import MusicaeError
from musicae.music.domain import MusicDomain
place = Path({str(tmp_path)!r})
def mount(options):
    subprocess.run(["mount", "-o", options, "none", place / "disk"], check=True)
(place / "disk").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", place / "disk"], check=True)
try:
    prepare_store(MusicDomain(), [place / "tunes"])
except MusicaeError as error:
    print(error)
mount("remount,size=1m")
print(prepare_store(MusicDomain(), [place / "tunes"]).files_read)
print(*os.listdir(place / "disk"))
mount("remount,ro")
print(prepare_store(MusicDomain(), [place / "tunes"]).files_read)
made = prepare_store(MusicDomain(), [place / "others"])
print(made.store.parent, *made.remarks)
"""
    environment = os.environ | {"MUSICAE_CACHE": str(tmp_path / "disk"), "XDG_CACHE_HOME": str(tmp_path / "home")}
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    full, read, left, again, place = run.stdout.splitlines()
    assert full.startswith(f"no space is left in {tmp_path / 'disk'} for the store of 60 files: ")
    assert (read, again) == ("60", "0")
    assert len(left.split()) == 1
    assert place.startswith(str(tmp_path / "home" / "musicae"))
    assert "can't be written" in place
