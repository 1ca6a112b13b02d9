"""Likelihoods of sound: of complex spectra, of spectra whose phases cannot be known, and of magnitudes."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.likelihoods.base import Likelihood
from musicae.nn.correction import compressed
from musicae.spec import TensorSpec


class Estimate(Likelihood):
    """Base of the likelihoods whose parameters are the estimated spectrum and whose variance is each example's own."""

    parameters_are_values = True

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The estimate itself: its variance isn't known without a target."""
        return parameters


class Spectral(Estimate):
    """Complex spectra `(batch, 2, frequency, time)`, scored as the ear and the SI-SDR score them.

    Two Gaussians, each with the variance that fits the example best (its profile likelihood, which
    makes the first the logarithm of the waveform's error, hence of its SNR): one over the complex
    values, one, weighted by `COMPRESSED_WEIGHT`, over compressed magnitudes. An error 30 dB below
    the target counts as none, so that clean examples don't drown the noisy ones.
    """

    COMPRESSED_WEIGHT = 0.15  # with 0.3 masks let through more than is best for the waveform
    _FLOOR = 1e-3
    _SILENCE = 1e-4  # mean square of a cell; a usual one has about 1

    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        complex_part = self._log_variance(parameters, target)
        compressed_part = self._log_variance(compressed(parameters), compressed(target))
        numbers = target[0].numel()
        return -0.5 * numbers * (complex_part + self.COMPRESSED_WEIGHT * compressed_part)

    def _log_variance(self, estimate: Tensor, target: Tensor) -> Tensor:
        error = (estimate - target).flatten(1).pow(2).mean(1)
        power = target.flatten(1).pow(2).mean(1)
        return torch.log(error + self._FLOOR * power + self._SILENCE)


class LogSpectral(Estimate):
    """Complex spectra scored by the logarithms of their magnitudes alone, for what fills in a missing band.

    Frames are drawn from a Laplace distribution of as many dimensions as there are frequencies, with the scale that
    fits the example best (its profile likelihood), counted twice, once for each stored number: the loss is the
    logarithm of the log-spectral distance (Gray & Markel, 1976), which is a root mean square over frequency and a mean
    over time, of the whole band. A frame that cannot be foreseen weighs less than under squared errors. Cells 60 dB
    below a usual one count as silent.
    """

    _LEAST_POWER = 1e-6
    _FLOOR = 0.03  # nepers

    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        ours, theirs = (self._log_magnitude(spectrum) for spectrum in (parameters, target))
        distance = ((ours - theirs).square().mean(1) + self._FLOOR**2).sqrt()  # (batch, time)
        return -target[0].numel() * torch.log(distance.mean(1))

    def _log_magnitude(self, spectrum: Tensor) -> Tensor:
        return 0.5 * torch.log(spectrum.square().sum(1) + self._LEAST_POWER)


class Magnitude(Likelihood):
    """Square roots of linear magnitudes `(batch, 1, frequency, time)`, scored cell by cell and band by band.

    A Gaussian over cells, its deviation learned, sees what is loud; Laplace distributions over the logarithms of
    bands that widen with frequency, as the ear's do, see what is soft. Parameters go through a softplus, since a
    magnitude is not negative.
    """

    BANDS_WEIGHT = 8.0  # a band stands for about so many cells
    BANDS = 64
    _SPEED = 10.0  # as in `Gaussian`
    _SHARPNESS = 4.0
    _FLOOR = 1e-3  # of a band's magnitude, as in `signal.LOG_MEL_FLOOR`

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        self.scaled_log_sigma = nn.Parameter(torch.tensor(-1.0 / self._SPEED))
        self.scaled_log_scale = nn.Parameter(torch.tensor(-1.0 / self._SPEED))

    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        ours = self.mean(parameters)
        log_sigma = -6.0 + F.softplus(self._SPEED * self.scaled_log_sigma + 6.0)
        error = (ours - target).flatten(1).square().sum(1)
        cells = -0.5 * error * torch.exp(-2 * log_sigma) - target[0].numel() * (log_sigma + 0.5 * math.log(2 * math.pi))
        log_scale = -6.0 + F.softplus(self._SPEED * self.scaled_log_scale + 6.0)
        distance = (self._log_bands(ours) - self._log_bands(target)).abs().flatten(1)
        bands = -distance.sum(1) * torch.exp(-log_scale) - distance.shape[1] * (log_scale + math.log(2))
        return cells + self.BANDS_WEIGHT * bands

    def mean(self, parameters: Tensor) -> Tensor:
        return F.softplus(parameters, beta=self._SHARPNESS)

    def mode(self, parameters: Tensor) -> Tensor:
        return self.mean(parameters)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean: cells drawn one by one would add a hiss."""
        return self.mean(parameters)

    def _log_bands(self, root: Tensor) -> Tensor:
        weights = band_weights(root.shape[2], self.BANDS).to(root)
        return torch.log(torch.einsum("bft,fn->bnt", root[:, 0].square(), weights) + self._FLOOR)


@lru_cache(maxsize=8)
def band_weights(frequencies: int, bands: int) -> Tensor:
    """Overlapping triangles, even below a twelfth of the band and logarithmic above, `(frequencies, bands)`.

    The mel scale's shape for any sample rate, which a tensor doesn't tell. Each band's weights add up to one.
    """
    corner = frequencies / 12
    place = torch.log1p(torch.arange(frequencies) / corner)  # (frequencies,)
    edges = torch.linspace(0, float(place[-1]), bands + 2)
    # Low bands are narrower than a bin; there a band is the bins beside its middle.
    bins = torch.expm1(edges) * corner
    reach = torch.maximum((bins[2:] - bins[:-2]) / 2, torch.tensor(1.0))
    weights = (1 - (torch.arange(frequencies)[:, None] - bins[None, 1:-1]).abs() / reach).clamp_min(0)
    return weights / weights.sum(0, keepdim=True)
