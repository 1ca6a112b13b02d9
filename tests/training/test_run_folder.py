"""A run's folder: one process at a time, runs of the former layout, permissions, and pointers that can't be trusted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tile_domain import TileDomain, tiles

from musicae.domains import DOMAINS
from musicae.errors import CheckpointError, MusicaeError
from musicae.shipped import POINTER, find_model
from musicae.training.callbacks import Callback, RunStatus
from musicae.training.checkpoint import load_checkpoint, read_manifest
from musicae.training.experiment import run_folder, run_training
from musicae.training.run_folder import RunFolder

TINY = {"widths": (8, 8), "latent_size": 4, "batch_size": 32, "precision": "no", "log_with": (), "evaluate_every": 3}
TILES = tiles(240)
HOLD = """
import sys
from pathlib import Path
from musicae.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _tile_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run: RunStatus) -> None:
        if run.step == self.step:
            run.stop()


def train(folder: Path, *, steps: int = 9, stop_at: int | None = None, resume: bool = False) -> Path:
    callbacks = [] if stop_at is None else [StopAt(stop_at)]
    return run_training("tile", data=TILES, out=folder, steps=steps, callbacks=callbacks, resume=resume, **TINY)


def weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(find_model(str(run / name)))[0].state_dict()


def in_former_layout(run: Path) -> None:
    """Renames a run's checkpoints as former versions called them."""
    best, last = RunFolder(run).best, RunFolder(run).last
    (run / "state").mkdir()
    for file in ("state.safetensors", "state.json"):
        (last / file).rename(run / "state" / file)
    last.rename(run / "last")
    best.rename(run / "best")
    (run / "checkpoints").rmdir()
    (run / POINTER).unlink()
    (run / ".lock").unlink()


def test_a_run_of_the_former_layout_is_loaded_and_goes_on(tmp_path: Path) -> None:
    train(tmp_path / "unbroken")
    train(tmp_path / "former", stop_at=6)
    in_former_layout(tmp_path / "former")
    assert find_model(str(tmp_path / "former")) == tmp_path / "former" / "best"
    train(tmp_path / "former", resume=True)
    for name in ("best", "last"):
        former, unbroken = (weights(tmp_path / run, name) for run in ("former", "unbroken"))
        assert all(torch.equal(former[key], unbroken[key]) for key in unbroken)
    left = {path.name for path in (tmp_path / "former").iterdir()}
    assert left == {".lock", "run.json", "checkpoints", "previews", "metrics.jsonl"}


def test_a_former_best_checkpoint_stays_until_there_is_a_better_one(tmp_path: Path) -> None:
    train(tmp_path / "run", stop_at=6)
    in_former_layout(tmp_path / "run")
    state = tmp_path / "run" / "state" / "state.json"
    counters = json.loads(state.read_text(encoding="utf-8"))
    state.write_text(json.dumps({**counters, "best_total": -1e9}), encoding="utf-8")  # never reached again
    train(tmp_path / "run", stop_at=8, resume=True)
    assert read_manifest(find_model(str(tmp_path / "run"))).data["updates_in_all"] == 8
    assert json.loads((tmp_path / "run" / POINTER).read_text(encoding="utf-8"))["best"] == "checkpoints/best-final"


def test_a_former_folder_whose_replacement_was_cut_short_comes_back(tmp_path: Path) -> None:
    train(tmp_path / "run", stop_at=6)
    in_former_layout(tmp_path / "run")
    (tmp_path / "run" / "last").rename(tmp_path / "run" / ".last.old-123")
    (tmp_path / "run" / ".state.writing-123").mkdir()
    with RunFolder(tmp_path / "run").locked():
        assert find_model(str(tmp_path / "run" / "last")) == tmp_path / "run" / "last"
    assert not list((tmp_path / "run").glob(".*-123"))


def test_of_two_processes_in_one_folder_the_second_is_told(tmp_path: Path) -> None:
    train(tmp_path / "run", stop_at=3)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(MusicaeError, match="another process is training in"):
            train(tmp_path / "run", resume=True)
        assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
        other.kill()  # the lock goes with the process
    train(tmp_path / "run", resume=True)


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(MusicaeError, match="is a file, and a run is a folder"):
        run_folder("tile", "reconstruct", tmp_path / "run")


def test_a_folder_that_another_process_took_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    from musicae.training.experiment import Experiment

    experiment = Experiment.resolve("tile", data=TILES, settings={**TINY, "steps": 3})
    dataset = experiment.read()
    train(tmp_path / "run", steps=3)
    with pytest.raises(MusicaeError, match="already holds a run"):
        experiment.run(tmp_path / "run", dataset)


def test_all_files_of_a_run_may_be_read_by_the_same_people(tmp_path: Path) -> None:
    train(tmp_path / "run")
    assert len({path.stat().st_mode for path in (tmp_path / "run").rglob("*") if path.is_file()}) == 1


def test_only_the_last_checkpoint_keeps_a_state_and_only_what_is_used_stays(tmp_path: Path) -> None:
    best = train(tmp_path / "run", steps=12)
    last = RunFolder(tmp_path / "run").last
    assert {path.parent for path in (tmp_path / "run").rglob("state.*")} == {last}
    assert set((tmp_path / "run" / "checkpoints").iterdir()) == {best, last}


def test_checkpoints_without_their_pointer_are_kept_and_nothing_is_written(tmp_path: Path) -> None:
    train(tmp_path / "run", stop_at=6)
    (tmp_path / "run" / POINTER).unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for resume in (False, True):
        with pytest.raises(MusicaeError):
            train(tmp_path / "run", resume=resume)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ('{"best": "/etc", "last": "/etc"}', "outside of its folder"),
        ('{"best": "../other", "last": "../other"}', "outside of its folder"),
        ('{"best": "C:x", "last": "a"}', "outside of its folder"),
        ('{"best": 3, "last": 3}', "is damaged"),
        ("[", "is damaged"),
        ("[" * 5000, "is damaged"),
        ('{"best": "gone", "last": "gone"}', "neither it nor its best checkpoint"),
    ],
)
def test_a_pointer_that_can_not_be_trusted_is_refused(pointer: str, words: str, tmp_path: Path) -> None:
    (tmp_path / POINTER).write_text(pointer, encoding="utf-8")
    with pytest.raises(CheckpointError, match=words):
        find_model(str(tmp_path))


def test_a_file_of_the_pointers_name_beside_an_unknown_model_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / POINTER).write_text("[]", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="unknown model 'nothing'"):
        find_model("nothing")
