"""What it costs to store models of music in four bits a weight: the same model on its test split, in eight and in four.

z is drawn from the posterior with the same seed both times, so the figures differ by what rounding changes alone.
"""

import tempfile
from pathlib import Path

from musicae.evaluation.evaluate import evaluate_files
from musicae.shipped import WEIGHTS
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import StoredAs, save_checkpoint

NAMES = ("melody-2bar", "melody-16bar", "drums-2bar")
SCORES = ("accuracy_free_running", "accuracy_free_running_mean", "onset_f1", "kl_bits", "elbo_nats", "examples")
_STORED: tuple[StoredAs, ...] = ("int8", "int4")


def compare_all(sets: Path, runs: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Every model of music: model → type of the weights → size and scores."""
    return {name: compare(load(runs / name, "cpu"), sets) for name in NAMES}


def compare(trained: TrainedModel, sets: Path) -> dict[str, dict[str, float]]:
    """Scores of a model in eight bits and in four, on the test split of its sets: type of the weights → scores."""
    found = {}
    for weights in _STORED:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            save_checkpoint(folder, trained.network, trained.manifest, weights=weights)
            size_mb = (folder / WEIGHTS).stat().st_size / 1e6
            scores = evaluate_files(load(folder, "cpu"), _places(trained, sets))
        found[weights] = {"size_mb": round(size_mb, 2), **{name: scores[name] for name in SCORES}}
    return found


def _places(trained: TrainedModel, sets: Path) -> list[Path]:
    """The folders of a model's sets: a shipped one names sets, a run the folders it learned from."""
    data = trained.manifest.data
    return [sets / name for name in data.get("sets") or (Path(path).name for path in data["paths"])]
