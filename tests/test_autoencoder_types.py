"""Every type of autoencoder that the documentation lists is trained by its settings, and then does what it is for."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import musicae
from musicae.data.dataset import DataSet, load_dataset
from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate
from musicae.trained import TrainedModel

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "training.md"
SIZES = {"likelihood", "latent_size", "widths", "patch", "learning_rate"}
CONVOLUTIONS = {"widths": (16, 24), "patch": 1, "latent_size": 2}
TYPES: dict[str, dict[str, Any]] = {
    "variational": {},
    "beta": {"beta": 0.3},
    "free bits": {"free_bits": 8.0},
    "importance-weighted": {"importance_draws": 3},
    "plain": {"latent": "deterministic"},
    "sparse": {"latent": "deterministic", "sparsity": 0.5},
    "adversarial": {"latent": "adversarial"},
    "conditional": {"labels": True},
    "flow": {"prior": "flow"},
    "mixture": {"prior": "mixture"},
    "fsq": {"latent": "fsq", "latent_size": 8, "learning_rate": 3e-3},  # saturates at 1e-2
    "vq": {"latent": "vq", "latent_size": 8},
    "grid": {"model": "spatial", **CONVOLUTIONS},
    "discriminated": {"model": "spatial", **CONVOLUTIONS, "patch_discriminator": 0.02, "perceptual": 0.1},
    "bernoulli": {"likelihood": "bernoulli"},
    "gaussian": {"likelihood": "gaussian"},
    "a deviation for each picture": {"likelihood": "student_t"},
    "discretised logistic": {"likelihood": "discretised_logistic"},
}
WITHOUT_PRIOR, WITHOUT_DENSITY = {"plain", "sparse"}, {"plain", "sparse", "adversarial"}
SHORT = {"model": "mlp", "width": 64, "latent_size": 4, "steps": 100, "evaluate_every": 100, "learning_rate": 1e-2}
SHORT |= {"warmup_steps": 5, "batch_size": 64, "precision": "no", "evaluate_examples": 64, "log_with": ()}

Trained = Callable[[str], TrainedModel]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("types")
    models: dict[str, TrainedModel] = {}

    def model(name: str) -> TrainedModel:
        if name not in models:
            own = TYPES[name]
            settings = {key: value for key, value in SHORT.items() if key != "width" or "model" not in own} | own
            models[name] = musicae.train("image", out=folder / name, device="cpu", **settings)
        return models[name]

    return model


def held_out(model: TrainedModel) -> DataSet:
    """The test digits alone, so that no baseline is fitted to others."""
    whole = load_dataset(model.domain, ())
    none = np.zeros(0, np.int64)
    return replace(whole, splits={**whole.splits, "train": none, "validation": none})


def test_the_settings_are_those_of_the_guide() -> None:
    table = GUIDE.read_text(encoding="utf-8").split("## The variants of autoencoder")[1].split("\n## ")[0]
    named = {flag.replace("-", "_") for flag in re.findall(r"`--(?!set\b)([\w-]+) ", table)}
    named |= set(re.findall(r"`--set (\w+)=", table))
    tested = {key for settings in TYPES.values() for key in settings} - SIZES
    assert named == tested | {"chords", "task", "start_from", "second_stage"}


@pytest.mark.parametrize("name", TYPES)
def test_a_type_rebuilds_digits_is_scored_and_draws_some_or_says_why_not(trained: Trained, name: str) -> None:
    model = trained(name)
    dataset = held_out(model)
    scores = evaluate(model, dataset)
    assert scores["mse"] < 0.07  # the mean digit for all: 0.073
    assert 0 < scores["psnr_db"] < 40
    assert ("elbo_nats" in scores) == (name not in WITHOUT_DENSITY)
    batch = model.domain.tensor(torch.from_numpy(np.array(dataset.examples[:5]))).target
    once, again = model.reconstruct(batch), model.reconstruct(batch)
    assert torch.equal(once, again)  # of the mean, not of a draw
    if name in WITHOUT_PRIOR:
        with pytest.raises(MusicaeError, match="no prior to sample from"):
            model.sample(4)
        return
    first, second = (model.sample(64, seed=seed).tensor for seed in (0, 1))
    assert first.shape == (64, 1, 8, 8)
    assert 0.1 < first.mean() < 0.6
    assert first.std(0).mean() > 0.005  # not one picture for all
    assert not torch.equal(first, second)
    assert torch.equal(first, model.sample(64, seed=0).tensor)


def test_a_sparse_code_is_nearer_to_zero_than_a_plain_one(trained: Trained) -> None:
    stored = torch.from_numpy(np.array(held_out(trained("plain")).examples))
    batch = trained("plain").domain.tensor(stored).target
    sizes = {name: trained(name).encode(batch).abs().mean().item() for name in ("plain", "sparse")}
    assert sizes["sparse"] < 0.7 * sizes["plain"]
