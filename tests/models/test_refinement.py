"""Codes that are improved by gradient steps: against a decoder whose best code is known, and on trained models."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from musicae.cli import main
from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate_files
from musicae.models import MODELS
from musicae.models.grid import GridAutoencoder
from musicae.models.refinement import refined
from musicae.models.sizes import ModelConfig
from musicae.nn.latent import Posterior
from musicae.spec import Layout, TensorSpec
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


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"unet", "causal", "restorer"}))
def test_every_model_that_decodes_codes_can_refine_them(name: str):
    model, x = small(name).eval(), batch_of(spec_of(name))
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        z = model.encode(x).mean
        better = refined(model, z, x, steps=5)
        assert better.shape == z.shape
        assert bool((model.log_likelihood(better, x) > model.log_likelihood(z, x)).all())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [("unet", {}, "no codes to refine"), ("conv", {"latent": "fsq"}, "tokens"), ("mlp", {"latent": "vq"}, "tokens")],
)
def test_codes_that_cannot_move_are_refused(name: str, settings: dict[str, str], words: str):
    model = small(name, **settings)
    with pytest.raises(MusicaeError, match=words):
        TrainedModel(model, None, None, "cpu").refining(3)  # type: ignore[arg-type]  # it looks at the network alone
    with pytest.raises(ValueError, match="steps is 0 or more"):
        refined(linear(), torch.zeros(1, 2), examples(1), steps=-1)


@pytest.fixture(scope="module")
def melody() -> TrainedModel:
    return load("melody-2bar")


def test_a_melody_comes_back_as_it_was(melody: TrainedModel):
    """Noisy symbols are far from what the encoder learned, so that its own code loses much of them."""
    x = melody.sample(24, seed=0, temperature=1.5).tensor
    plain, better = (float((model.reconstruct(x) == x).float().mean()) for model in (melody, melody.refining(30)))
    assert better > plain
    assert better > 0.99
    codes = melody.refining(30).encode(x)
    assert bool((melody.decode(codes) == melody.refining(30).reconstruct(x)).all())


def test_settings_keep_the_steps(melody: TrainedModel):
    assert melody.refining(7).with_settings(track=0).refine == 7


def test_evaluation_scores_refined_codes_too(image: TrainedModel, audio: TrainedModel):
    found = evaluate_files(image, [], refine=20)
    assert found["mse_refined"] < found["mse_mean"] < found["mse"]
    with pytest.raises(MusicaeError, match="no codes to refine"):
        evaluate_files(audio, [], refine=1)


def test_the_command_refines(tmp_path: Path):
    given = str(Path(__file__).parents[2] / "data" / "a.mid")
    results = []
    for steps in ("0", "5"):
        out = tmp_path / f"{steps}.mid"
        ran = CliRunner().invoke(main, ["reconstruct", given, "--refine", steps, "--out", str(out)])
        assert ran.exit_code == 0, ran.output
        results.append(out)
    refused = CliRunner().invoke(
        main, ["reconstruct", given, "--model", "drums-2bar-tap", "--refine", "5", "--out", str(tmp_path / "no.mid")]
    )
    assert refused.exit_code == 2
    assert "no codes to refine" in refused.output
    assert not (tmp_path / "no.mid").exists()
