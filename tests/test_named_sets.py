"""Sets by name, downloaded from a server on this machine."""

import functools
import hashlib
import http.server
import threading
from pathlib import Path

import pytest

from musicae.datasets.named_sets import NAMED_SETS, NamedSet, locate
from musicae.errors import MusicaeError


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serves a folder with one file, known as the set `tiny`; yields the file and the requests made."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.idx").write_bytes(b"content")
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known_hash = "md5:" + hashlib.md5(b"content").hexdigest()
    tiny = NamedSet("image", f"http://127.0.0.1:{server.server_port}/", {"a.idx": known_hash})
    monkeypatch.setitem(NAMED_SETS, "tiny", tiny)
    yield folder / "a.idx", requests
    server.shutdown()
    server.server_close()


def test_a_set_is_downloaded_once(served):
    folder = locate(Path("tiny"), "image")
    assert (folder / "a.idx").read_bytes() == b"content"
    assert locate(Path("tiny"), "image") == folder
    assert served[1] == ["/a.idx"]


def test_a_wrong_checksum_is_refused_and_leaves_nothing(served):
    served[0].write_bytes(b"something else")
    with pytest.raises(MusicaeError, match="could not download tiny"):
        locate(Path("tiny"), "image")
    served[0].write_bytes(b"content")
    assert (locate(Path("tiny"), "image") / "a.idx").read_bytes() == b"content"


def test_an_existing_folder_of_that_name_comes_first(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert locate(Path("tiny"), "image") == Path("tiny")
    assert served[1] == []


def test_other_paths_and_other_domains_are_left_alone(served):
    assert locate(Path("somewhere/else"), "image") == Path("somewhere/else")
    assert locate(Path("tiny"), "music") == Path("tiny")
