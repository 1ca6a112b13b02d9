"""Priors and latents: densities against torch.distributions, flows against their own inverse and Jacobian."""

import math

import pytest
import torch
from torch import distributions

from musicae.errors import MusicaeError
from musicae.models import build_model
from musicae.nn.latent import LATENTS, DeterministicLatent, GaussianLatent
from musicae.nn.posterior import Posterior
from musicae.nn.prior import PRIORS, FlowPrior, MixturePrior, StandardPrior
from musicae.spec import Layout, TensorSpec

IMAGE = TensorSpec(layout=Layout.GRID, shape=(1, 8, 8), likelihood="bernoulli")


def trained_flow(numbers: int = 5) -> FlowPrior:
    """A flow whose last layers are no longer zero."""
    torch.manual_seed(1)
    flow = FlowPrior((numbers,))
    for parameter in flow.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return flow.double()


def test_the_tables_hold_what_the_settings_offer():
    assert set(PRIORS) == {"standard", "flow", "mixture"} and set(LATENTS) == {"deterministic", "gaussian"}


def test_a_posterior_has_the_entropy_and_density_of_a_normal():
    mean, log_variance, z = torch.randn(6, 3), torch.randn(6, 3), torch.randn(6, 3)
    posterior = distributions.Normal(mean, torch.exp(0.5 * log_variance))
    ours = Posterior(mean, log_variance)
    torch.testing.assert_close(ours.entropy(), posterior.entropy().sum(1))
    torch.testing.assert_close(ours.log_prob(z), posterior.log_prob(z).sum(1))
    with pytest.raises(ValueError, match="no density"):
        Posterior(mean).log_prob(z)


def test_a_new_flow_is_a_standard_normal():
    z = torch.randn(7, 6)
    torch.testing.assert_close(FlowPrior((6,)).log_prob(z), StandardPrior((6,)).log_prob(z))


def test_a_flow_and_its_inverse_cancel():
    flow, z = trained_flow(), torch.randn(9, 5, dtype=torch.float64)
    base = flow.to_base(z)
    assert (base - z).abs().max() > 0.1
    torch.testing.assert_close(flow.from_base(base), z, atol=1e-4, rtol=0)  # scales are kept in float32


def test_the_density_of_a_flow_is_that_of_its_jacobian():
    flow, z = trained_flow(), torch.randn(4, 5, dtype=torch.float64)
    for code in z:
        jacobian = torch.autograd.functional.jacobian(lambda one: flow.to_base(one[None])[0], code)
        base = flow.to_base(code[None])[0]
        expected = -0.5 * (base.pow(2).sum() + 5 * math.log(2 * math.pi)) + jacobian.det().abs().log()
        torch.testing.assert_close(flow.log_prob(code[None])[0], expected, atol=1e-4, rtol=0)


def test_a_flow_learns_two_clusters_that_one_normal_cannot():
    torch.manual_seed(0)
    flow = FlowPrior((2,))
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)

    def draw(count: int) -> torch.Tensor:
        side = torch.randint(0, 2, (count, 1)) * 4.0 - 2.0
        return side + 0.3 * torch.randn(count, 2)

    for _ in range(150):
        optimizer.zero_grad()
        (-flow.log_prob(draw(256)).mean()).backward()
        optimizer.step()
    held_out = draw(2000)
    fitted = distributions.MultivariateNormal(held_out.mean(0), torch.cov(held_out.T))
    assert flow.log_prob(held_out).mean() > fitted.log_prob(held_out).mean() + 0.5
    drawn = flow.from_base(flow.sample_base(2000, torch.Generator().manual_seed(0)))
    assert ((drawn.mean(1).abs() - 2).abs() < 1).double().mean() > 0.8


def test_a_mixture_has_the_density_of_torch_and_draws_from_it():
    torch.manual_seed(0)
    mixture = MixturePrior((3,))
    for parameter in mixture.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    components = distributions.Independent(distributions.Normal(mixture.mean, mixture.log_sigma.exp()), 1)
    reference = distributions.MixtureSameFamily(distributions.Categorical(logits=mixture.weight_logits), components)
    z = torch.randn(11, 3)
    torch.testing.assert_close(mixture.log_prob(z), reference.log_prob(z), atol=1e-4, rtol=1e-4)
    drawn = mixture.sample_base(20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), reference.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), reference.variance, atol=0.06, rtol=0)


@pytest.mark.parametrize("name", PRIORS)
def test_the_kl_is_what_many_draws_say(name):
    torch.manual_seed(0)
    latent = GaussianLatent((4,), name)
    for parameter in latent.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    posterior = Posterior(torch.tensor([[0.5, -1.0, 0.0, 2.0]]), torch.tensor([[-1.0, 0.0, 0.5, -2.0]]))
    many = Posterior(posterior.mean.expand(20_000, -1), posterior.log_variance.expand(20_000, -1))
    z = many.sample(torch.Generator().manual_seed(0))
    drawn = (many.log_prob(z) - latent.log_prob(z)).mean()
    assert latent.kl(many, z).mean().item() == pytest.approx(drawn.item(), abs=0.03)


@pytest.mark.parametrize("prior", PRIORS)
def test_a_learned_prior_gets_a_gradient_from_the_loss(prior):
    model = build_model("mlp", IMAGE, {"width": 16, "latent_size": 4, "prior": prior})
    batch = torch.rand(8, 1, 8, 8).round()
    model(batch, batch, generator=torch.Generator().manual_seed(0)).total.backward()
    learned = list(model.latent.parameters())
    assert bool(learned) == (prior != "standard")
    assert all(parameter.grad is not None for parameter in learned)


def test_a_plain_autoencoder_has_no_prior_to_draw_from_and_wants_none():
    latent = DeterministicLatent((4,), "standard")
    assert not latent.is_generative
    with pytest.raises(MusicaeError, match="no prior to sample from; train with --latent gaussian"):
        latent.sample(1, torch.Generator())
    with pytest.raises(MusicaeError, match="prior 'flow' needs latent gaussian"):
        build_model("mlp", IMAGE, {"latent": "deterministic", "prior": "flow"})
    steps = TensorSpec(layout=Layout.STEPS, shape=(32, 1), likelihood="categorical", vocabulary=(90,), segment=16)
    assert build_model("steps", steps, {"latent": "deterministic", "width": 16}).config.prior == "standard"
