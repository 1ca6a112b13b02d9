"""Drums as they are played: flat patterns humanized, and tapped rhythms played on a kit, on Groove's test split.

A humanizer is given the hits alone. What it draws is compared with how the drummer played them: the median of its
draws with the absolute error that medians of each drum and position have, the spread of single draws with the real
one. A tapped rhythm says only when something is struck; what is played of it is compared with the hits, beside what is
most often struck at each position of the bar where something is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stored import trained_model
from torch import Tensor

from musicae.data.dataset import DataSet, load_dataset, unseen
from musicae.music.expression import OFFSETS, ON_GRID
from musicae.music.tokens import DRUM_PITCHES, struck
from musicae.trained import TrainedModel

DRAWS = 20
_DRUMS = len(DRUM_PITCHES)
_LEAST = 10  # training hits that a median is taken of


def grooves(sets: Path, runs: Path) -> dict[str, Any]:
    """Humanizers, measured."""
    player = trained_model(runs, "drums-2bar")
    dataset = load_dataset(player.domain, [sets / "groove"])
    found: dict[str, Any] = {"humanize": humanizers(player, dataset, {"played": played_by(player)})}
    found["tap"] = tapped(trained_model(runs, "drums-2bar-tap"), dataset)
    return found


def tapped(trained: TrainedModel, dataset: DataSet, split: str = "test") -> dict[str, float]:
    """F1 of hits played of a tapped rhythm, mean over windows.

    Returns:
        `hit_f1` of the model; `hit_f1_majority` of the drums that are struck in more than half of the training windows
        that have anything at a step, at least the commonest, where something is tapped; `ratio_to_majority`, that of
        the first to the second; `hit_f1_untapped` of the drums struck in more than half of all training windows; and
        the values' errors over hits that both have.
    """
    train = struck(_windows(trained, dataset, dataset.splits["train"])[..., 0].numpy())
    windows = _windows(trained, dataset, unseen(trained.domain, dataset, split))
    hits = struck(windows[..., 0].numpy())
    there = hits.any(-1, keepdims=True)
    often = train.sum(0) / np.maximum(train.any(-1).sum(0)[:, None], 1)  # (steps, drums)
    majority = (often > 0.5) | (often == often.max(1, keepdims=True))
    answers = torch.cat([trained.tap(rows) for rows in windows.split(256)])
    scores = trained.domain.metrics(answers, windows, windows)
    found = {
        "hit_f1": float(scores["onset_f1"].mean()),
        "hit_f1_majority": float(hit_f1(majority[None] & there, hits).mean()),
        "hit_f1_untapped": float(hit_f1(np.broadcast_to(train.mean(0) > 0.5, hits.shape), hits).mean()),
    }
    errors = {name: float(scores[name].nanmean()) for name in ("velocity_mae", "offset_mae")}
    return {**found, "ratio_to_majority": found["hit_f1"] / found["hit_f1_majority"], **errors, "windows": len(windows)}


def hit_f1(ours: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """F1 of bool `(windows, steps, places)` each, `(windows,)`; 1 where neither has any."""
    right, total = (ours & wanted).sum((1, 2)), ours.sum((1, 2)) + wanted.sum((1, 2))
    return np.where(total > 0, 2 * right / np.maximum(total, 1), 1.0)


def played_by(trained: TrainedModel, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """A function that plays windows `(batch, steps, columns)` `DRAWS` times: `(draws, batch, steps, columns)`."""

    def play(windows: Tensor) -> Tensor:
        draws: Tensor = trained.humanize(windows, DRAWS, seed=seed)
        return draws

    return play


def humanizers(
    trained: TrainedModel, dataset: DataSet, players: dict[str, Callable[[Tensor], Tensor]], split: str = "test"
) -> dict[str, dict[str, float]]:
    """Errors of medians and of players on windows of a split; each score's name ends with its unit or column."""
    train = _windows(trained, dataset, dataset.splits["train"])
    windows = _windows(trained, dataset, unseen(trained.domain, dataset, split))
    hit = torch.from_numpy(struck(windows[..., 0].numpy()))  # (windows, steps, drums)
    real = _values(windows)[hit]  # (hits, 2)
    constant = torch.from_numpy(np.median(_values(train)[torch.from_numpy(struck(train[..., 0].numpy()))], axis=0))
    medians = _medians(train).expand(len(windows), -1, -1, -1)[hit]
    found = {
        "constant": _errors(constant.expand_as(real), real),
        "medians": _errors(medians, real),
        "real": _spread(real),
    }
    for name, play in players.items():
        draws = torch.stack([_values(answer)[hit] for answer in play(windows)])  # (draws, hits, 2)
        middle = draws.double().quantile(0.5, dim=0)
        found[name] = _errors(middle, real) | _spread(draws.flatten(0, 1)) | {"draws": float(len(draws))}
    for name in players:
        for column in ("velocity", "offset"):
            error = f"{column}_mae"
            found[name][f"{column}_below_medians"] = 1 - found[name][error] / found["medians"][error]
            spread = f"{column}_deviation"
            found[name][f"{column}_deviation_of_real"] = found[name][spread] / found["real"][spread]
    return found


def _windows(trained: TrainedModel, dataset: DataSet, rows: np.ndarray) -> Tensor:
    target: Tensor = trained.domain.tensor(torch.from_numpy(np.array(dataset.examples[rows]))).target
    return target


def _values(windows: Tensor) -> Tensor:
    """Velocity, and offset in 16ths: float `(windows, steps, drums, 2)`."""
    velocity, offset = windows[..., 1 : 1 + _DRUMS].float(), windows[..., 1 + _DRUMS :].float()
    return torch.stack([velocity, (offset - ON_GRID) / OFFSETS], -1)


def _medians(train: Tensor) -> Tensor:
    """Of each drum at each position, and of the drum where it is rarely struck there: `(steps, drums, 2)`."""
    hit, values = struck(train[..., 0].numpy()), _values(train).numpy()
    found = np.zeros(values.shape[1:], np.float32)
    for drum in range(_DRUMS):
        own = values[:, :, drum][hit[:, :, drum]]
        found[:, drum] = np.median(own, axis=0) if len(own) else 0
        for step in range(values.shape[1]):
            here = values[:, step, drum][hit[:, step, drum]]
            if len(here) >= _LEAST:
                found[step, drum] = np.median(here, axis=0)
    return torch.from_numpy(found)


def _errors(ours: Tensor, real: Tensor) -> dict[str, float]:
    error = (ours.double() - real.double()).abs().mean(0).tolist()
    return {"velocity_mae": error[0], "offset_mae": error[1]}


def _spread(values: Tensor) -> dict[str, float]:
    deviation = values.double().std(0).tolist()
    return {"velocity_deviation": deviation[0], "offset_deviation": deviation[1]}
