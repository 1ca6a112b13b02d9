"""How fast music is read, learned and sampled, compared with what others use.

Whatever is compared is measured in turns on the same machine, and the median counts; how loaded the machine was is
stored with each result. Reading is compared with pretty_midi: the track is chosen by its name or polyphony, and
quantising and cutting use the same vectorised functions, so what differs is the reading; the store that musicae also
writes is left out.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import torch
from stored import trained_model

from musicae.data.dataset import DataSet
from musicae.data.files import find_files, prepare_store
from musicae.data.store import open_store
from musicae.models import build_model
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.music.quantize import find_phase, to_steps
from musicae.music.score import note_table, read_scores
from musicae.music.tokens import FIRST_ONSET, HIGHEST_PITCH, LOWEST_PITCH, skyline, tokens_from_notes, windows_of
from musicae.music.tracks import MELODY_NAMES
from musicae.trained import TrainedModel
from musicae.training.experiment import Experiment
from musicae.training.loop import TrainingRun
from musicae.training.run_log import RunLog

READ = ("nottingham", "pop909")
ROUNDS = 5
COPIES = 28  # of both sets: 100,000 files
UPDATES = 20  # of training, a round
DRAWS = 1000
_BATCH = 192  # of `melody-2bar`


def medians(rounds: int, acts: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median seconds of each act; the acts take turns, so that a busy minute of the machine affects all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            seconds[name].append(act())
    return {name: statistics.median(times) for name, times in seconds.items()}


def machine() -> dict[str, Any]:
    """What a time depends on."""
    return {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


# Reading


def reading(sets: Path, runs: Path, *, rounds: int = ROUNDS, copies: int = COPIES) -> dict[str, Any]:
    """Nottingham and POP909 to windows of two bars: seconds of one process, of two, and of pretty_midi.

    The two sets take less time than processes take to start, so one and two processes are also compared on `copies`
    copies of them.
    """
    del runs
    before, domain = machine(), MusicDomain(MusicConfig(time_signature="4/4"))
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
        "rounds": rounds,
        "machine": before,
    }


def reading_notes(sets: Path, runs: Path, *, rounds: int = 3) -> dict[str, Any]:
    """The notes of Nottingham and POP909, and no more: seconds of one process, and of pretty_midi."""
    del runs
    before = machine()
    files = [path for _, path in find_files(MusicDomain(), [sets / name for name in READ])]

    def every(read: Callable[[Path], Any]) -> Callable[[], float]:
        def act() -> float:
            started = time.perf_counter()
            for path in files:
                read(path)
            return time.perf_counter() - started

        return act

    ours = every(lambda path: note_table(read_scores(path)[0].score))
    ours()  # so that all of it is in memory
    found = medians(rounds, {"ours": ours, "pretty": every(lambda path: pretty_midi.PrettyMIDI(str(path)))})
    return {
        "notes_alone_s": found["ours"],
        "pretty_midi_notes_alone_s": found["pretty"],
        "notes_alone_times_pretty_midi": found["pretty"] / found["ours"],
        "notes_rounds": rounds,
        "notes_machine": before,
    }


def read_with_pretty_midi(path: Path) -> np.ndarray:
    """Windows of two bars of 4/4, 2/2 or 2/4, `(windows, 32)`; none where pretty_midi can't read the file."""
    try:
        file = pretty_midi.PrettyMIDI(str(path))
    except Exception:  # it raises whatever its parser happens to raise, and a damaged file is no result
        return np.zeros((0, 32), np.uint8)
    track = _melody_track(file)
    if track is None:
        return np.zeros((0, 32), np.uint8)
    onset, end = (
        np.array([file.time_to_tick(getattr(note, side)) for note in track.notes]) for side in ("start", "end")
    )
    pitch = np.array([note.pitch for note in track.notes])
    shift = find_phase(onset, file.resolution).shift
    changes = [(file.time_to_tick(change.time), change) for change in file.time_signature_changes]
    starts = [tick for tick, _ in changes]
    windows = []
    if not starts or starts[0] > 0:
        changes.insert(0, (0, pretty_midi.TimeSignature(4, 4, 0.0)))
    for number, (start, change) in enumerate(changes):
        stop = changes[number + 1][0] if number + 1 < len(changes) else int(end.max()) + 1
        if (change.numerator, change.denominator) not in ((4, 4), (2, 2), (2, 4)):
            continue
        inside = (onset - shift >= start) & (onset - shift < stop) & (pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH)
        steps = -(-int(to_steps(np.array(stop - start), file.resolution)) // 16) * 16
        placed = [to_steps(ticks[inside] - shift - start, file.resolution) for ticks in (onset, end)]
        line = skyline(placed[0], placed[1], pitch[inside])
        kept = line[0] < steps
        tokens = tokens_from_notes(line[0][kept], np.maximum(line[1], line[0] + 1)[kept], line[2][kept], steps)
        cut = windows_of(tokens, 32, 16)
        windows.append(cut[(cut >= FIRST_ONSET).sum(1) >= 4])
    return np.concatenate(windows) if windows else np.zeros((0, 32), np.uint8)


def _melody_track(file: pretty_midi.PrettyMIDI) -> pretty_midi.Instrument | None:
    pitched = [track for track in file.instruments if track.notes and not track.is_drum]
    for word in MELODY_NAMES:
        named = [track for track in pitched if word in track.name.casefold()]
        if named:
            return max(named, key=lambda track: len(track.notes))
    return min(pitched, key=lambda track: (round(_polyphony(track), 1), -len(track.notes)), default=None)


def _polyphony(track: pretty_midi.Instrument) -> float:
    start, end = (np.array([getattr(note, side) for note in track.notes]) for side in ("start", "end"))
    order = np.argsort(start)
    start, end = start[order], end[order]
    reached = np.maximum.accumulate(end)
    covered = reached[0] - start[0] + np.maximum(reached[1:] - np.maximum(start[1:], reached[:-1]), 0).sum()
    return float((end - start).sum() / covered) if covered > 0 else 1.0


# Training


def training(sets: Path, runs: Path, *, rounds: int = ROUNDS, updates: int = UPDATES) -> dict[str, Any]:
    """Windows a second that the default model and the MusicVAE baseline learn from, with the same loop and batch."""
    del runs
    before = machine()
    settings = {"time_signature": "4/4", "batch_size": _BATCH, "steps": 10_000_000, "evaluate_examples": 64}
    with tempfile.TemporaryDirectory() as folder:
        experiments = {
            name: Experiment.resolve("music", data=[sets / READ[0]], model=name, settings=settings)
            for name in ("steps", "musicvae")
        }
        dataset = experiments["steps"].read()
        acts = {}
        with RunLog(Path(folder), visible=False, track=lambda numbers, step: None) as log:
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
        "rounds": rounds,
        "machine": before,
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


# Sampling


def sampling(sets: Path, runs: Path, *, rounds: int = ROUNDS, draws: int = DRAWS) -> dict[str, Any]:
    """Seconds for so many melodies of 2 and of 16 bars on the CPU, and for one."""
    del sets
    before = machine()
    models = {bars: trained_model(runs, f"melody-{bars}bar") for bars in (2, 16)}
    acts = {f"{bars}bar_{count}": _sampling(model, count) for bars, model in models.items() for count in (draws, 1)}
    for act in acts.values():
        act()
    found = medians(rounds, acts)
    return {
        "draws": draws,
        "two_bar_s": found[f"2bar_{draws}"],
        "sixteen_bar_s": found[f"16bar_{draws}"],
        "sixteen_times_two": found[f"16bar_{draws}"] / found[f"2bar_{draws}"],
        "one_two_bar_s": found["2bar_1"],
        "one_sixteen_bar_s": found["16bar_1"],
        "one_sixteen_times_two": found["16bar_1"] / found["2bar_1"],
        "rounds": rounds,
        "machine": before,
    }


def _sampling(model: TrainedModel, count: int) -> Callable[[], float]:
    def act() -> float:
        started = time.perf_counter()
        tensor = model.sample(count, seed=0).tensor
        assert tensor is not None and len(tensor) == count
        return time.perf_counter() - started

    return act
