"""Priors and latents: densities against torch.distributions, flows against their own inverse and Jacobian."""

import copy
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import distributions

from musicae.errors import MusicaeError
from musicae.models import build_model
from musicae.nn.latent import AdversarialLatent, DeterministicLatent, GaussianLatent, Posterior
from musicae.nn.latents import LATENTS
from musicae.nn.prior import PRIORS, FlowPrior, MixturePrior, SequencePrior, StandardPrior
from musicae.spec import Layout, TensorSpec
from musicae.training.checkpoint import with_present_names

IMAGE = TensorSpec(layout=Layout.GRID, shape=(1, 8, 8), likelihood="bernoulli")


def trained_flow(numbers: int = 5) -> FlowPrior:
    """A flow whose last layers are no longer zero."""
    torch.manual_seed(1)
    flow = FlowPrior((numbers,))
    for parameter in flow.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return flow.double()


def test_the_tables_hold_what_the_settings_offer():
    assert set(PRIORS) == {"standard", "flow", "mixture"}
    assert set(LATENTS) == {
        "deterministic",
        "gaussian",
        "adversarial",
        "fsq",
        "vq",
    }


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
    latent = GaussianLatent((4,), PRIORS[name])
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
    latent = DeterministicLatent((4,), PRIORS["standard"])
    assert not latent.is_generative
    with pytest.raises(MusicaeError, match="no prior to sample from; train with --latent gaussian"):
        latent.sample(1, torch.Generator())
    with pytest.raises(MusicaeError, match="prior 'flow' needs latent gaussian"):
        build_model("mlp", IMAGE, {"latent": "deterministic", "prior": "flow"})
    steps = TensorSpec(layout=Layout.STEPS, shape=(32, 1), likelihood="categorical", vocabulary=(90,), segment=16)
    assert build_model("steps", steps, {"latent": "deterministic", "width": 16}).config.prior == "standard"


def test_a_discriminator_and_the_codes_each_get_only_their_own_gradient():
    torch.manual_seed(0)
    latent = AdversarialLatent((4,), PRIORS["standard"])
    z = torch.randn(16, 4, requires_grad=True)
    penalty = latent.penalty(Posterior(z), z, torch.Generator().manual_seed(0))
    with torch.no_grad():
        # What the discriminator learns adds nothing to the value.
        assert torch.allclose(latent.penalty(Posterior(z), z), penalty, atol=1e-6)
        certainty = latent.discriminator(z).squeeze(1)
    assert torch.allclose(penalty, -torch.nn.functional.logsigmoid(certainty) - math.log(2), atol=1e-6)
    penalty.mean().backward()
    learned = [weight.grad.clone() for weight in latent.discriminator.parameters()]
    # Of the codes: -log D(z). Of the discriminator: -log D(draw) - log(1 - D(code)).
    own = z.detach().clone().requires_grad_()
    (-torch.nn.functional.logsigmoid(latent.discriminator(own))).mean().backward()
    assert torch.allclose(z.grad, own.grad, atol=1e-6)
    latent.zero_grad()
    drawn = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    judge = torch.nn.functional.logsigmoid
    (-judge(latent.discriminator(drawn)) - judge(-latent.discriminator(z.detach()))).mean().backward()
    for weight, expected in zip(latent.discriminator.parameters(), learned, strict=True):
        assert torch.allclose(weight.grad, expected, atol=1e-6)


def test_adversarial_codes_become_like_the_prior_and_the_discriminator_learns():
    torch.manual_seed(0)
    pictures = torch.from_numpy(load_digits().images).float()[:, None] / 16
    model = build_model("mlp", IMAGE, {"width": 128, "depth": 1, "latent_size": 4, "latent": "adversarial"})
    before = [weight.clone() for weight in model.latent.discriminator.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.encoder[-1].parameters():
        parameter.data += 1.0  # far from where codes are wanted

    def distance() -> float:
        with torch.no_grad():
            z = model.encode(pictures).mean
        return (z.mean(0).square().mean() + (z.std(0) - 1).square().mean()).item()

    at_first, errors = distance(), []
    for _ in range(600):
        batch = pictures[torch.randint(len(pictures), (128,), generator=generator)]
        loss = model(batch, batch, generator=generator)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        errors.append(loss.reconstruction.item())
    assert distance() < 0.2 < at_first
    assert errors[-1] < 0.8 * errors[0]
    after = model.latent.discriminator.parameters()
    assert all((new - old).abs().mean() > 1e-3 for new, old in zip(after, before, strict=True))
    assert loss.kl.item() == 0
    drawn = model.latent.sample(2000, generator)
    assert drawn.std().item() == pytest.approx(1, abs=0.05)
    with pytest.raises(MusicaeError, match="no density"):
        model.latent.log_prob(drawn)


def sequence_prior(seed: int = 0) -> SequencePrior:
    """Three pooled numbers, two of each of five moments, and weights that say something."""
    prior = SequencePrior((13,), pooled=3, moments=5)
    generator = torch.Generator().manual_seed(seed)
    for parameter in prior.sequence.net.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return prior


def test_a_sequence_prior_maps_there_and_back():
    prior, z = sequence_prior(), torch.randn(4, 13)
    torch.testing.assert_close(prior.from_base(prior.to_base(z)), z, atol=1e-5, rtol=1e-5)


def test_the_density_of_a_sequence_is_that_of_its_change_of_variables():
    prior, z = sequence_prior(), torch.randn(3, 13)
    for row in z:
        jacobian = torch.autograd.functional.jacobian(lambda x: prior.to_base(x[None])[0], row)
        normal = distributions.Normal(0.0, 1.0).log_prob(prior.to_base(row[None])).sum()
        expected = normal + torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(prior.log_prob(row[None])[0], expected, atol=1e-4, rtol=1e-4)


def test_moments_drawn_one_after_the_other_hold_together():
    prior = SequencePrior((202,), pooled=2, moments=100)
    with torch.no_grad():
        prior.sequence.net[-1].bias.view(prior.BASES + 3, 2)[-1] = 2.0  # a long memory
    moments = prior.from_base(torch.randn(50, 202))[:, 2:].unflatten(1, (2, 100))
    steps, spread = moments.diff(dim=-1).std(), moments.std()
    assert steps < 0.3 * spread


def far_codes(count: int) -> Posterior:
    """Pooled numbers that go together, far from 0, and moments that follow the first of them and stray slowly."""
    generator = torch.Generator().manual_seed(0)
    pooled = 8 + torch.randn(count, 3, generator=generator) @ torch.tensor([[9.0, 5.0, 0.0], [0, 2, 0], [0, 0, 0.5]])
    deviation = torch.randn(count, 2, 5, generator=generator).cumsum(-1)
    moments = 30 + pooled[:, :1, None] + deviation
    mean = torch.cat([pooled, moments.flatten(1)], 1)
    return Posterior(mean, torch.full_like(mean, -4.0))


@pytest.fixture(scope="module")
def of_far_codes() -> SequencePrior:
    """A prior fitted to `far_codes(600)`; not to be changed."""
    torch.manual_seed(0)
    prior = SequencePrior((13,), pooled=3, moments=5)
    assert prior.fit(far_codes(600), torch.Generator().manual_seed(1))
    return prior


def test_a_fitted_prior_lies_where_the_codes_do(of_far_codes):
    prior, codes = of_far_codes, far_codes(600)
    before = SequencePrior((13,), pooled=3, moments=5).log_prob(codes.mean).mean()
    assert prior.log_prob(codes.mean).mean() > before + 50

    base = prior.to_base(codes.mean).detach()
    assert base.mean(0).abs().max() < 0.25
    assert base.std(0) == pytest.approx([1.0] * 13, abs=0.25)
    drawn = prior.from_base(torch.randn(2000, 13, generator=torch.Generator().manual_seed(2))).detach()
    torch.testing.assert_close(drawn.mean(0), codes.mean.mean(0), atol=1.5, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.mean.T.cov(), atol=20, rtol=0.15)
    torch.testing.assert_close(prior.from_base(base).detach(), codes.mean, atol=1e-3, rtol=1e-4)


def test_a_fitted_prior_is_a_density_still(of_far_codes):
    prior = of_far_codes
    row = far_codes(1).mean[0]
    jacobian = torch.autograd.functional.jacobian(lambda x: prior.to_base(x[None])[0], row)
    normal = distributions.Normal(0.0, 1.0).log_prob(prior.to_base(row[None])).sum()
    expected = normal + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(prior.log_prob(row[None])[0], expected, atol=1e-3, rtol=1e-4)


def test_posteriors_are_joined_row_by_row():
    small = Posterior(torch.ones(2, 3), torch.full((2, 3), -200.0))  # a variance that is zero in float32
    joined = Posterior.joined([small, Posterior(torch.zeros(1, 3, dtype=torch.bfloat16), torch.zeros(1, 3))])
    assert joined.mean.tolist() == [[1.0] * 3] * 2 + [[0.0] * 3]
    assert joined.log_variance.tolist() == [[-200.0] * 3] * 2 + [[0.0] * 3]
    points = Posterior.joined([Posterior(torch.ones(1, 3)), Posterior(torch.zeros(2, 3))])
    assert (points.log_variance, len(points.mean)) == (None, 3)
    with pytest.raises(ValueError, match="all 2 parts or of none, got 1"):
        Posterior.joined([small, Posterior(torch.zeros(2, 3))])


def test_a_prior_that_fits_better_than_what_fitting_finds_is_kept(of_far_codes, monkeypatch):
    prior, codes = copy.deepcopy(of_far_codes), far_codes(600)
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    monkeypatch.setattr("musicae.nn.prior._FIT_RATE", 0.0)
    assert not prior.fit(codes, torch.Generator().manual_seed(1))
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())


@pytest.mark.parametrize("flaw", ["few", "constant", "not finite"])
def test_codes_that_say_too_little_change_nothing(flaw):
    prior, codes = sequence_prior(), far_codes(19 if flaw == "few" else 50)
    if flaw != "few":
        codes = Posterior(torch.full_like(codes.mean, 3.0 if flaw == "constant" else math.nan), codes.log_variance - 30)
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    assert not prior.fit(codes, torch.Generator().manual_seed(1))
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())


def test_a_sequence_prior_of_before_priors_were_fitted_afterwards_is_read_as_it_was(of_far_codes):
    prior, z = sequence_prior(), torch.randn(4, 13)
    weights = {name: value for name, value in prior.state_dict().items() if name.startswith("sequence.")}
    former = {f"latent.prior.{name.removeprefix('sequence.')}": value for name, value in weights.items()}
    again = copy.deepcopy(of_far_codes)
    present = {name.removeprefix("latent.prior."): value for name, value in with_present_names(former).items()}
    again.load_state_dict(present)
    assert torch.equal(again.to_base(z), prior.to_base(z))
