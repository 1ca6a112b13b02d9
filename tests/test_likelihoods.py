"""Log-probabilities and KL against torch.distributions."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_t
from torch import distributions

from musicae.likelihoods import LIKELIHOODS, Gaussian, StudentT, build_likelihood
from musicae.nn.latent import LOG_VARIANCE_BOUND, DeterministicLatent, GaussianLatent, Posterior
from musicae.nn.prior import PRIORS
from musicae.spec import Layout, TensorSpec
from musicae.spectral_likelihoods import band_weights

GRID = {"layout": Layout.GRID, "shape": (2, 5, 7)}
LOGISTIC = TensorSpec(layout=Layout.GRID, shape=(3, 4, 4), likelihood="discretised_logistic")
STEPS = TensorSpec(layout=Layout.STEPS, shape=(6, 2), likelihood="categorical", vocabulary=(5, 3))


def test_bernoulli_log_probability_is_that_of_torch():
    likelihood = build_likelihood(TensorSpec(**GRID, likelihood="bernoulli"))
    logits, target = torch.randn(4, 2, 5, 7), torch.bernoulli(torch.full((4, 2, 5, 7), 0.4))
    expected = distributions.Bernoulli(logits=logits).log_prob(target).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(logits, target), expected, atol=1e-4, rtol=1e-5)


def test_gaussian_log_probability_is_that_of_torch():
    likelihood = Gaussian(TensorSpec(**GRID, likelihood="gaussian"))
    mean, target = torch.randn(4, 2, 5, 7), torch.randn(4, 2, 5, 7)
    expected = distributions.Normal(mean, likelihood.log_sigma.exp()).log_prob(target).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(mean, target), expected, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("freedom", [0.1, 1.0])
def test_student_t_log_probability_is_that_of_scipy(freedom):
    likelihood = StudentT(TensorSpec(**GRID, likelihood="student_t", degrees_of_freedom=freedom))
    count = math.prod(GRID["shape"])
    torch.manual_seed(0)
    estimate, target = torch.randn(2, 3, *GRID["shape"])
    shape = float(likelihood.log_sigma.detach().exp()) ** 2
    scored = likelihood.log_prob(estimate, target).detach()
    for row in range(3):
        expected = multivariate_t.logpdf(
            target[row].flatten(), estimate[row].flatten(), shape * np.eye(count), df=freedom * count
        )
        assert float(scored[row]) == pytest.approx(expected, rel=1e-5)


def test_student_t_learns_as_much_from_an_example_with_a_tenth_of_the_error():
    likelihood = StudentT(TensorSpec(layout=Layout.GRID, shape=(1, 64, 64), likelihood="student_t"))
    torch.nn.init.constant_(likelihood.scaled_log_sigma, -0.6)
    error = torch.randn(1, 1, 64, 64)
    estimate = torch.cat([error, 0.1 * error]).requires_grad_()
    (-likelihood.log_prob(estimate, torch.zeros_like(estimate)).sum()).backward()
    hard, easy = estimate.grad.flatten(1).norm(dim=1)
    assert float(easy / hard) == pytest.approx(10, rel=0.01)  # of a Gaussian a tenth
    more = StudentT(
        TensorSpec(layout=Layout.GRID, shape=(1, 64, 64), likelihood="student_t", degrees_of_freedom=1000.0)
    )
    again = torch.cat([error, 0.1 * error]).requires_grad_()
    (-more.log_prob(again, torch.zeros_like(again)).sum()).backward()
    hard, easy = again.grad.flatten(1).norm(dim=1)
    assert float(easy / hard) == pytest.approx(0.1, rel=0.01)
    drawn = likelihood.sample(torch.zeros(4000, 1, 8, 8), torch.Generator().manual_seed(0)).detach()
    freedom = 0.1 * 64
    expected = float(likelihood.log_sigma.detach().exp()) * (freedom / (freedom - 2)) ** 0.5
    assert float(drawn.std()) == pytest.approx(expected, rel=0.03)


def test_discretised_logistic_shares_out_all_probability_to_the_levels():
    likelihood = build_likelihood(LOGISTIC)
    assert likelihood.width == 6
    parameters = 3 * torch.randn(1, 6, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = [torch.full((1, 3, 4, 4), level / 255, dtype=torch.float64) for level in range(256)]
    # Each pixel's 256 probabilities sum to one: all cells but one at a fixed level cancel out.
    base = likelihood.log_prob(parameters, levels[7])
    for cell in ((0, 0, 0), (1, 2, 3), (2, 3, 1)):
        total = 0.0
        at_seven = None
        for number, level in enumerate(levels):
            target = levels[7].clone()
            target[0][cell] = level[0][cell]
            share = (likelihood.log_prob(parameters, target) - base).exp().item()
            total += share
            at_seven = share if number == 7 else at_seven
        assert at_seven == pytest.approx(1)
        centre, log_scale = likelihood._split(parameters)
        uniform = distributions.Uniform(torch.tensor(0.0).double(), torch.tensor(1.0).double())
        moved = distributions.AffineTransform(centre[0][cell], log_scale[0][cell].exp())
        logistic = distributions.TransformedDistribution(uniform, [distributions.SigmoidTransform().inv, moved])
        expected = logistic.cdf(torch.tensor(7.5 / 255).double()) - logistic.cdf(torch.tensor(6.5 / 255).double())
        assert 1 / total == pytest.approx(expected.item(), rel=1e-6)


def test_discretised_logistic_keeps_a_gradient_at_any_parameters():
    likelihood = build_likelihood(LOGISTIC)
    for size in (0.0, 5.0, 50.0):
        parameters = (size * torch.randn(4, 6, 4, 4, generator=torch.Generator().manual_seed(1))).requires_grad_()
        target = torch.randint(0, 256, (4, 3, 4, 4), generator=torch.Generator().manual_seed(2)) / 255
        likelihood.log_prob(parameters, target).sum().backward()
        assert torch.isfinite(parameters.grad).all()
        assert size == 50.0 or (parameters.grad != 0).float().mean() > 0.9


def test_discretised_logistic_draws_levels_around_its_centres():
    likelihood = build_likelihood(LOGISTIC)
    parameters = torch.zeros(500, 6, 4, 4)
    parameters[:, :3] = -0.2
    parameters[:, 3:] = -4.0
    drawn = likelihood.sample(parameters, torch.Generator().manual_seed(0))
    assert torch.equal((drawn * 255).round() / 255, drawn)
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.allclose(likelihood.mean(parameters), torch.tensor(0.3))
    assert torch.allclose(likelihood.mode(parameters), torch.tensor(76 / 255))


def test_discretised_logistic_has_the_mean_and_mode_of_its_levels():
    likelihood = build_likelihood(LOGISTIC)
    parameters = torch.randn(6, 6, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters[:, 3:] *= 2
    levels = torch.arange(256).double().view(-1, 1, 1, 1, 1) / 255
    shares = torch.stack([likelihood._each(parameters, level.expand(6, 3, 4, 4)) for level in levels])
    assert torch.allclose(shares.exp().sum(0), torch.tensor(1.0).double())
    assert torch.allclose(likelihood.mean(parameters), (shares.exp() * levels).sum(0), atol=1e-4)
    assert torch.allclose(likelihood.mode(parameters), shares.argmax(0).double() / 255, atol=1e-9)
    assert ((shares.argmax(0) == 0) | (shares.argmax(0) == 255)).any()


def test_categorical_log_probability_sums_the_streams():
    likelihood = build_likelihood(STEPS)
    logits = torch.randn(4, 6, 8)
    target = torch.stack([torch.randint(0, 5, (4, 6)), torch.randint(0, 3, (4, 6))], -1)
    first = distributions.Categorical(logits=logits[..., :5]).log_prob(target[..., 0]).sum(1)
    second = distributions.Categorical(logits=logits[..., 5:]).log_prob(target[..., 1]).sum(1)
    torch.testing.assert_close(likelihood.log_prob(logits, target), first + second, atol=1e-5, rtol=1e-5)
    assert likelihood.width == 8


def test_categorical_mode_and_sample_stay_in_their_vocabularies():
    likelihood = build_likelihood(STEPS)
    logits = 3 * torch.randn(64, 6, 8)
    sample = likelihood.sample(logits, torch.Generator().manual_seed(0))
    assert sample.shape == likelihood.mode(logits).shape == (64, 6, 2)
    assert sample[..., 0].max() == 4 and sample[..., 1].max() == 2
    assert torch.equal(likelihood.mode(logits)[..., 1], logits[..., 5:].argmax(-1))
    torch.testing.assert_close(likelihood.mean(logits).sum(-1), torch.full((64, 6), 2.0))


def test_a_nucleus_keeps_only_the_most_probable_symbols():
    spec = TensorSpec(layout=Layout.STEPS, shape=(1, 1), likelihood="categorical", vocabulary=(4,))
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().expand(2000, 1, 4)
    likelihood = build_likelihood(spec)
    drawn = [
        likelihood.choose(logits, 1.0, top_p, torch.Generator().manual_seed(0)).flatten() for top_p in (0.4, 0.7, 1.0)
    ]
    assert [sorted(set(draw.tolist())) for draw in drawn] == [[1], [1, 3], [0, 1, 2, 3]]
    assert (drawn[1] == 1).double().mean().item() == pytest.approx(2 / 3, abs=0.04)
    assert (likelihood.choose(logits, 0.0, 0.5, None) == 1).all()


def test_samples_of_bernoulli_and_gaussian_have_the_mean_they_state():
    for name in ("bernoulli", "gaussian"):
        likelihood = build_likelihood(TensorSpec(**GRID, likelihood=name))
        parameters = torch.randn(1, 2, 5, 7).expand(4000, 2, 5, 7)
        mean = likelihood.sample(parameters, torch.Generator().manual_seed(0)).mean(0)
        assert (mean - likelihood.mean(parameters)[0]).abs().max() < 0.07


def test_spectral_score_follows_the_signal_to_noise_ratio():
    likelihood = build_likelihood(TensorSpec(**GRID, likelihood="spectral", correction="mask"))
    target, noise = torch.randn(3, 2, 5, 7), torch.randn(3, 2, 5, 7)
    near, far = (likelihood.log_prob(target + scale * noise, target) for scale in (0.1, 0.3))
    # Ten times the noise power lowers -N/2·log(error) by N/2·log(10), the compressed part by some more.
    assert ((near - far) > 35 * torch.log(torch.tensor(9.0)) * 0.9).all()


def test_spectral_score_of_silence_is_finite_with_a_finite_gradient():
    likelihood = build_likelihood(TensorSpec(**GRID, likelihood="spectral", correction="mask"))
    estimate = torch.zeros(2, 2, 5, 7, requires_grad=True)
    likelihood.log_prob(estimate, torch.zeros(2, 2, 5, 7)).sum().backward()
    assert torch.isfinite(estimate.grad).all()


def test_band_levels_are_scored_and_phases_are_not():
    likelihood = build_likelihood(TensorSpec(**GRID, likelihood="band_levels", correction="extend"))
    target = torch.randn(3, 2, 5, 7)
    rotated = torch.stack((-target[:, 1], target[:, 0]), dim=1)  # by a quarter of a turn
    best = likelihood.log_prob(target, target)
    torch.testing.assert_close(likelihood.log_prob(rotated, target), best)
    near, far = likelihood.log_prob(1.5 * target, target), likelihood.log_prob(4 * target, target)
    # The score is the sum of logarithms of distances, with a small floor: of levels, and of loudness.
    expected = 70 * math.log((math.log(4) + 0.03) / (math.log(1.5) + 0.03)) * (1 + likelihood.OVERALL_WEIGHT)
    expected += 70 * math.log((4**0.46 - 1 + 0.03) / (1.5**0.46 - 1 + 0.03)) * likelihood.LOUDNESS_WEIGHT
    torch.testing.assert_close(near - far, torch.full((3,), expected), rtol=0.01, atol=0)
    assert (best > near).all()


def test_rows_near_the_end_of_a_target_are_not_judged():
    spec = TensorSpec(layout=Layout.GRID, shape=(2, 769, 8), likelihood="band_levels", correction="extend")
    likelihood = build_likelihood(spec)
    whole = torch.randn(1, 2, 769, 8, generator=torch.Generator().manual_seed(0))
    number = torch.arange(769)[:, None]
    ends = whole * (number < 256) * torch.where(number < 240, 1.0, 0.03)  # a filter softened its last sixteenth
    for target, first, is_judged in ((ends, 248, False), (ends, 300, False), (ends, 200, True), (whole, 700, True)):
        louder = torch.where(number >= first, 3 * target, target)
        differs = likelihood.log_prob(louder, target) < likelihood.log_prob(target, target)
        assert bool(differs) == is_judged


def test_magnitude_score_is_a_gaussian_of_cells_and_laplaces_of_logarithms_of_bands():
    spec = TensorSpec(layout=Layout.GRID, shape=(1, 65, 7), likelihood="magnitude")
    likelihood = build_likelihood(spec)
    parameters, target = torch.randn(4, 1, 65, 7), torch.rand(4, 1, 65, 7)
    mean = likelihood.mean(parameters)
    assert (mean > 0).all()
    cells = distributions.Normal(mean, torch.tensor(-1.0).exp()).log_prob(target).flatten(1).sum(1)
    weights = band_weights(65, likelihood.BANDS)
    logs = [(root[:, 0].square().transpose(1, 2) @ weights + 1e-3).log() for root in (mean, target)]
    bands = distributions.Laplace(logs[0], torch.tensor(-1.0).exp()).log_prob(logs[1]).flatten(1).sum(1)
    expected = cells + likelihood.BANDS_WEIGHT * bands
    torch.testing.assert_close(likelihood.log_prob(parameters, target), expected, rtol=1e-2, atol=1.0)


@pytest.mark.parametrize("frequencies", [65, 129, 513, 1025])
def test_every_band_has_a_frequency_and_every_frequency_a_band(frequencies):
    weights = band_weights(frequencies, 64)
    torch.testing.assert_close(weights.sum(0), torch.ones(64))
    assert (weights.sum(1)[1:-1] > 0).all()
    assert (weights.argmax(0).diff() >= 0).all()


def test_every_likelihood_is_built_by_its_name():
    of_sound = {"spectral", "band_levels", "magnitude"}
    of_music = {"categorical", "categorical_with_values"}
    assert set(LIKELIHOODS) == {"bernoulli", "gaussian", "student_t", "discretised_logistic"} | of_music | of_sound
    with pytest.raises(ValueError, match="'bernoulli'"):
        build_likelihood(TensorSpec(**GRID, likelihood="bernouli"))


def test_kl_is_that_of_torch():
    mean, log_variance = torch.randn(16, 8), 2 * torch.randn(16, 8)
    posterior = distributions.Normal(mean, torch.exp(0.5 * log_variance))
    expected = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(Posterior(mean, log_variance).kl(), expected, atol=1e-5, rtol=1e-5)


def test_samples_have_the_variance_the_kl_is_written_for():
    mean, log_variance = torch.full((100_000, 1), 0.5), torch.full((100_000, 1), -1.2)
    drawn = Posterior(mean, log_variance).sample(torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().log().item() == pytest.approx(-1.2, abs=0.02)


def test_log_variance_is_bounded_and_keeps_a_gradient_far_outside():
    projected = torch.tensor([[0.0, 30.0], [0.0, -30.0]], requires_grad=True)
    log_variance = GaussianLatent((1,), PRIORS["standard"])(projected).log_variance
    assert log_variance.abs().max() <= LOG_VARIANCE_BOUND
    log_variance.sum().backward()
    assert (projected.grad[:, 1] > 0).all()


def test_a_deterministic_latent_costs_nothing_and_draws_itself():
    posterior = DeterministicLatent((4,), PRIORS["standard"])(torch.randn(3, 4))
    assert torch.equal(posterior.sample(), posterior.mean)
    assert posterior.kl().sum() == 0
