"""Discrete latents: tokens, their bits, straight-through gradients, and codebooks that learn."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from musicae.models import build_model
from musicae.nn.quantisation import FSQLatent, Quantised, VQLatent
from musicae.spec import Layout, TensorSpec

LEVELS = (8, 5, 3)


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6,), (6, 2, 3)])
def test_every_number_is_the_nearest_of_its_levels(shape: tuple[int, ...]):
    latent = FSQLatent(shape, LEVELS)
    projected = numbers(50, *shape, scale=2.0)
    z = latent(projected).mean
    # A level of L is 2k / (L − 1) − 1, and tanh is scaled so that the outer ones are as wide as the others.
    for channel in range(6):
        count = LEVELS[channel % 3]
        grid = 2 * np.arange(count) / (count - 1) - 1
        bounded = np.tanh(projected[:, channel].numpy()) * count / (count - 1)
        wanted = grid[np.abs(bounded[..., None] - grid).argmin(-1)]
        np.testing.assert_allclose(z[:, channel].detach().numpy(), wanted, atol=1e-6)


def test_uniform_numbers_use_all_entries_alike():
    latent = FSQLatent((3,), LEVELS)
    uniform = torch.rand(60_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    counts = torch.bincount(latent.to_tokens(latent(torch.atanh(uniform)).mean)[:, 0], minlength=120)
    assert counts.min() > 400
    assert counts.max() < 600


@pytest.mark.parametrize("latent", [FSQLatent((6,), LEVELS), FSQLatent((6, 2, 2), LEVELS), VQLatent((6, 2, 2), 40, 3)])
def test_tokens_and_codes_say_the_same(latent: FSQLatent | VQLatent):
    if isinstance(latent, VQLatent):
        latent.codebook.copy_(numbers(40, 3))
    tokens = torch.randint(latent.entries, (30, latent.tokens), generator=torch.Generator().manual_seed(0))
    z = latent.of_tokens(tokens)
    assert z.shape == (30, *latent.shape)
    assert torch.equal(latent.to_tokens(z), tokens)
    assert torch.equal(latent.from_base(z + 0.01), z)
    assert latent.sample(5, torch.Generator().manual_seed(1)).shape == (5, *latent.shape)


def test_tokens_are_not_rounded_in_half_precision():
    latent = VQLatent((6,), 64, 3)
    latent.codebook.copy_(100 + 0.1 * numbers(64, 3))
    tokens = torch.arange(64).view(32, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(latent.to_tokens(latent.of_tokens(tokens)), tokens)


def test_all_entries_of_a_codebook_are_different():
    latent = FSQLatent((3,), LEVELS)
    z = latent.of_tokens(torch.arange(120)[:, None])
    wanted = {
        tuple(2 * k / (size - 1) - 1 for k, size in zip(ks, LEVELS, strict=True)) for ks in product(*map(range, LEVELS))
    }
    assert {tuple(round(x, 5) for x in row) for row in z.tolist()} == {
        tuple(round(x, 5) for x in row) for row in wanted
    }


def test_the_kl_is_what_the_tokens_cost_with_a_uniform_prior():
    latent = FSQLatent((6, 2, 2), LEVELS)
    posterior = latent(numbers(4, 6, 2, 2))
    nats = latent.kl(posterior, posterior.mean)
    torch.testing.assert_close(nats, torch.full((4,), 8 * math.log(120)))
    torch.testing.assert_close(-latent.log_prob(posterior.mean) - posterior.entropy(), nats)


def test_gradients_pass_the_rounding():
    fsq = FSQLatent((3,), LEVELS)
    projected = numbers(5, 3).requires_grad_()
    weight = numbers(5, 3, seed=1)
    (fsq(projected).mean * weight).sum().backward()
    slope = (1 - torch.tanh(projected.detach()) ** 2) * torch.tensor([8 / 7, 5 / 4, 3 / 2])
    torch.testing.assert_close(projected.grad, weight * slope)

    vq = VQLatent((3,), 7, 3).eval()
    vq.codebook.copy_(numbers(7, 3, seed=2))
    given = numbers(5, 3).requires_grad_()
    posterior = vq(given)
    assert isinstance(posterior, Quantised)
    ((posterior.mean * weight).sum() + vq.penalty(posterior, posterior.mean).sum()).backward()
    nearest = vq.codebook[torch.cdist(given.detach(), vq.codebook).argmin(1)]
    torch.testing.assert_close(posterior.mean.detach(), nearest)
    torch.testing.assert_close(given.grad, weight + 0.25 * 2 * (given.detach() - nearest))


def test_a_codebook_finds_clusters_and_dead_entries_come_alive():
    generator = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(16, 2, generator=generator)
    latent = VQLatent((2,), 48, 2)

    def learn(steps: int) -> None:
        for _ in range(steps):
            which = torch.randint(16, (256,), generator=generator)
            latent(centres[which] + 0.05 * torch.randn(256, 2, generator=generator))

    learn(300)
    distance = torch.cdist(centres, latent.codebook)
    assert distance.min(1).values.max() < 0.1
    latent.codebook[:24] = latent.sums[:24] = 1000.0
    latent.use[:24] = 1.0
    learn(600)
    assert (torch.cdist(latent.codebook, centres).min(1).values < 0.3).float().mean() > 0.95


def test_a_codebook_stays_as_it_is_when_nothing_is_learned():
    latent = VQLatent((2,), 16, 2)
    latent(numbers(64, 2))
    before = latent.codebook.clone()
    with torch.no_grad():
        latent(numbers(64, 2, seed=1))
    latent.eval()
    latent(numbers(64, 2, seed=2))
    assert torch.equal(latent.codebook, before)
    latent.train()
    latent(numbers(64, 2, seed=3))
    assert not torch.equal(latent.codebook, before)


def test_a_size_that_tokens_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="multiple of the 3 numbers"):
        FSQLatent((7,), LEVELS)


def test_more_entries_than_can_be_counted_are_refused():
    with pytest.raises(ValueError, match="at most 65536 entries"):
        FSQLatent((16,), (256,) * 16)


@pytest.mark.parametrize(
    "settings", [{"latent": "fsq", "levels": (8, 8)}, {"latent": "vq", "entries": 32, "token_numbers": 4}]
)
def test_a_model_with_a_discrete_code_learns(settings: dict):
    spec = TensorSpec(layout=Layout.GRID, shape=(1, 8, 8), likelihood="gaussian")
    torch.manual_seed(0)
    network = build_model("mlp", spec, {"width": 64, "depth": 1, "latent_size": 16, **settings})
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    basis = numbers(3, 64)
    pictures = (numbers(512, 3) @ basis).sigmoid().view(-1, 1, 8, 8)
    errors = []
    for step in range(300):
        loss = network.loss(pictures[step * 64 % 512 :][:64])
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        if step in (0, 299):
            with torch.no_grad():
                errors.append(float((network.reconstruct(pictures) - pictures).square().mean()))
    assert errors[1] < 0.25 * errors[0]
    posterior = network.eval().encode(pictures)
    assert torch.equal(network.latent.from_base(posterior.mean), posterior.mean)
