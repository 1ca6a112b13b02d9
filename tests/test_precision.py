"""Log-probabilities and changes of variables are not rounded, whatever the autocast."""

import pytest
import torch

from musicae.likelihoods import LIKELIHOODS, build_likelihood
from musicae.music.expression import value_columns
from musicae.nn.latent import Posterior
from musicae.nn.latents import LATENTS
from musicae.nn.prior import PRIORS, FlowPrior, Prior, SequencePrior
from musicae.precision import in_float32
from musicae.spec import Layout, TensorSpec

SPECS = {
    "bernoulli": TensorSpec(layout=Layout.GRID, shape=(1, 28, 28), likelihood="bernoulli"),
    "gaussian": TensorSpec(layout=Layout.GRID, shape=(3, 28, 28), likelihood="gaussian"),
    "student_t": TensorSpec(layout=Layout.GRID, shape=(1, 28, 28), likelihood="student_t"),
    "discretised_logistic": TensorSpec(layout=Layout.GRID, shape=(1, 28, 28), likelihood="discretised_logistic"),
    "categorical": TensorSpec(layout=Layout.STEPS, shape=(32, 2), likelihood="categorical", vocabulary=(90, 512)),
    "categorical_with_values": TensorSpec(
        layout=Layout.STEPS,
        shape=(32, 3),
        likelihood="categorical_with_values",
        vocabulary=(90,),
        values=value_columns(0, 1, 2, 90, False),
    ),
    "spectral": TensorSpec(layout=Layout.GRID, shape=(2, 129, 16), likelihood="spectral", correction="mask"),
    "band_levels": TensorSpec(layout=Layout.GRID, shape=(2, 129, 16), likelihood="band_levels", correction="extend"),
    "magnitude": TensorSpec(layout=Layout.GRID, shape=(1, 129, 16), likelihood="magnitude"),
}
AUTOCAST = torch.autocast("cpu", torch.bfloat16)


def learned(prior: Prior) -> Prior:
    """With weights as after training: layers that begin at zero would hide all rounding."""
    for parameter in prior.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return prior


def priors() -> dict[str, Prior]:
    made = {name: learned(build((128,))) for name, build in PRIORS.items()}
    return {**made, "sequence": learned(SequencePrior((16 + 8 * 14,), pooled=16, moments=14))}


def test_the_table_has_a_spec_of_every_likelihood():
    assert set(SPECS) == set(LIKELIHOODS)


@pytest.mark.parametrize("name", SPECS)
def test_autocast_does_not_round_a_likelihood(name):
    spec, likelihood = SPECS[name], build_likelihood(SPECS[name])
    grid = (likelihood.width, *spec.shape[1:]) if spec.layout is Layout.GRID else (spec.shape[0], likelihood.width)
    parameters = 2 * torch.randn(4, *grid)
    target = torch.rand(4, *spec.shape) if spec.layout is Layout.GRID else torch.randint(0, 90, (4, *spec.shape))
    expected = likelihood.log_prob(parameters, target)
    with AUTOCAST:
        found = likelihood.log_prob(parameters, target)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", [*PRIORS, "sequence"])
def test_autocast_does_not_round_a_prior(name):
    prior = priors()[name]
    posterior = Posterior(torch.randn(8, 128), torch.randn(8, 128))
    z = posterior.sample(torch.Generator().manual_seed(0))
    functions = {
        "log_prob": lambda: prior.log_prob(z),
        "kl": lambda: prior.kl(posterior, z),
        "to_base": lambda: prior.to_base(z),
        "from_base": lambda: prior.from_base(z),
        "posterior": lambda: posterior.log_prob(z),
    }
    expected = {key: function() for key, function in functions.items()}
    with AUTOCAST:
        found = {key: function() for key, function in functions.items()}
    for key, value in expected.items():
        assert found[key].dtype is torch.float32
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_autocast_does_not_round_a_discriminator():
    latent = LATENTS["adversarial"]((128,), PRIORS["standard"])
    z = torch.randn(8, 128)
    expected = latent.penalty(Posterior(z), z, torch.Generator().manual_seed(0))
    with AUTOCAST:
        torch.testing.assert_close(
            latent.penalty(Posterior(z), z, torch.Generator().manual_seed(0)), expected, rtol=1e-4, atol=0
        )


def test_a_change_of_variables_of_half_precise_codes_is_computed_in_float32():
    flow = learned(FlowPrior((128,)))
    z = torch.randn(8, 128).bfloat16()
    assert flow.log_prob(z).dtype is torch.float32
    torch.testing.assert_close(flow.log_prob(z), flow.log_prob(z.float()))
    assert flow.double().log_prob(z.double()).dtype is torch.float64


def test_a_decorated_method_leaves_the_autocast_around_it_as_it_was():
    @in_float32
    def product(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    x = torch.randn(4, 4)
    with AUTOCAST:
        assert product(x).dtype is torch.float32
        assert (x @ x).dtype is torch.bfloat16
