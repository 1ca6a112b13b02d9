"""The comparison with Pythae: the same network, the same images, one loss for all."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from musicae.models import build_model
from musicae.spec import Layout, TensorSpec

BENCHMARKS = Path(__file__).resolve().parent.parent / "experiments"
SMALL = {"mlp": {"width": 16, "depth": 1, "latent_size": 4}, "conv": {"widths": (4, 8), "latent_size": 4}}
SPEC = TensorSpec(layout=Layout.GRID, shape=(1, 8, 8), likelihood="bernoulli")


@pytest.fixture
def benchmark(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("image_training")


@pytest.fixture
def pythae_training(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("pythae", reason="pip install pythae")
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("pythae_training")


@pytest.mark.parametrize("model", SMALL)
def test_pythae_trains_the_same_weights_and_takes_the_same_loss(pythae_training: ModuleType, model: str) -> None:
    network = build_model(model, SPEC, SMALL[model])
    vae = pythae_training.wrapped(network)
    assert {id(weight) for weight in vae.parameters()} == {id(weight) for weight in network.parameters()}
    pictures = torch.rand(5, *SPEC.shape)
    torch.manual_seed(1)
    theirs = vae({"data": pictures})
    torch.manual_seed(1)
    ours = network(pictures, pictures)
    assert theirs.loss.item() == pytest.approx(ours.total.item(), rel=1e-5)
    assert theirs.recon_loss.item() == pytest.approx(ours.reconstruction.item(), rel=1e-5)
    assert theirs.reg_loss.item() == pytest.approx(ours.kl.item(), rel=1e-4)


def test_an_epoch_of_pythae_moves_the_weights(pythae_training: ModuleType, tmp_path: Path) -> None:
    network = build_model("mlp", SPEC, SMALL["mlp"])
    before = [weight.detach().clone() for weight in network.parameters()]
    made = pythae_training.trainer(
        network, torch.rand(20, *SPEC.shape), batch_size=8, learning_rate=1e-3, workers=0, folder=tmp_path
    )
    pythae_training.train_epoch(made, 1)
    assert all(not torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_the_loss_is_the_mean_over_all_pictures_and_the_same_each_time(benchmark: ModuleType) -> None:
    network = build_model("mlp", SPEC, SMALL["mlp"])
    pictures = torch.rand(300, *SPEC.shape)
    loss = benchmark.loss_of(network, pictures)
    assert loss == benchmark.loss_of(network, pictures)
    generator = torch.Generator().manual_seed(0)
    parts = [network.score(part, part, generator).loss.total for part in pictures.split(256)]
    assert loss == pytest.approx(torch.cat(parts).mean().item(), rel=1e-6)


def test_every_contender_begins_with_the_same_weights(benchmark: ModuleType, idx_folder: Path, tmp_path: Path) -> None:
    weights = []
    for number, name in enumerate(("musicae_float32", "musicae")):
        plan = benchmark.Plan(name, "mlp", idx_folder, pictures=128, epochs=1, threads=1)
        trainee, test = benchmark.build(plan, tmp_path / str(number))
        weights.append([weight.detach().clone() for weight in trainee.trained().parameters()])
        assert (trainee.pictures, len(test)) == (128, 20)
        trainee.epoch()
        trainee.close()
        assert all(not torch.equal(*pair) for pair in zip(weights[-1], trainee.trained().parameters(), strict=True))
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Random pictures as MNIST's files."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for name, count in (("train", 200), ("t10k", 20)):
        pixels = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8).numpy().tobytes()
        header = b"".join(number.to_bytes(4, "big") for number in (0x803, count, 28, 28))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + pixels)
    return folder


def test_the_table_shows_speed_and_loss_of_all(benchmark: ModuleType) -> None:
    speeds = {"pythae": 500.0, "musicae_float32": 600.0, "musicae": 1100.0}
    row = {
        name: {"images_per_s": speed, "test_loss_nats": 99.96, "weights": 10_100_000} for name, speed in speeds.items()
    }
    results = {"mlp": {**row, "times_pythae": 2.2, "machine": {"device": "cpu", "threads": 2}}}
    assert benchmark.table(results).splitlines()[-1] == (
        "| mlp, 10.1 million weights, cpu | 500 | 600 | 1100 | 2.2 × | 100.0 | 100.0 | 100.0 |"
    )


def test_the_results_that_are_kept_are_of_both_networks_and_stand_in_the_readme(benchmark: ModuleType) -> None:
    results = json.loads(benchmark.RESULTS.read_text())
    assert benchmark.table(results) in (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
    assert set(results) == set(benchmark.PICTURES)
    for row in results.values():
        assert row["times_pythae"] == pytest.approx(row["musicae"]["images_per_s"] / row["pythae"]["images_per_s"])
        assert len({row[name]["weights"] for name in benchmark.CONTENDERS}) == 1
        assert min(len(row[name]["epoch_s"]) for name in benchmark.CONTENDERS) >= 3
