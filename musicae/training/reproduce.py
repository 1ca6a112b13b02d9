"""Trains a finished run again, with the same settings and data, and compares the two."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder
from musicae.training.checkpoint import Manifest, load_checkpoint, read_manifest
from musicae.training.experiment import Experiment
from musicae.training.run_folder import RunFolder

_TOLERANCE = 1e-3
"""Relative difference of two scores up to which they count as equal: sums of other lengths and orders stay below it."""
_NOT_COMPARED = frozenset({"minutes"})
_NOT_ABOUT_RESULTS = frozenset({"started", "command"})


@dataclass(frozen=True)
class Comparison:
    """A run and its repetition.

    Attributes:
        folder: of the repetition.
        is_exact: whether best and last weights are equal bit for bit.
        is_equal: the same, or all scores of the best checkpoint are equal up to a thousandth.
        lines: what was compared, in words.
    """

    folder: Path
    is_exact: bool
    is_equal: bool
    lines: tuple[str, ...]


def reproduce(run: Path, out: Path, *, data: Any = None, model: type[Autoencoder] | None = None) -> Comparison:
    """Trains a run again, in another folder.

    Args:
        run: the folder of a finished run.
        out: the folder of the repetition.
        data, model: the same again, where the run's data were in memory or its model is a class of the user's own.

    Raises:
        CheckpointError: the folder holds no run.
        MusicaeError: the run is not finished, its data changed, or `out` holds a run.
    """
    place = RunFolder(run)
    experiment = Experiment.of_run(run, data=data, model=model)
    if not place.is_final or not read_manifest(place.best).data.get("complete", True):
        raise MusicaeError(f"{run} is not finished, so it can't be compared; finish it with train --resume {run}.")
    dataset = experiment.read()
    then = experiment.manifest.data.get("content")
    if then is not None and then != dataset.content:
        raise MusicaeError("the data changed since the run was trained, so it can't be reproduced; restore its files.")
    experiment.run(out, dataset)
    return _compare(place, RunFolder(out), model)


def _compare(first: RunFolder, second: RunFolder, model: type[Autoencoder] | None) -> Comparison:
    lines: list[str] = []
    is_exact = True
    for name in ("best", "last"):
        folders = (first.best, second.best) if name == "best" else (first.last, second.last)
        (network, _, then), (again, _, now) = (load_checkpoint(folder, model) for folder in folders)
        distance = _distance(network, again)
        is_exact &= distance == 0
        lines.append(f"{name} weights: {'equal bit for bit' if distance == 0 else f'differ by up to {distance:.3g}'}")
        if name == "best":
            scores = _scores(then, now)
            changes = _changes(then, now)
    far = [score for score, (a, b) in scores.items() if abs(a - b) > _TOLERANCE * max(abs(a), abs(b))]
    lines += [f"{score}: {a:.6g} then, {b:.6g} now" for score, (a, b) in scores.items()]
    lines += [f"{what}: {a} then, {b} now" for what, (a, b) in changes.items()]
    if then.training.get("minutes") and not is_exact:
        lines.append("the run ended by the clock, so its schedule depends on how fast the machine was")
    return Comparison(second.path, is_exact, is_exact or not far, tuple(lines))


def _distance(one: Autoencoder, other: Autoencoder) -> float:
    """The largest difference of two weights."""
    others = other.state_dict()
    pairs = ((value.double(), others[name].double()) for name, value in one.state_dict().items())
    return max(float(torch.abs(a - b).max()) if a.numel() else 0.0 for a, b in pairs)


def _scores(then: Manifest, now: Manifest) -> dict[str, tuple[float, float]]:
    shared = [name for name in then.metrics if name in now.metrics and name not in _NOT_COMPARED]
    return {name: (then.metrics[name], now.metrics[name]) for name in shared}


def _changes(then: Manifest, now: Manifest) -> dict[str, tuple[Any, Any]]:
    """What differs between the machines and versions of two runs."""
    a, b = ({} if not manifest.environments else manifest.environments[-1] for manifest in (then, now))
    tables = [{**table, **table.get("packages", {})} for table in (a, b)]
    names = [name for name in tables[1] if name not in _NOT_ABOUT_RESULTS | {"packages"}]
    pairs = {name: (tables[0].get(name), tables[1][name]) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
