"""Several processes: they lose what one does, end together, and are not started by a launcher that joins none."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from tile_domain import TileDomain, tiles

from musicae.domains import DOMAINS
from musicae.errors import MusicaeError
from musicae.shipped import find_model
from musicae.training.callbacks import Callback
from musicae.training.checkpoint import load_checkpoint
from musicae.training.experiment import Experiment
from musicae.training.process import is_main_process, refuse_wrong_count

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("reconstruct", "denoise")
# Neither batches nor the parts of the validation split (two) can be divided evenly among three processes.
SETTINGS = {"widths": (8,), "latent": "gaussian", "latent_size": 4, "batch_size": 32, "warmup_steps": 2, "steps": 12}
SETTINGS |= {"precision": "no", "evaluate_every": 2, "log_with": ()}
TILES = tiles(7000)


class StopAt(Callback):
    """Ends a run at a step, in the process of a rank."""

    def __init__(self, step: int, rank: int = 0) -> None:
        self.step, self.rank = step, rank

    def on_step(self, run):
        if run.step == self.step and int(os.environ.get("RANK", "0")) == self.rank:
            run.stop()


def train(folder: Path, *, task: str = "reconstruct", resume: bool = False, stop: StopAt | None = None, **more) -> None:
    DOMAINS["tile"] = lambda: TileDomain
    if resume:
        experiment = Experiment.of_run(folder, data=TILES)
    else:
        experiment = Experiment.resolve("tile", task=task, data=TILES, settings={**SETTINGS, **more})
    callbacks = () if stop is None else (stop,)
    experiment.run(folder, experiment.read(), resume=resume, callbacks=callbacks)


def losses(folder: Path) -> dict[tuple[int, str], float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {(line["step"], name): line[name] for line in lines for name in line if name.endswith("/loss")}
    assert len(found) == len(lines)
    return found


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(find_model(f"{folder}/last"))[0].state_dict()


def environment(folder: Path, **more: str) -> dict[str, str]:
    places = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    return {**os.environ, "MUSICAE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": places, **more}


def launched(folder: Path, processes: int, *command: str) -> str:
    """Processes started as the documentation says; what they print on standard error."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*launch, *command], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(autouse=True)
def _tile_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)


THREE = """
import json, os, sys
from pathlib import Path
from musicae.errors import MusicaeError
from musicae.models.conv import ConvAutoencoder
from musicae.training.callbacks import Callback
from test_several_processes import StopAt, TASKS, train

folder, rank = Path(sys.argv[1]), os.environ["RANK"]

class Remember(Callback):
    def on_end(self, run):
        (folder / f"{name}-{rank}.json").write_text(json.dumps([run.step, run.metrics["loss"]]))

class StopAndRemember(StopAt, Remember):
    pass

try:
    train(folder / "small", batch_size=2)
except MusicaeError as error:
    (folder / f"small-{rank}.txt").write_text(str(error))
for task in TASKS:
    train(folder / f"{task}-3", task=task)
train(folder / "begun-with-1", resume=True)
train(folder / "begun-with-3", stop=StopAt(6, rank=2))

name = "stop"
train(folder / name, stop=StopAndRemember(7, rank=1))
forward, calls = ConvAutoencoder.forward, []

def parting(self, *args, **kwargs):
    # One process sees ever lower losses, the others ever the same.
    loss = forward(self, *args, **kwargs)
    if not self.training:
        calls.append(1)
        loss = loss._replace(total=loss.total * 0 - (len(calls) if rank == "1" else 0))
    return loss

ConvAutoencoder.forward = parting
name = "part"
train(folder / name, stop=Remember(), patience=2)
"""


def test_three_processes_lose_what_one_does_and_end_together(tmp_path):
    train(tmp_path / "begun-with-1", stop=StopAt(6))
    (tmp_path / "three.py").write_text(THREE, encoding="utf-8")
    place = launched(tmp_path, 3, "three.py", str(tmp_path))
    assert "training on the CPU in 3 processes of 1 thread, precision float32\n" in place
    for rank in range(3):
        said = (tmp_path / f"small-{rank}.txt").read_text(encoding="utf-8")
        assert said == "3 processes can't share batches of 2; start fewer."
    for task in TASKS:
        train(tmp_path / f"{task}-1", task=task)
        alone = losses(tmp_path / f"{task}-1")
        assert [step for step, _ in alone] == [2, 4, 6, 8, 10, 12]
        assert losses(tmp_path / f"{task}-3") == pytest.approx(alone, rel=1e-5)
    # Another number of processes goes on.
    train(tmp_path / "begun-with-3", resume=True)
    alone = losses(tmp_path / "reconstruct-1")
    for name in ("begun-with-1", "begun-with-3"):
        assert losses(tmp_path / name) == pytest.approx(alone, rel=1e-5)
        went_on, unbroken = (last_weights(tmp_path / run) for run in (name, "reconstruct-1"))
        assert all(torch.allclose(went_on[key], unbroken[key], rtol=1e-3, atol=1e-5) for key in unbroken)
    # Scores and callbacks that differ.
    for name, step in (("stop", 7), ("part", 12)):
        ends = [json.loads((tmp_path / f"{name}-{rank}.json").read_text(encoding="utf-8")) for rank in range(3)]
        assert ends == [ends[0]] * 3
        assert ends[0][0] == step


def test_a_killed_process_ends_the_others_and_the_run_goes_on(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    begin = "import sys; from pathlib import Path; from test_several_processes import MusicaeError, train\n"
    begin += "try: train(Path('run'), steps=10**6)\nexcept MusicaeError as error: sys.exit(str(error))"
    with ExitStack() as stack:
        processes = []
        for rank in ("0", "1"):
            where = environment(tmp_path, RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            said = stack.enter_context((tmp_path / f"said-{rank}.txt").open("w"))
            process = subprocess.Popen([sys.executable, "-c", begin], cwd=tmp_path, env=where, stderr=said)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        deadline = time.monotonic() + 120
        metrics = tmp_path / "run" / "metrics.jsonl"
        while not metrics.exists() or (4, "validation/loss") not in losses(tmp_path / "run"):
            assert time.monotonic() < deadline
            assert all(process.poll() is None for process in processes), (tmp_path / "said-0.txt").read_text()
            time.sleep(0.1)
        processes[1].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        status = processes[0].wait(60)
        assert time.monotonic() - killed < 30
    last = (tmp_path / "said-0.txt").read_text(encoding="utf-8")
    # Seldom gloo aborts the process that lost its peer, and nothing in Python can be told of it.
    assert status in (1, -signal.SIGABRT), last
    if status == 1:
        assert last.splitlines()[-1].startswith("another process of this run ended or can't be reached")
    step = max(losses(tmp_path / "run"))[0]
    train(tmp_path / "run", resume=True, stop=StopAt(step + 3))
    history = losses(tmp_path / "run")
    assert max(history)[0] == step + 3
    train(tmp_path / "alone", steps=10**6, stop=StopAt(step + 3))
    assert losses(tmp_path / "alone") == pytest.approx(history, rel=1e-4)


SAID = {
    "two of a launcher": ({"WORLD_SIZE": "2", "RANK": "0"}, 1),
    "two of MPI": ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, 1),
    "four of srun": ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}, 1),
    "accelerate launch --cpu": ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}, 1),
    "one of two": ({"WORLD_SIZE": "2"}, 3),
}
FITTING = {
    "nothing": ({}, 1),
    "torchrun": ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, 2),
    "torchrun in each of four tasks": ({"WORLD_SIZE": "16", "SLURM_STEP_NUM_TASKS": "4"}, 16),
    "a script in a job of four tasks": ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 1),
    "srun of one task": ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, 1),
    "accelerate launch of one": ({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True"}, 1),
    "accelerate launch on GPUs": ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "a", "WORLD_SIZE": "2"}, 2),
    "a cluster that names a host": ({"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}, 1),
}


@pytest.mark.parametrize("name", SAID)
def test_a_launcher_whose_processes_were_not_joined_is_refused(name):
    variables, processes = SAID[name]
    with pytest.raises(MusicaeError, match=r"torch\.distributed joins .*: torchrun "):
        refuse_wrong_count(processes, variables)


@pytest.mark.parametrize("name", FITTING)
def test_a_launcher_whose_count_is_the_number_of_processes_is_not(name):
    variables, processes = FITTING[name]
    refuse_wrong_count(processes, variables)


def test_a_launcher_that_joins_nothing_is_refused_before_a_step(tmp_path, monkeypatch):
    for name, value in SAID["accelerate launch --cpu"][0].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MusicaeError, match="accelerate launch was asked for several processes and started one"):
        train(tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("variable", ["RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK"])
def test_of_several_processes_the_first_is_the_main_one(monkeypatch, variable):
    assert is_main_process()
    for rank, is_main in (("0", True), ("1", False)):
        monkeypatch.setenv(variable, rank)
        assert is_main_process() is is_main
