"""Every kind of autoencoder that the README lists is trained by its flags, and then does what it is for."""

import re
from pathlib import Path

import pytest
import torch

from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate_files
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

README = Path(__file__).resolve().parent.parent / "README.md"
KINDS = {
    "variational": {},
    "beta": {"beta": 0.3},
    "free bits": {"free_bits": 8.0},
    "plain": {"latent": "deterministic"},
    "sparse": {"latent": "deterministic", "sparsity": 0.5},
    "adversarial": {"latent": "adversarial"},
    "conditional": {"labels": True},
    "flow": {"prior": "flow"},
    "mixture": {"prior": "mixture"},
    "bernoulli": {"likelihood": "bernoulli"},
    "gaussian": {"likelihood": "gaussian"},
    "discretised logistic": {"likelihood": "discretised_logistic"},
}
WITHOUT_PRIOR, WITHOUT_DENSITY = {"plain", "sparse"}, {"plain", "sparse", "adversarial"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("kinds")
    models: dict[str, TrainedModel] = {}

    def model(kind: str) -> TrainedModel:
        if kind not in models:
            settings = {"widths": (16, 16), "latent_size": 4, "steps": 120, "evaluate_every": 60, "learning_rate": 3e-3}
            settings |= {"warmup_steps": 5, "precision": "no", "evaluate_examples": 64, **KINDS[kind]}
            experiment = Experiment.resolve("image", settings=settings)
            models[kind] = load(experiment.run(folder / kind, experiment.read()), "cpu")
        return models[kind]

    return model


def test_the_flags_are_those_of_the_readme():
    table = README.read_text(encoding="utf-8").split("## Kinds of autoencoder")[1].split("\n## ")[0]
    named = set(re.findall(r"`?--set (\w+)=", table)) | {"latent"}
    assert named == {key for settings in KINDS.values() for key in settings} | {"chords"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_rebuilds_digits_and_is_scored(trained, kind):
    model = trained(kind)
    scores = evaluate_files(model, [])
    assert scores["mse"] < 0.07  # the mean digit for all: 0.073
    assert 0 < scores["psnr_db"] < 40
    assert ("elbo_nats" in scores) == (kind not in WITHOUT_DENSITY)
    assert scores["pca_mse"] == pytest.approx(0.0389, abs=0.003)  # the same for all: four components
    stored = next(model.domain.starter())[1].examples[:5]
    batch = model.domain.to_tensor(torch.from_numpy(stored))
    once, again = model.reconstruct(batch), model.reconstruct(batch)
    assert torch.equal(once, again)  # of the mean, not of a draw


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_draws_digits_or_says_why_not(trained, kind):
    model = trained(kind)
    if kind in WITHOUT_PRIOR:
        with pytest.raises(MusicaeError, match="no prior to sample from"):
            model.sample(4)
        return
    first, second = (model.sample(64, seed=seed) for seed in (0, 1))
    assert first.shape == (64, 1, 8, 8)
    assert 0.1 < first.mean() < 0.6
    assert first.std(0).mean() > 0.005  # not one picture for all
    assert not torch.equal(first, second)
    assert torch.equal(first, model.sample(64, seed=0))


def test_a_sparse_code_is_nearer_to_zero_than_a_plain_one(trained):
    batch = trained("plain").domain.to_tensor(torch.from_numpy(next(trained("plain").domain.starter())[1].examples))
    sizes = {kind: trained(kind).encode(batch).abs().mean().item() for kind in ("plain", "sparse")}
    assert sizes["sparse"] < 0.7 * sizes["plain"]
