"""The comparison with Pythae: the same network, the same images, one loss for all."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from musicae.models import build_model
from musicae.spec import Layout, TensorSpec

SMALL = {"mlp": {"width": 16, "depth": 1, "latent_size": 4}, "conv": {"widths": (4, 8), "latent_size": 4}}
SPEC = TensorSpec(layout=Layout.GRID, shape=(1, 8, 8), likelihood="bernoulli")


@pytest.fixture
def image_training(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("image_training")


@pytest.mark.parametrize("model", SMALL)
def test_pythae_trains_the_same_weights_and_takes_the_same_loss(image_training: ModuleType, model: str) -> None:
    pytest.importorskip("pythae", reason="pip install pythae")
    network = build_model(model, SPEC, SMALL[model])
    vae = image_training.pythae_vae(network)
    assert {id(weight) for weight in vae.parameters()} == {id(weight) for weight in network.parameters()}
    pictures = torch.rand(5, *SPEC.shape)
    torch.manual_seed(1)
    theirs = vae({"data": pictures})
    torch.manual_seed(1)
    ours = network(pictures, pictures)
    assert theirs.loss.item() == pytest.approx(ours.total.item(), rel=1e-5)
    assert theirs.recon_loss.item() == pytest.approx(ours.reconstruction.item(), rel=1e-5)
    assert theirs.reg_loss.item() == pytest.approx(ours.kl.item(), rel=1e-4)


def test_an_epoch_of_pythae_moves_the_weights(image_training: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("pythae", reason="pip install pythae")
    network = build_model("mlp", SPEC, SMALL["mlp"])
    before = [weight.detach().clone() for weight in network.parameters()]
    pictures = torch.rand(20, *SPEC.shape)
    made = image_training.pythae_trainer(network, pictures, tmp_path, batch_size=8, learning_rate=1e-3)
    image_training.train_pythae_epoch(made, 1)
    assert all(not torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_the_loss_is_the_mean_over_all_pictures_and_the_same_each_time(image_training: ModuleType) -> None:
    network = build_model("mlp", SPEC, SMALL["mlp"])
    pictures = torch.rand(300, *SPEC.shape)
    loss = image_training.loss_of(network, pictures)
    assert loss == image_training.loss_of(network, pictures)
    generator = torch.Generator().manual_seed(0)
    parts = [network.score(part, part, generator).loss.total for part in pictures.split(256)]
    assert loss == pytest.approx(torch.cat(parts).mean().item(), rel=1e-6)


def test_every_contender_begins_with_the_same_weights(
    image_training: ModuleType, idx_folder: Path, tmp_path: Path
) -> None:
    weights = []
    for number, name in enumerate(("musicae_float32", "musicae")):
        plan = image_training.Plan(name, "mlp", idx_folder, pictures=128, epochs=1, threads=1)
        trainee, test = image_training.build(plan, tmp_path / str(number))
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


def test_what_is_stored_is_of_both_networks_and_fits_together(
    image_training: ModuleType, script: Callable[[str], ModuleType]
) -> None:
    results = script("stored").read("image-training")
    assert set(results) == set(image_training.MODELS)
    for row in results.values():
        assert row["times_pythae"] == pytest.approx(row["musicae"]["images_per_s"] / row["pythae"]["images_per_s"])
        assert len({row[name]["weights"] for name in image_training.CONTENDERS}) == 1
        assert min(len(row[name]["epoch_s"]) for name in image_training.CONTENDERS) >= 3
