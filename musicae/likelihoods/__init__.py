"""`LIKELIHOODS`: every distribution a decoder can state. A new one is a class and a line here."""

from musicae.errors import unknown_name
from musicae.likelihoods.base import Likelihood
from musicae.likelihoods.sound import LogSpectral, Magnitude, Spectral
from musicae.likelihoods.symbols import Categorical
from musicae.likelihoods.values import Bernoulli, DiscretisedLogistic, Gaussian
from musicae.spec import TensorSpec

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "discretised_logistic": DiscretisedLogistic,
    "categorical": Categorical,
    "spectral": Spectral,
    "log_spectral": LogSpectral,
    "magnitude": Magnitude,
}


def build_likelihood(spec: TensorSpec) -> Likelihood:
    """Builds the likelihood a spec names. Raises `ValueError` for a name not in `LIKELIHOODS`."""
    if spec.likelihood not in LIKELIHOODS:
        raise ValueError(unknown_name("likelihood", spec.likelihood, LIKELIHOODS))
    return LIKELIHOODS[spec.likelihood](spec)


__all__ = ["LIKELIHOODS", "Gaussian", "Likelihood", "build_likelihood"]
