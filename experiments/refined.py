"""Codes that are improved by gradient steps (`TrainedModel.refining`): how much more of a melody comes back, and when.

What lies between two melodies is looked at too, since codes that fit their melodies better could be worse places to
start from.
"""

from pathlib import Path
from time import process_time
from typing import Any

import torch
from music_samples import OUTSIDE
from stored import trained_model

from musicae.data.dataset import DataSet, load_dataset
from musicae.evaluation.sample_quality import path_quality
from musicae.trained import TrainedModel

MODEL = "melody-2bar"
STEPS = (0, 10, 30, 100)
_WINDOWS, _PAIRS, _DRAWS = 400, 100, 20
_OF_PATHS = ("path_midpoint_in_scale", "path_midpoint_self_similarity", "ends_self_similarity", "path_nll_nats")


def refined(sets: Path, runs: Path) -> dict[str, dict[str, Any]]:
    """Set → steps → share of a window's notes that come back, seconds a window, and what is between two windows."""
    model = trained_model(runs, MODEL)
    found: dict[str, dict[str, Any]] = {}
    for place in OUTSIDE[MODEL]:
        dataset = load_dataset(model.domain, [sets / place]).all_for_testing()
        found[place] = {str(steps): _scores(model.refining(steps), dataset) for steps in STEPS}
    return found


def _scores(model: TrainedModel, dataset: DataSet) -> dict[str, float]:
    kept = dataset.splits["all"]
    kept = kept[:: max(1, len(kept) // _WINDOWS)][:_WINDOWS]
    windows = model.domain.tensor(torch.from_numpy(dataset.examples[kept])).target
    model.reconstruct(windows[:1])  # the first call takes longer
    started = process_time()
    answer = model.reconstruct(windows)
    spent_s = process_time() - started
    scores = model.domain.metrics(answer, windows, windows)
    whole = (answer == windows).flatten(1).all(1).float()
    paths = path_quality(model, dataset, _PAIRS, split="all", draws=_DRAWS, seed=0)
    return {
        "accuracy": float(scores["accuracy"].mean()),
        "onset_f1": float(scores["onset_f1"].mean()),
        "unchanged": float(whole.mean()),
        "processor_s_a_window": spent_s / len(windows),
        **{key: paths[key] for key in _OF_PATHS},
    }
