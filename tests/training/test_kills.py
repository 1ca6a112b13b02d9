"""A run survives a kill at any write, rename, fsync or removal: it loads, goes on, and ends bit for bit the same."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from killing import Disk, in_a_fork
from tile_domain import TileDomain, tiles
from tiny_models import SETTINGS, write_chords

from musicae.data.dataset import DataSet
from musicae.domains import DOMAINS
from musicae.errors import CheckpointError, MusicaeError
from musicae.shipped import find_model
from musicae.training.checkpoint import load_checkpoint
from musicae.training.experiment import Experiment
from musicae.training.run_folder import RunFolder

TILES = tiles(120)
SHORT = {"steps": 4, "evaluate_every": 2, "batch_size": 16, "precision": "no", "evaluate_examples": 16, "log_with": ()}
DOMAIN_NAMES = ("image", "music", "audio")
TINY = {"tile": {"widths": (8, 8), "latent_size": 4}} | {
    name: {key: value for key, value in SETTINGS[name].items() if key not in SHORT} for name in DOMAIN_NAMES
}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork, and /proc to know a descriptor's file")
Begun = tuple[Callable[[Path, bool], None], Path]


@pytest.fixture(scope="module")
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A function that trains or resumes a tiny run of the domain in a folder; and the folder of an unbroken one."""
    name, place = request.param, tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DOMAINS, "tile", lambda: TileDomain)
        patch.setenv("MUSICAE_CACHE", str(place / "cache"))
        data = {"tile": TILES, "audio": (write_chords(place / "chords", count=4),)}.get(name, ())
        task = "denoise" if name == "audio" else "reconstruct"
        model = "mlp" if name == "image" else None
        first = Experiment.resolve(name, task=task, data=data, model=model, settings={**SHORT, **TINY[name]})
        dataset: DataSet = first.read()

        def train(folder: Path, resume: bool) -> None:
            experiment = Experiment.of_run(folder, data=TILES if name == "tile" else None) if resume else first
            torch.set_num_threads(1)
            experiment.run(folder, dataset, resume=resume)

        train(place / "unbroken", False)
        yield train, place / "unbroken"


def content(run: Path) -> dict[str, object]:
    """The run's weights and numbers, without the time that it took."""
    found: dict[str, object] = {}
    for name in ("best", "last"):
        network, _, manifest = load_checkpoint(find_model(str(run / name)))
        found |= {f"{name} {key}": value.numpy().tobytes() for key, value in network.state_dict().items()}
        found[f"{name} metrics"] = {key: value for key, value in manifest.metrics.items() if key != "minutes"}
    vectors = find_model(str(run)) / "attributes.safetensors"
    found["attributes"] = vectors.read_bytes() if vectors.exists() else b""
    found["state"] = (find_model(str(run / "last")) / "state.safetensors").read_bytes()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["lines"] = [{key: value for key, value in line.items() if "minutes" not in key} for line in lines]
    return found


def check_goes_on(train: Callable[[Path, bool], None], run: Path, expected: dict[str, object]) -> None:
    """Loads what a kill left, goes on, and compares the end with an unbroken run's."""
    if RunFolder(run).holds_a_run:
        load_checkpoint(find_model(str(run)))
        train(run, True)
    else:
        with pytest.raises(CheckpointError):
            find_model(str(run))
        train(run, False)
    found = content(run)
    assert found.keys() == expected.keys()
    assert [key for key in found if found[key] != expected[key]] == []
    used = set(json.loads((run / "run.json").read_text()).values())
    assert {f"checkpoints/{folder.name}" for folder in (run / "checkpoints").iterdir()} == used
    assert not [path for path in run.iterdir() if path.name.startswith(".") and path.name != ".lock"]


def kill_points(train: Callable[[Path, bool], None], place: Path) -> list[str]:
    """What a whole run does to its folder."""
    listing = place / "points.txt"

    def counted() -> None:
        disk = Disk(place / "counted", at=None)
        disk.watch()
        train(place / "counted", False)
        Path(listing).write_text("\n".join(disk.points), encoding="utf-8")

    assert in_a_fork(counted) == 0
    return listing.read_text().splitlines()


def kill_at(train: Callable[[Path, bool], None], run: Path, point: int) -> None:
    def killed() -> None:
        Disk(run, at=point).watch()
        train(run, False)

    assert in_a_fork(killed) == -signal.SIGKILL


@pytest.mark.parametrize(("begun", "every"), [("tile", 12)], indirect=["begun"])
def test_a_kill_at_changes_of_the_disk_loses_nothing(begun: Begun, every: int, tmp_path: Path) -> None:
    train, unbroken = begun
    expected, points = content(unbroken), kill_points(train, tmp_path)
    assert {"fsync", "replace", "write", "mkdir", "unlink"} <= {point.split()[0] for point in points}
    saves = [point for point in points if point.startswith("replace") and point.endswith(".partial")]
    # Empty, at the start, twice while training, at the end.
    assert len([point for point in saves if ".run-" in point]) == 5
    for point in range(len(points) % every, len(points), every):
        kill_at(train, tmp_path / str(point), point)
        check_goes_on(train, tmp_path / str(point), expected)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("begun", ["tile", *DOMAIN_NAMES], indirect=True)
def test_a_kill_at_every_change_of_the_disk_loses_nothing_in_any_domain(begun: Begun, tmp_path: Path) -> None:
    test_a_kill_at_changes_of_the_disk_loses_nothing(begun, 1, tmp_path)


@pytest.mark.parametrize(("begun", "every"), [("tile", 20)], indirect=["begun"])
def test_a_disk_that_is_full_at_a_write_loses_nothing(begun: Begun, every: int, tmp_path: Path) -> None:
    train, unbroken = begun
    expected, points = content(unbroken), kill_points(train, tmp_path)
    writes = [point for point, what in enumerate(points) if what.split()[0] in ("write", "mkdir", "replace", "fsync")]
    for point in writes[::every]:
        run, told = tmp_path / str(point), tmp_path / f"{point}.txt"

        def full(run: Path = run, told: Path = told, point: int = point) -> None:
            Disk(run, at=point, fail=fill).watch()
            try:
                train(run, False)
            except MusicaeError as error:
                told.write_text(str(error), encoding="utf-8")

        assert in_a_fork(full) == 0, points[point]
        if told.exists():  # a folder whose names can't be flushed is no reason to stop
            assert "No space left on device" in told.read_text() and "MB are free" in told.read_text()
        check_goes_on(train, run, expected)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("begun", ["tile", *DOMAIN_NAMES], indirect=True)
def test_a_disk_that_is_full_at_any_write_loses_nothing(begun: Begun, tmp_path: Path) -> None:
    test_a_disk_that_is_full_at_a_write_loses_nothing(begun, 1, tmp_path)


def fill() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("begun", ["tile"], indirect=True)
def test_a_disk_that_fills_up_is_reported_with_the_space_that_is_left(begun: Begun, tmp_path: Path) -> None:
    train, unbroken = begun
    small = tmp_path / "small"
    small.mkdir()
    sizes = [path.stat().st_size for path in (unbroken / "checkpoints").rglob("*") if path.is_file()]
    limit = f"size={sum(sizes) // 2 // 4096 * 4096}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", limit, "tmpfs", small], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here, which needs root")
    try:
        with pytest.raises(MusicaeError, match="MB are free there"):
            train(small / "run", False)
        before = RunFolder(small / "run").holds_a_run
        subprocess.run(["mount", "-o", "remount,size=100M", small], check=True)
        assert before == RunFolder(small / "run").holds_a_run
        check_goes_on(train, small / "run", content(unbroken))
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("begun", DOMAIN_NAMES, indirect=True)
def test_fifty_kills_at_random_lose_nothing(begun: Begun, tmp_path: Path) -> None:
    train, unbroken = begun
    expected, started = content(unbroken), time.perf_counter()
    assert in_a_fork(lambda: train(tmp_path / "timed", False)) == 0
    took, chance = time.perf_counter() - started, random.Random(0)
    for number in range(50):
        run, at = tmp_path / str(number), chance.uniform(0, took)

        def killed(run: Path = run, at: float = at) -> None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the system ends the process, wherever it is
            signal.setitimer(signal.ITIMER_REAL, max(at, 1e-3))
            train(run, False)

        assert in_a_fork(killed) in (0, -signal.SIGALRM)
        check_goes_on(train, run, expected)
