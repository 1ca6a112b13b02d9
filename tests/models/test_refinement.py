"""Codes that are improved by gradient steps: against a decoder whose best code is known, and on trained models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from musicae.cli import main
from musicae.data.dataset import load_dataset
from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate_files
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.models import MODELS, build_model
from musicae.models.autoencoder import Autoencoder
from musicae.models.grid import GridAutoencoder
from musicae.models.refinement import refined
from musicae.models.sizes import ModelConfig
from musicae.nn.latent import Posterior
from musicae.pipeline import Pipeline
from musicae.spec import Layout, TensorSpec
from musicae.starter import starter_file
from musicae.trained import TrainedModel, load
from tests.models.test_models import batch_of, small, spec_of

NUMBERS = 6
PICTURES = TensorSpec(layout=Layout.GRID, shape=(1, 1, NUMBERS), likelihood="gaussian")


class Linear(GridAutoencoder):
    """Decodes by a matrix, with an encoder that is wrong: the best code is that of a linear regression."""

    Config = ModelConfig

    def __init__(self, spec: TensorSpec, config: ModelConfig) -> None:
        super().__init__(spec, config)
        self.decoder = nn.Linear(2, NUMBERS, bias=False)
        nn.init.orthogonal_(self.decoder.weight)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        del condition
        return Posterior(x.flatten(1)[:, :2], torch.zeros(len(x), 2))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        del condition
        return self.decoder(z).view(-1, self.likelihood.width, 1, NUMBERS)


def linear() -> Linear:
    torch.manual_seed(0)
    return Linear(PICTURES, ModelConfig(latent_size=2)).eval()


def examples(count: int = 5) -> Tensor:
    return torch.rand((count, 1, 1, NUMBERS), generator=torch.Generator().manual_seed(1))


def test_the_best_code_of_a_linear_decoder_is_found():
    model, x = linear(), examples()
    z = refined(model, model.encode(x).mean, x, steps=300)
    best = torch.linalg.lstsq(model.decoder.weight.detach(), x.flatten(1).T).solution.T
    torch.testing.assert_close(z, best, atol=1e-3, rtol=0)


def test_no_step_gives_the_codes_and_no_code_becomes_worse():
    model, x = linear(), examples()
    z = model.encode(x).mean
    assert torch.equal(refined(model, z, x, steps=0), z)
    before = model.log_likelihood(z, x)
    for steps in (1, 3, 10):
        assert bool((model.log_likelihood(refined(model, z, x, steps=steps), x) >= before).all())
    best = refined(model, z, x, steps=300)
    torch.testing.assert_close(refined(model, best, x, steps=20), best, atol=1e-3, rtol=0)


def test_an_example_does_not_depend_on_the_others():
    model, x = linear(), examples()
    z = model.encode(x).mean
    torch.testing.assert_close(refined(model, z, x, steps=9)[3:4], refined(model, z[3:4], x[3:4], steps=9))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name, each in MODELS.items() if each.reconstructs),
        ("mlp", {"prior": "flow"}),
        ("mlp", {"prior": "mixture"}),
        ("mlp", {"latent": "adversarial"}),
    ],
)
def test_every_model_that_decodes_codes_can_refine_them(name: str, settings: dict[str, str]):
    model, x = small(name, **settings).eval(), batch_of(spec_of(name))
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        z = model.encode(x).mean
        better = refined(model, z, x, steps=5)
        assert better.shape == z.shape
        assert bool((model.log_likelihood(better, x) > model.log_likelihood(z, x)).all())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_condition_counts(conditional: tuple[Autoencoder, Tensor]):
    model, x = conditional
    other = torch.full((len(x), 1), 2)
    with torch.no_grad():
        z = model.encode(x, other).mean
        better = refined(model, z, x, other, steps=20)
        assert bool((model.log_likelihood(better, x, other) > model.log_likelihood(z, x, other)).all())
        assert not torch.equal(better, refined(model, z, x, steps=20))


@pytest.fixture
def conditional() -> tuple[Autoencoder, Tensor]:
    torch.manual_seed(0)
    spec = replace(PICTURES, condition=(1, 4))
    return build_model("mlp", spec, {"width": 32, "latent_size": 3}).eval(), examples()


def test_what_has_no_gradient_stays_as_it_is():
    model, x = linear(), examples()
    z = model.encode(x).mean
    z[2] = torch.nan
    better = refined(model, z, x, steps=5)
    assert bool(better[2].isnan().all())
    torch.testing.assert_close(better[:2], refined(model, z[:2], x[:2], steps=5))


def pipeline_of(name: str, task: str = "reconstruct", **settings: str) -> Pipeline:
    return Pipeline(small(name, **settings), ImageDomain(ImageConfig()), task, torch.device("cpu"))


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        (pipeline_of("unet", "denoise"), "trained to denoise"),
        (pipeline_of("conv", latent="fsq"), "tokens"),
        (pipeline_of("mlp", latent="vq"), "tokens"),
        (pipeline_of("mlp", latent="deterministic"), "spread is not known"),
    ],
)
def test_codes_that_cannot_move_are_refused(pipeline: Pipeline, words: str):
    with pytest.raises(MusicaeError, match=words):
        pipeline.refuse_refinement(3)
    pipeline.refuse_refinement(0)


@pytest.mark.parametrize("steps", [-1, 2.5, True, "3", 10_000])
def test_steps_are_a_whole_number(image: TrainedModel, steps: Any):
    with pytest.raises(ValueError, match="whole number from 0 to 1000"):
        image.refining(steps)


@pytest.fixture(scope="module")
def melody() -> TrainedModel:
    return load("melody-2bar", "cpu")


def test_a_melody_comes_back_as_it_was(melody: TrainedModel):
    """Wild draws are far from what the encoder learned, so that its own code loses some of their notes."""
    x = melody.sample(24, seed=0, temperature=1.5).tensor
    plain, better = (float((model.reconstruct(x) == x).float().mean()) for model in (melody, melody.refining(20)))
    assert plain < 0.99 < better
    codes = melody.refining(20).encode(x)
    assert bool((melody.decode(codes) == melody.refining(20).reconstruct(x)).all())


def test_a_plain_autoencoder_refines_where_its_codes_are_spread(plain: TrainedModel):
    x = plain.domain.tensor(torch.tensor(load_dataset(plain.domain, ()).examples[:8])).target
    better = plain.refining(20).reconstruct(x)
    assert float((better - x).square().mean()) < float((plain.reconstruct(x) - x).square().mean())


def test_settings_keep_the_steps(melody: TrainedModel):
    assert melody.refining(7).with_settings(track=0).refine_steps == 7


def test_evaluation_scores_refined_codes_too(image: TrainedModel):
    found = evaluate_files(image.refining(20), [])
    assert found["mse_refined"] < found["mse_mean"] < found["mse"]
    assert found["knn_accuracy"] == evaluate_files(image, [])["knn_accuracy"]


A, B = (str(starter_file(name)) for name in ("a.mid", "b.mid"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconstruct", A],
        ["interpolate", A, B, "--steps", "2"],
        ["vary", A, "--count", "1", "--amount", "0"],
        ["shift", A, "--attribute", "density", "--amount", "0.5"],
    ],
)
def test_every_command_that_takes_codes_of_files_refines_them(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ends of a path are what comes back of the files: seen in how far the codes moved, since most notes come back."""
    moved: list[float] = []

    def watched(network: Autoencoder, z: Tensor, *given: Any, steps: int) -> Tensor:
        better = refined(network, z, *given, steps=steps)
        moved.append(float((better - z).norm()))
        return better

    monkeypatch.setattr("musicae.pipeline.refined", watched)
    ran = CliRunner().invoke(main, [*arguments, "--refine", "2", "--out", str(tmp_path / "out.mid")])
    assert ran.exit_code == 0, ran.output
    assert moved and min(moved) > 0


def test_a_restorer_refuses_in_one_sentence(tmp_path: Path):
    out = tmp_path / "no.mid"
    refused = CliRunner().invoke(
        main, ["reconstruct", A, "--model", "drums-2bar-tap", "--refine", "5", "--out", str(out)]
    )
    assert refused.exit_code == 2
    assert "trained to tap" in refused.output
    assert not out.exists()
