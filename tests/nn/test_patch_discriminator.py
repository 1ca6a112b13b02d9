"""The patch discriminator: who learns from what, and that it tells real from blurred."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import musicae
from musicae.models import build_model
from musicae.nn.patch_discriminator import PatchDiscriminator
from musicae.shipped import find_model
from musicae.spec import Layout, TensorSpec
from musicae.trained import load
from musicae.training.checkpoint import take_over

PICTURES = TensorSpec(layout=Layout.GRID, shape=(1, 16, 16), likelihood="gaussian")


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """Sharp random squares of four pixels a side, black or white."""
    draw = torch.rand((count, 1, 4, 4), generator=torch.Generator().manual_seed(seed))
    return F.interpolate((draw > 0.5).float(), scale_factor=4.0, mode="nearest")


def blurred(batch: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.pad(batch, (2, 2, 2, 2), mode="replicate"), 5, stride=1)


def test_each_side_learns_from_its_own_part_alone():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(1, width=8)
    target = pictures(4)
    for part in range(3):
        estimate = blurred(target).requires_grad_()
        discriminator.zero_grad()
        discriminator.losses(estimate, target)[part].sum().backward()
        weights = [weight.grad for weight in discriminator.parameters()]
        is_learned = all(gradient is not None and gradient.abs().max() > 0 for gradient in weights)
        is_untouched = all(gradient is None for gradient in weights)
        assert is_learned if part == 2 else is_untouched
        assert (estimate.grad is None) if part == 2 else bool(estimate.grad.abs().max() > 0)


def test_what_is_equal_costs_nothing_and_the_own_loss_has_no_value():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(3, width=8)
    target = torch.rand(5, 3, 32, 24)
    adversarial, perceptual, own = discriminator.losses(target, target)
    assert adversarial.shape == perceptual.shape == own.shape == (5,)
    assert torch.equal(perceptual, torch.zeros(5)) and torch.equal(own, torch.zeros(5))
    far, near = (discriminator.losses(target + amount * torch.randn_like(target), target)[1] for amount in (0.3, 0.03))
    assert (far > 2 * near).all()


def test_it_learns_to_tell_real_from_blurred_and_then_asks_for_sharp_pictures():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(1, width=8)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=3e-3)
    for step in range(120):
        batch = pictures(32, seed=step)
        optimizer.zero_grad()
        discriminator.losses(blurred(batch), batch)[2].mean().backward()
        optimizer.step()
    unseen = pictures(64, seed=1000)
    costs = [discriminator.losses(estimate, unseen)[0].mean() for estimate in (unseen, blurred(unseen))]
    assert costs[0] < -0.5 < 1.0 < costs[1]


def test_the_loss_of_a_model_has_it_in_training_alone():
    settings = {"widths": (4, 8), "latent_size": 2, "patch": 1}
    torch.manual_seed(0)
    model = build_model("conv", PICTURES, {**settings, "patch_discriminator": 0.5, "perceptual": 2.0})
    batch = pictures(4)
    generator = [torch.Generator().manual_seed(1) for _ in range(3)]
    loss = model.loss(batch, generator=generator[0])
    with torch.no_grad():
        plain = model.loss(batch, generator=generator[1])
        part = model.score(batch, generator=generator[2])
        adversarial, perceptual, _ = model.discriminator.losses(part.parameters, batch)
    assert float(plain.total) == pytest.approx(float(plain.reconstruction + plain.kl), rel=1e-5)
    added = 256 * float((0.5 * adversarial + 2.0 * perceptual).mean())
    assert float(loss.total.detach() - plain.total) == pytest.approx(added, rel=1e-3, abs=1e-2)
    assert float(loss.reconstruction.detach()) == pytest.approx(float(plain.reconstruction), rel=1e-5)
    loss.total.backward()
    assert all(weight.grad is not None for weight in model.discriminator.parameters())
    assert build_model("conv", PICTURES, settings).discriminator is None


def test_sounds_have_no_patches():
    spec = TensorSpec(layout=Layout.GRID, shape=(1, 64, 16), likelihood="magnitude")
    with pytest.raises(ValueError, match="are for pictures, not for magnitude"):
        build_model("conv", spec, {"widths": (4, 8), "perceptual": 1.0})


@pytest.mark.parametrize("settings", [{"prior": "flow"}, {"latent": "vq", "latent_size": 4}])
def test_a_model_goes_on_with_a_discriminator_or_without_and_keeps_its_prior(tmp_path: Path, settings: dict) -> None:
    settings = {"widths": (4, 8), "latent_size": 2, "patch": 1, "log_with": (), "steps": 2, "device": "cpu", **settings}
    plain = musicae.train("image", model="conv", out=tmp_path / "plain", **settings)
    more = {"patch_discriminator": 1.0, "perceptual": 1.0}
    for start, kept in (("plain", more), ("judged", {"patch_discriminator": 0.0, "perceptual": 0.0})):
        name = "judged" if start == "plain" else "again"
        model = build_model("conv", plain.network.spec, {**plain.manifest.model_settings, **kept})
        count = take_over(model, find_model(str(tmp_path / start)))
        assert count == len(plain.network.state_dict())
        before = load(tmp_path / start).network.state_dict()
        assert all(torch.equal(model.state_dict()[key], before[key]) for key in plain.network.state_dict())
        musicae.train("image", out=tmp_path / name, start_from=tmp_path / start, steps=1, log_with=(), **kept)
