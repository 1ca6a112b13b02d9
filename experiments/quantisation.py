"""What it costs to store models of music in few bits a weight: a model on its test split, in eight bits and as shipped.

z is drawn from the posterior with the same seed both times, so the figures differ by what rounding changes alone.
"""

import tempfile
from pathlib import Path
from typing import Any

from recipes import RECIPES
from ship import stored_as

from musicae.evaluation.evaluate import evaluate_files
from musicae.shipped import WEIGHTS
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import StoredAs, save_checkpoint

NAMES = ("melody-2bar", "melody-16bar", "drums-2bar")
SCORES = ("accuracy_free_running", "accuracy_free_running_mean", "onset_f1", "kl_bits", "elbo_nats", "examples")


def compare_all(sets: Path, runs: Path) -> dict[str, dict[str, Any]]:
    """Models of music: model → `bits` of its shipped weights, and sizes and scores in eight (`int8`) and in `fewer`."""
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        trained, bits = load(runs / name, "cpu"), RECIPES[name].bits
        shares = RECIPES[name].shares
        both = {
            "int8": scored(trained, sets, "int8", shares),
            "fewer": scored(trained, sets, stored_as(bits), shares),
        }
        found[name] = {"bits": bits, **both}
    return found


def scored(trained: TrainedModel, sets: Path, stored: StoredAs, shares: str | None) -> dict[str, float]:
    """Size and scores of a model on the test split of its sets, with weights stored in a way but for shared ones."""
    manifest = trained.manifest.model_copy(update={"shares": shares})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save_checkpoint(folder, trained.network, manifest, weights=stored)
        size_mb = (folder / WEIGHTS).stat().st_size / 1e6
        scores = evaluate_files(load(folder, "cpu"), _places(trained, sets))
    return {"size_mb": round(size_mb, 2), **{name: scores[name] for name in SCORES}}


def _places(trained: TrainedModel, sets: Path) -> list[Path]:
    """The folders of a model's sets: a shipped one names sets, a run the folders it learned from."""
    data = trained.manifest.data
    return [sets / name for name in data.get("sets") or (Path(path).name for path in data["paths"])]
