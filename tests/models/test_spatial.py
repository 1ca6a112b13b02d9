"""Grids of codes, and the second stages that draw them: flow matching, and a Transformer over tokens."""

from pathlib import Path

import pytest
import torch

from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate
from musicae.models import build_model
from musicae.spec import Layout, TensorSpec
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

QUICK = {"batch_size": 64, "warmup_steps": 5, "precision": "no", "log_with": (), "labels": True, "learning_rate": 3e-3}
SMALL = {"widths": (16, 24), "latent_size": 4, "patch": 1}
LATENTS = {"gaussian": {"latent": "gaussian", "beta": 0.2}, "fsq": {"latent": "fsq", "levels": (4, 4)}}


def trained(folder: Path, steps: int, **settings) -> Path:
    settings = {**QUICK, "steps": steps, "evaluate_every": steps, **settings}
    experiment = Experiment.resolve("image", data=(), model="spatial", settings=settings)
    experiment.run(folder, experiment.read())
    return folder


@pytest.fixture(scope="module", params=LATENTS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, TrainedModel]:
    """A model of the starter digits, and the same with a second stage."""
    folder = tmp_path_factory.mktemp(request.param)
    first = trained(folder / "first", 150, **SMALL, **LATENTS[request.param])
    flow = {"second_stage": True, "flow_width": 64, "flow_blocks": 2, "start_from": str(first)}
    steps = 700 if request.param == "gaussian" else 250
    return load(first, "cpu"), load(trained(folder / "second", steps, **flow), "cpu")


def test_the_first_stage_stays_as_it_is(both: tuple[TrainedModel, TrainedModel]):
    before, after = (model.network.state_dict() for model in both)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert len(after) > len(before)


def test_a_grid_is_rebuilt_at_its_own_size(both: tuple[TrainedModel, TrainedModel]):
    first, _ = both
    experiment = Experiment.resolve("image", data=(), model="spatial", settings={"labels": True})
    dataset = experiment.read()
    pictures = first.domain.tensor(torch.from_numpy(dataset.examples[dataset.splits["test"]]))
    answer = first.reconstruct(pictures.target)
    assert (answer - pictures.target).square().mean() < 0.5 * pictures.target.var()
    assert first.encode(pictures.target).shape == (len(answer), 4, 4, 4)


def test_a_label_says_what_is_drawn(both: tuple[TrainedModel, TrainedModel]):
    _, second = both
    experiment = Experiment.resolve("image", data=(), model="spatial", settings={"labels": True})
    dataset = experiment.read()
    stored = torch.from_numpy(dataset.examples.copy())
    pictures, labels = second.domain.tensor(stored).target, second.domain.labels(stored)["label"]
    means = torch.stack([pictures[[label == str(digit) for label in labels]].mean(0) for digit in range(10)])
    drawn = torch.cat([second.sample(20, label=str(digit), seed=digit).tensor[:, 0] for digit in range(10)])
    nearest = torch.cdist(drawn.flatten(1), means.flatten(1)).argmin(1)
    wanted = torch.arange(10).repeat_interleave(20)
    assert (nearest == wanted).float().mean() > 0.4  # of which a tenth would be right by chance
    assert torch.equal(second.sample(3, seed=1).tensor, second.sample(3, seed=1).tensor)


def test_without_a_label_any_is_drawn(both: tuple[TrainedModel, TrainedModel]):
    first, second = both
    generator = torch.Generator().manual_seed(0)
    classes = second.network.usual_condition(500, generator)
    assert classes.shape == (500, 1) and set(classes.flatten().tolist()) == set(range(1, 11))
    assert first.network.usual_condition(5, generator) is None


def test_the_second_stage_says_what_tokens_cost(tmp_path: Path):
    first = trained(tmp_path / "first", 60, **SMALL, **LATENTS["fsq"])
    second = trained(tmp_path / "second", 200, second_stage=True, flow_width=64, flow_blocks=2, start_from=str(first))
    experiment = Experiment.resolve("image", data=(), model="spatial", settings={"labels": True})
    dataset = experiment.read()
    uniform, learned = (evaluate(load(run, "cpu"), dataset, limit=100) for run in (first, second))
    assert uniform["kl_bits"] == pytest.approx(2 * 16 * 4)  # two tokens of four bits for each of 4 by 4 cells
    assert learned["kl_bits"] < 0.9 * uniform["kl_bits"]
    assert learned["mse"] == uniform["mse"]
    assert learned["elbo_nats"] > uniform["elbo_nats"]
    assert 0 < uniform["codebook_use"] <= 1
    assert 1 <= uniform["codebook_perplexity"] <= 16


def test_weights_do_not_grow_with_the_picture():
    sizes = [TensorSpec(layout=Layout.GRID, shape=(3, side, side), likelihood="gaussian") for side in (64, 256)]
    small, large = (sum(value.numel() for value in build_model("spatial", spec, {}).parameters()) for spec in sizes)
    assert small == large


@pytest.mark.parametrize("latent", LATENTS)
def test_rows_of_codes_and_grids_say_the_same(latent: str):
    spec = TensorSpec(layout=Layout.GRID, shape=(1, 12, 20), likelihood="gaussian")
    model = build_model("spatial", spec, {**SMALL, **{k: v for k, v in LATENTS[latent].items() if k != "beta"}})
    z = torch.randn(3, *model.latent_shape)
    assert torch.equal(model._from_row(model._row(z)), z)
    assert torch.equal(model._row(z)[:, :4], z[:, :, 0, 0])


def test_a_label_is_refused_where_nothing_has_learned_to_draw_by_it(both: tuple[TrainedModel, TrainedModel]):
    first, _ = both
    with pytest.raises(MusicaeError, match="has not learned which codes a label has"):
        first.sample(2, label="3")
