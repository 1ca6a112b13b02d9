"""How fast music is read, learned, sampled and morphed, beside what others use; results as JSON and one table.

    python experiments/music.py --sets FOLDER --only reading training

`--sets` is a folder with the unpacked data sets, one sub-folder each. Whatever is compared is measured
in turns on the same machine, and the medians are what counts; how loaded the machine was stands beside
each result.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from pretty_midi_reading import read_with_pretty_midi

from musicae.data.dataset import DataSet, find_files
from musicae.data.file_sets import prepare_store
from musicae.data.store import open_store
from musicae.errors import MusicaeError
from musicae.models import build_model
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import Manifest
from musicae.training.experiment import Experiment
from musicae.training.loop import TrainingRun
from musicae.training.run_log import RunLog

RESULTS = Path(__file__).parent / "music.json"
CLI = Path(__file__).parent.parent / "cli.py"
READ = ("nottingham", "pop909")
_BATCH = 192  # of `melody-2bar` in figures.py
_DRAWS = 1000
_LONG_LATENT = 512  # of `melody-16bar` in figures.py


def medians(rounds: int, acts: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median seconds of each act; the acts take turns, so that a busy minute of the machine hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            seconds[name].append(act())
    return {name: statistics.median(times) for name, times in seconds.items()}


# Reading


def reading(sets: Path, rounds: int, copies: int) -> dict[str, Any]:
    """Nottingham and POP909 to windows of two bars: seconds of one process, of two, and of pretty_midi.

    The two sets take less time than processes take to start, so one and two processes are also
    compared on `copies` copies of them.
    """
    domain = MusicDomain()
    places = [sets / name for name in READ]
    files = [path for _, path in find_files(domain, places)]
    counts: dict[str, int] = {}

    def ours(paths: list[Path], processes: int) -> Callable[[], float]:
        def act() -> float:
            with tempfile.TemporaryDirectory() as cache:
                started = time.perf_counter()
                prepared = prepare_store(domain, paths, cache=Path(cache), processes=processes)
                seconds = time.perf_counter() - started
                counts["windows"] = len(open_store(prepared.store).examples) // (1 if paths is places else copies)
            return seconds

        return act

    def theirs() -> float:
        started = time.perf_counter()
        counts["pretty_midi_windows"] = sum(len(read_with_pretty_midi(path)) for path in files)
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        many = [Path(folder) / f"{name}-{number}" for number in range(copies) for name in READ]
        for place in many:
            shutil.copytree(sets / place.name.rpartition("-")[0], place)
        ours(many, 0)()  # so that all of it is in memory
        found = medians(
            rounds, {"one": ours(places, 0), "pretty": theirs, "one_of_many": ours(many, 0), "two": ours(many, 2)}
        )
    return {
        "files": len(files),
        **counts,
        "one_process_s": found["one"],
        "pretty_midi_s": found["pretty"],
        "files_per_s": len(files) / found["one"],
        "windows_per_s": counts["windows"] / found["one"],
        "times_pretty_midi": found["pretty"] / found["one"],
        "copies": copies,
        "copies_one_process_s": found["one_of_many"],
        "copies_two_processes_s": found["two"],
        "two_processes_times_one": found["one_of_many"] / found["two"],
    }


# Training


def training(sets: Path, rounds: int, updates: int) -> dict[str, Any]:
    """Windows a second that the default model and the MusicVAE baseline learn from, with the same loop and batch."""
    settings = {"batch_size": _BATCH, "steps": 10_000_000, "evaluate_examples": 64}
    with tempfile.TemporaryDirectory() as folder:
        experiments = {
            name: Experiment.resolve("music", data=[sets / READ[0]], model=name, settings=settings)
            for name in ("steps", "musicvae")
        }
        dataset = experiments["steps"].read()
        acts = {}
        with RunLog(Path(folder), visible=False) as log:
            for name, experiment in experiments.items():
                acts[name] = _block(experiment, dataset, Path(folder) / name, log, updates)
                acts[name]()  # the first updates allocate
            found = medians(rounds, acts)
    speed = {name: _BATCH * updates / seconds for name, seconds in found.items()}
    return {
        "batch": _BATCH,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "steps_windows_per_s": speed["steps"],
        "musicvae_windows_per_s": speed["musicvae"],
        "times_musicvae": speed["steps"] / speed["musicvae"],
    }


def _block(experiment: Experiment, dataset: DataSet, folder: Path, log: RunLog, updates: int) -> Callable[[], float]:
    """A function that trains for some updates and says how many seconds they took."""
    manifest = experiment.manifest
    model = build_model(manifest.model, experiment.domain.spec, manifest.model_settings)
    run = TrainingRun(experiment.domain, model, dataset, experiment.config, manifest, folder)

    def act() -> float:
        started = time.perf_counter()
        for _ in range(updates):
            run.update(log)  # looks at the gradient's norm, so it waits for the device
        return time.perf_counter() - started

    return act


# Sampling and morphing


def sampling(rounds: int, draws: int = _DRAWS) -> dict[str, Any]:
    """Seconds for so many melodies of 2 and of 16 bars on the CPU, and for one."""
    models = {bars: _melody_model(bars) for bars in (2, 16)}
    acts = {
        f"{bars}bar_{count}": _sampling(model, count) for bars, (model, _) in models.items() for count in (draws, 1)
    }
    for act in acts.values():
        act()
    found = medians(rounds, acts)
    return {
        "draws": draws,
        "weights": {f"{bars}bar": weights for bars, (_, weights) in models.items()},
        "two_bar_s": found[f"2bar_{draws}"],
        "sixteen_bar_s": found[f"16bar_{draws}"],
        "sixteen_times_two": found[f"16bar_{draws}"] / found[f"2bar_{draws}"],
        "one_two_bar_s": found["2bar_1"],
        "one_sixteen_bar_s": found["16bar_1"],
        "one_sixteen_times_two": found["16bar_1"] / found["2bar_1"],
    }


def _sampling(model: TrainedModel, count: int) -> Callable[[], float]:
    def act() -> float:
        started = time.perf_counter()
        model.sample(count, seed=0)
        return time.perf_counter() - started

    return act


def _melody_model(bars: int) -> tuple[TrainedModel, str]:
    """The shipped model, or one of the same size with random weights, which takes as long."""
    try:
        return load(f"melody-{bars}bar", "cpu"), "shipped"
    except MusicaeError:
        domain = MusicDomain(MusicConfig(bars=bars))
        sizes = {"latent_size": _LONG_LATENT} if bars > 2 else {}
        torch.manual_seed(0)
        model = build_model("steps", domain.spec, sizes)
        settings = domain.config.model_dump(mode="json")
        manifest = Manifest(
            domain="music", domain_settings=settings, task="reconstruct", model="steps", model_settings=sizes
        )
        return TrainedModel(model, domain, manifest, "cpu"), "random"


def interpolate(rounds: int) -> dict[str, Any]:
    """Seconds of wall time of `musicae interpolate a.mid b.mid` in a process of its own, from a cold start."""
    domain = MusicDomain()
    with tempfile.TemporaryDirectory() as folder:
        ends = []
        for (_, reading), name in zip(domain.starter(), ("a", "b"), strict=False):
            ends.append(Path(folder) / f"{name}.mid")
            domain.write(domain.to_tensor(torch.from_numpy(reading.examples[:1].copy())), ends[-1])
        command = [sys.executable, str(CLI), "interpolate", *map(str, ends), "--out", str(Path(folder) / "path")]
        seconds = []
        for _ in range(rounds):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return {"failed": done.stderr.strip().splitlines()[-1:]}
            seconds.append(time.perf_counter() - started)
    return {"cold_s": statistics.median(seconds)}


# Results


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as one table, with what was to be reached."""
    lines = ["| speed | measured | to be reached |", "|---|---|---|"]
    for part, what, wanted in (
        ("reading", "reading and windowing {files} files, one process: {one_process_s:.2f} s, "
         "{files_per_s:.0f} files/s, {windows_per_s:.0f} windows/s | "
         "{times_pretty_midi:.0f} × pretty_midi ({pretty_midi_s:.1f} s)", "50 ×"),
        ("reading", "two processes, {copies} copies of them: {copies_two_processes_s:.2f} s | "
         "{two_processes_times_one:.2f} × one ({copies_one_process_s:.2f} s)", "1.7 ×"),
        ("training", "training the default 2-bar model on {device}: {steps_windows_per_s:.0f} windows/s | "
         "{times_musicvae:.1f} × `musicvae` ({musicvae_windows_per_s:.0f} windows/s)", "3 ×"),
        ("sampling", "sampling {draws} two-bar melodies | {two_bar_s:.2f} s", "2 s"),
        ("sampling", "sampling {draws} 16-bar melodies | {sixteen_bar_s:.2f} s, "
         "{sixteen_times_two:.1f} × the 2-bar time (one melody: {one_sixteen_times_two:.1f} ×)", "5 ×"),
        ("interpolate", "`interpolate` from a cold start | {cold_s:.1f} s", "5 s"),
    ):  # fmt: skip
        if part in results and "failed" not in results[part]:
            lines.append(f"| {what.format(**results[part])} | {wanted} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What a time depends on."""
    return {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


PARTS = ("reading", "training", "sampling", "interpolate")


@click.command(help=__doc__)
@click.option("--sets", type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="Part; may be repeated.  [default: all]")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Of which the median is taken.")
@click.option("--copies", type=click.IntRange(1), default=28, show_default=True, help="28 are 100,000 files.")
@click.option("--updates", type=click.IntRange(1), default=20, show_default=True, help="Of training, a round.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="JSON that is written and added to.")
def main(sets: Path | None, parts: tuple[str, ...], rounds: int, copies: int, updates: int, out: Path) -> None:
    parts = parts or PARTS
    if sets is None and {"reading", "training"} & set(parts):
        raise click.UsageError(f"reading and training need --sets, a folder with {' and '.join(READ)}.")
    acts: dict[str, Callable[[], dict[str, Any]]] = {
        "sampling": lambda: sampling(rounds),
        "interpolate": lambda: interpolate(rounds),
    }
    if sets is not None:
        folder = sets
        acts |= {
            "reading": lambda: reading(folder, rounds, copies),
            "training": lambda: training(folder, rounds, updates),
        }
    results = json.loads(out.read_text()) if out.is_file() else {}
    for part in parts:
        before = machine()
        results[part] = {**acts[part](), "rounds": rounds, "machine": before}
        out.write_text(json.dumps(results, indent=2) + "\n")
        click.echo(f"{part}  {json.dumps(results[part])}")
    click.echo(table(results))


if __name__ == "__main__":
    main()
