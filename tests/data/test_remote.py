"""Data in object stores and on web servers, with fsspec's file system in memory and a web server of this process."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from tune_files import SCALE, write_tune, write_tunes

from musicae.cli import main
from musicae.data.dataset import load_dataset
from musicae.data.files import prepare_store
from musicae.data.named_sets import locate
from musicae.data.remote import fetch, is_remote, url_of
from musicae.data.store import open_store
from musicae.errors import MusicaeError
from musicae.music.domain import MusicDomain


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """A URL of tunes in memory; one is in a folder below."""
    folder = write_tunes(tmp_path / "original" / "tunes", 6)
    (folder / "below").mkdir()
    (folder / "tune-005.mid").rename(folder / "below" / "tune-005.mid")
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/bucket/tunes", recursive=True)
    yield "memory://bucket/tunes"
    system.rm("/bucket", recursive=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a web server, and the folder that it serves."""
    pytest.importorskip("aiohttp")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}", folder
    serving.shutdown()
    thread.join()
    serving.server_close()


def states(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path.relative_to(folder).as_posix(): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {name: (state.st_ino, state.st_mtime_ns) for name, state in found.items()}


def test_data_in_an_object_store_are_those_of_the_files(tmp_path, bucket):
    folder = locate(Path(bucket), "music")
    there, here = (load_dataset(MusicDomain(), [place]) for place in (folder, tmp_path / "original" / "tunes"))
    assert folder.name == "tunes"
    assert np.array_equal(there.examples, here.examples)
    assert there.content == here.content
    result = CliRunner().invoke(main, ["prepare", bucket, "--domain", "music"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == "12 examples of 6 items in 6 files"
    assert Path(result.output.splitlines()[-1].removeprefix("store: ")).name == there.fingerprint


def test_only_what_changed_is_copied_again(tmp_path, bucket):
    first = fetch(bucket, tmp_path / "cache")
    before = states(first)
    assert len(before) == 6
    assert fetch(Path(bucket), tmp_path / "cache") == first
    assert states(first) == before
    system = fsspec.filesystem("memory")
    system.put(str(write_tune(tmp_path / "other.mid", SCALE + SCALE[:4])), "/bucket/tunes/tune-001.mid")
    system.rm("/bucket/tunes/tune-002.mid")
    (first / "tune-003.mid").write_bytes(b"damaged")
    assert fetch(bucket, tmp_path / "cache") == first
    after = states(first)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {"tune-001.mid", "tune-002.mid", "tune-003.mid"}
    assert len(after) == 5
    assert (first / "tune-001.mid").read_bytes() == (tmp_path / "other.mid").read_bytes()
    original = (tmp_path / "original" / "tunes" / "tune-003.mid").read_bytes()
    assert (first / "tune-003.mid").read_bytes() == original


def test_copies_on_two_machines_have_the_same_fingerprint(tmp_path, bucket):
    folders = [fetch(bucket, tmp_path / machine) for machine in "ab"]
    first, second = (load_dataset(MusicDomain(), [folder], cache=tmp_path / "stores") for folder in folders)
    assert first.fingerprint == second.fingerprint


def test_a_folder_and_a_file_of_a_web_server(tmp_path, server):
    url, folder = server
    write_tunes(folder / "tunes", 3)
    here = load_dataset(MusicDomain(), [folder / "tunes"])
    fetched = fetch(Path(f"{url}/tunes"), tmp_path / "cache")
    assert load_dataset(MusicDomain(), [fetched]).content == here.content
    before = states(fetched)
    assert states(fetch(f"{url}/tunes", tmp_path / "cache")) == before
    os.utime(folder / "tunes" / "tune-001.mid", (1, 1))  # what the server states is no longer what it was
    after = states(fetch(f"{url}/tunes", tmp_path / "cache"))
    assert {name for name in before if after[name] != before[name]} == {"tune-001.mid"}
    single = fetch(f"{url}/tunes/tune-002.mid", tmp_path / "cache")
    assert single.read_bytes() == (folder / "tunes" / "tune-002.mid").read_bytes()


def test_a_store_in_a_remote_cache_is_copied_and_checked(tmp_path, monkeypatch, capsys):
    folder = write_tunes(tmp_path / "tunes", 4)
    monkeypatch.setattr("musicae.data.files.user_cache_folder", lambda: tmp_path / "home")
    here = load_dataset(MusicDomain(), [folder])
    store = tmp_path / ".musicae-cache" / here.fingerprint
    monkeypatch.setenv("MUSICAE_CACHE", "memory://team/cache")
    system = fsspec.filesystem("memory")
    system.put(str(store), f"/team/cache/{here.fingerprint}", recursive=True)
    prepared = prepare_store(MusicDomain(), [folder])
    assert prepared.files_read == 0
    assert open_store(prepared.store).report == here.report
    system.pipe_file(f"/team/cache/{here.fingerprint}/examples.bin", b"damaged")
    again = prepare_store(MusicDomain(), [folder])
    assert (again.files_read, again.store) == (4, tmp_path / "home" / here.fingerprint)
    assert "examples.bin is 7 bytes" in capsys.readouterr().err
    system.rm("/team", recursive=True)
    assert prepare_store(MusicDomain(), [folder]).files_read == 0


def test_what_is_not_there_or_not_reachable_is_one_sentence(tmp_path, server):
    url, _ = server
    for place, said in (
        ("memory://bucket/nothing", "there is nothing at"),
        (f"{url}/nothing", "there is nothing at"),
        ("http://127.0.0.1:1/tunes", "nothing at http://127.0.0.1:1/tunes, or it can't be reached"),
        ("nosuchprotocol://bucket/tunes", "could not get .*rotocol"),
        ("memory://", "names no file"),
    ):
        with pytest.raises(MusicaeError, match=said) as caught:
            fetch(place, tmp_path / "cache")
        assert "\n" not in str(caught.value)


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    def missing(*_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(MusicaeError, match=r"Install s3fs to access S3.*musicae\[remote\]"):
        fetch("s3://bucket/tunes", tmp_path)


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, monkeypatch):
    system = fsspec.filesystem("memory")
    listed = {"/bucket/tunes/../../evil.mid": {"size": 1}}
    monkeypatch.setattr(type(system), "find", lambda *_, **__: listed)
    with pytest.raises(MusicaeError, match="no name of a file below it"):
        fetch("memory://bucket/tunes", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_drive_or_a_plain_path_is_no_url():
    assert [is_remote(place) for place in ("C:/data", "data/tunes", "/a:/b", Path("C:/data"), "mnist")] == [False] * 5
    for url in ("s3://bucket/a/b", "http://127.0.0.1:80/a", "memory://a"):
        assert is_remote(url) and is_remote(Path(url))
        assert url_of(Path(url)) == url_of(url) == url
