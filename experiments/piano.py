"""Piano music: how much comes back in each time signature and outside, beside principal components and copying."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from grooves import hit_f1
from recipes import RECIPES
from stored import trained_model

from musicae.data.dataset import DataSet, load_dataset, unseen
from musicae.evaluation.evaluate import evaluate
from musicae.music.keyboard import KEYS
from musicae.music.tokens import FIRST_ONSET
from musicae.trained import TrainedModel

MODEL, OUTSIDE = "piano-2bar", "pop909"
_MOST = 1000  # windows
_LEARNED = 8000  # windows that principal components are found in


def piano(sets: Path, runs: Path) -> dict[str, Any]:
    """Scores of each time signature, of songs' piano tracks, and of baselines."""
    trained = trained_model(runs, MODEL)
    dataset = load_dataset(trained.domain, [sets / each for each in RECIPES[MODEL].sets])
    kept = unseen(trained.domain, dataset, "test")
    found: dict[str, Any] = {}
    for number, signature in enumerate(trained.domain.config.signatures):
        own = kept[dataset.examples[kept][:, 0, -1] == number]
        if len(own):
            part = replace(dataset, splits={**dataset.splits, "test": own})
            found[signature.name] = evaluate(trained, part)
    found["principal components"] = principal_components(trained, dataset, kept)
    outside = load_dataset(trained.domain, [sets / OUTSIDE]).all_for_testing()
    found[OUTSIDE] = evaluate(trained, outside, split="all", limit=_MOST)
    return found


def principal_components(trained: TrainedModel, dataset: DataSet, kept: np.ndarray) -> dict[str, float]:
    """Onsets of windows in the first time signature from as many components of rolls as a code has numbers.

    An onset is what exceeds the threshold that is best on training windows.
    """
    from sklearn.decomposition import PCA

    train = dataset.splits["train"]
    train = train[dataset.examples[train][:, 0, -1] == 0]
    train = train[:: max(1, len(train) // _LEARNED)]
    kept = kept[dataset.examples[kept][:, 0, -1] == 0]
    numbers = int(np.prod(trained.network.latent_shape))
    rolls, wanted = _rolls(trained, dataset, train), _rolls(trained, dataset, kept)
    pca = PCA(numbers, svd_solver="randomized", random_state=0).fit(rolls)
    own = pca.inverse_transform(pca.transform(rolls[::4]))
    scores = {threshold: _of_rolls(own > threshold, rolls[::4] > 0).mean() for threshold in np.arange(0.1, 0.7, 0.05)}
    best = max(scores, key=lambda threshold: float(scores[threshold]))
    answer = pca.inverse_transform(pca.transform(wanted)) > best
    return {"numbers": numbers, "threshold": float(best), "onset_f1": float(_of_rolls(answer, wanted > 0).mean())}


def _rolls(trained: TrainedModel, dataset: DataSet, rows: np.ndarray) -> np.ndarray:
    """Onsets of windows, float32 `(windows, steps · keys)`."""
    steps = trained.domain.config.bars * trained.domain.config.signatures[0].steps_per_bar
    struck = np.array(dataset.examples[rows])[:, :steps, :KEYS] == FIRST_ONSET
    return struck.reshape(len(rows), -1).astype(np.float32)


def _of_rolls(ours: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Bool `(windows, steps · keys)` each → F1 `(windows,)`."""
    return hit_f1(ours[:, None], wanted[:, None])
