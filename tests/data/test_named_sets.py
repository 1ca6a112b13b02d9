"""Sets by name, downloaded from a server on this machine."""

import functools
import hashlib
import http.server
import io
import re
import tarfile
import threading
from pathlib import Path

import pytest
from cifar_batches import write_set
from click.testing import CliRunner

from musicae.cli import main
from musicae.data.named_sets import NAMED_SETS, NamedSet, locate
from musicae.domains import domain_class
from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate_files
from musicae.training.experiment import Experiment

CIFAR = NAMED_SETS["cifar10"]


@pytest.fixture
def server(tmp_path):
    """Serves a folder; yields it, its address, the requests made, and what stops it."""
    folder = tmp_path / "served"
    folder.mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop():
        server.shutdown()
        server.server_close()

    yield folder, f"http://127.0.0.1:{server.server_port}/", requests, stop
    stop()


@pytest.fixture
def served(server, monkeypatch):
    """One file, known as the set `tiny`; gives the file and the requests made."""
    folder, address, requests, _ = server
    (folder / "a.idx").write_bytes(b"content")
    monkeypatch.setitem(NAMED_SETS, "tiny", NamedSet("image", address, {"a.idx": md5_of(b"content")}))
    return folder / "a.idx", requests


@pytest.fixture
def packed(server, tmp_path, monkeypatch):
    """A small CIFAR-10, packed as the true one is and in the place of it; gives the archive and what `server` does."""
    write_set(tmp_path / "cifar-10-batches-bin", training=10)
    archive = server[0] / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    register(archive, server[1], monkeypatch)
    return archive, *server[1:]


def md5_of(content: bytes) -> str:
    return "md5:" + hashlib.md5(content).hexdigest()


def register(archive: Path, address: str, monkeypatch) -> None:
    files = {archive.name: md5_of(archive.read_bytes())}
    monkeypatch.setitem(NAMED_SETS, "cifar10", CIFAR._replace(base_url=address, files=files))


def test_a_set_is_downloaded_once(served):
    folder = locate(Path("tiny"), "image")
    assert (folder / "a.idx").read_bytes() == b"content"
    assert locate(Path("tiny"), "image") == folder
    assert served[1] == ["/a.idx"]


def test_a_wrong_checksum_is_refused_and_leaves_nothing(served):
    served[0].write_bytes(b"something else")
    with pytest.raises(MusicaeError, match="could not get tiny"):
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


def test_an_archive_is_downloaded_and_unpacked_once(packed, tmp_path):
    folder = locate(Path("cifar10"), "image")
    for name in CIFAR.members:
        assert (folder / name).read_bytes() == (tmp_path / "cifar-10-batches-bin" / name).read_bytes()
    packed[3]()
    assert locate(Path("cifar10"), "image") == folder
    assert packed[2] == ["/cifar-10-binary.tar.gz"]


def test_what_was_not_unpacked_before_is_now(packed):
    folder = locate(Path("cifar10"), "image")
    (folder / "test_batch.bin").unlink()
    locate(Path("cifar10"), "image")
    assert (folder / "test_batch.bin").stat().st_size == 3 * 3073
    assert len(packed[2]) == 1


def test_an_archive_writes_nothing_but_the_sets_files(server, tmp_path, monkeypatch):
    archive = server[0] / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("../../outside.txt", str(tmp_path / "absolute.txt"), "x/extra.bin"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "victim")
        tar.addfile(link)
        for name in CIFAR.members:
            info = tarfile.TarInfo(f"../../{name}")
            info.size, info.mode = 5, 0o777
            tar.addfile(info, io.BytesIO(b"bytes"))
    register(archive, server[1], monkeypatch)
    before = {path for path in tmp_path.rglob("*") if ".musicae-cache" not in path.parts}
    folder = locate(Path("cifar10"), "image")
    assert {path.name for path in folder.iterdir()} == {*CIFAR.members, archive.name}
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert (folder / "data_batch_1.bin").read_bytes() == b"bytes"
    assert {path for path in tmp_path.rglob("*") if ".musicae-cache" not in path.parts} == before
    assert [path.name for path in (tmp_path / ".musicae-cache").iterdir()] == ["sets"]
    assert [path.name for path in (tmp_path / ".musicae-cache" / "sets").iterdir()] == ["cifar10"]


def test_an_archive_without_the_sets_files_is_refused(server, monkeypatch):
    archive = server[0] / "cifar-10-binary.tar.gz"
    for write in (lambda: tarfile.open(archive, "w:gz").close(), lambda: archive.write_bytes(b"no archive")):
        write()
        register(archive, server[1], monkeypatch)
        with pytest.raises(MusicaeError, match="could not get cifar10"):
            locate(Path("cifar10"), "image")


def test_a_set_by_name_is_learned_and_scored(packed, image):
    experiment = Experiment.resolve("image", data=[Path("cifar10")], settings={"labels": True})
    assert experiment.domain.spec.shape == (3, 32, 32)
    assert experiment.domain.config.classes[0] == "airplane"
    counts = {split: len(rows) for split, rows in experiment.read().splits.items()}
    assert (counts["train"] + counts["validation"], counts["test"]) == (50, 3)
    assert evaluate_files(image, [Path("cifar10")])["mse"] > 0
    assert len(packed[2]) == 1


def test_without_a_network_a_name_is_one_sentence_and_a_folder_is_read(packed, tmp_path):
    packed[3]()
    train = ["train", "--domain", "image", "--dry-run", "--data"]
    refused = CliRunner().invoke(main, [*train, "cifar10"])
    assert refused.exit_code == 2
    assert re.fullmatch(r"Error: could not get cifar10 \([^\n]+\); check the network [^\n]*\n", refused.stderr)
    read = CliRunner().invoke(main, [*train, str(tmp_path / "cifar-10-batches-bin")])
    assert (read.exit_code, '"size": 32' in read.stdout) == (0, True)
    assert packed[2] == []


@pytest.mark.parametrize("name", NAMED_SETS)
def test_every_set_has_checksums_and_files_that_its_domain_reads(name):
    known = NAMED_SETS[name]
    domain = domain_class(known.domain)()
    assert re.fullmatch(r"https?://.*/", known.base_url)
    assert all(re.fullmatch("md5:[0-9a-f]{32}", checksum) for checksum in known.files.values())
    files = [Path(file) for file in known.members or known.files]
    splits = {domain.official_split(file) for file in files if domain.reads(file)}
    assert splits == {None, "test"}


def test_the_help_of_data_names_the_sets():
    for command in ("train", "evaluate"):
        text = " ".join(CliRunner().invoke(main, [command, "--help"]).stdout.split())
        assert "(mnist, fashion-mnist, cifar10)" in text
