"""Likelihoods: what a decoder's output says about the target.

A likelihood turns decoder output (`parameters`) into the log-probability of a target, a mean, a mode and a sample.
Log-probabilities are summed over an example's elements, in nats. Nothing here knows encoders, latents or files.
"""

import math
from abc import ABC, abstractmethod
from functools import lru_cache, partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.errors import unknown_name
from musicae.nn.layers import draw_rows
from musicae.precision import in_float32
from musicae.spec import TensorSpec, ValueColumn

# Loudness is perceived on a compressed scale; 0.3 is the usual exponent for speech enhancement
# (Braun & Tashev, 2021, "A consolidated view of loss functions for supervised deep learning-based
# speech enhancement").
MAGNITUDE_EXPONENT = 0.3


def compressed(spectrum: Tensor) -> Tensor:
    """Complex spectrum `(batch, 2, frequency, time)` → compressed magnitude `(batch, 1, frequency, time)`."""
    # The small constant keeps the gradient of a power below one finite at zero.
    return (spectrum.pow(2).sum(1, keepdim=True) + 1e-8).pow(MAGNITUDE_EXPONENT / 2)


class Likelihood(nn.Module, ABC):
    """The decoder's distribution over one example of a spec."""

    parameters_are_values: ClassVar[bool] = False
    """Whether the parameters are the mean itself, so that a restorer's estimate can stand for them."""

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__()
        self.spec = spec

    @property
    def width(self) -> int:
        """Numbers the decoder gives per grid cell (channels) or per step."""
        return self.spec.shape[0]

    @abstractmethod
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Log-probability of `target` `(batch, *shape)` in nats, `(batch,)`."""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """Expected value; for categories the probabilities `(batch, steps, vocabulary sizes summed)`."""

    @abstractmethod
    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable value, `(batch, *shape)`."""

    @abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw, `(batch, *shape)`."""

    def sharpened(self, parameters: Tensor, temperature: float, top_p: float) -> Tensor:
        """Parameters whose draws are closer to the mode (temperature below 1) or farther from it.

        Args:
            parameters: as in `sample`.
            temperature: what logits are divided by, above 0.
            top_p: draws come only from the most probable symbols that together have this probability (nucleus
                sampling: Holtzman et al., 2020).

        Returns:
            The parameters; as they are where values have no logits.
        """
        del temperature, top_p
        return parameters

    def choose(self, parameters: Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> Tensor:
        """The mode at temperature 0, else a draw from the sharpened parameters; arguments as in `sharpened`."""
        if temperature == 0:
            return self.mode(parameters)
        return self.sample(self.sharpened(parameters, temperature, top_p), generator)


# An optimiser moves each parameter by about its learning rate in a step, too slowly for the logarithm of a scale. So
# the learned number is that logarithm divided by this factor.
_LEARNING_RATE_FACTOR = 10.0


def _bounded_logarithm(scaled: Tensor) -> Tensor:
    """The logarithm of a scale from the learned number, scalar; smoothly kept above -6."""
    return -6.0 + F.softplus(_LEARNING_RATE_FACTOR * scaled + 6.0)


class Bernoulli(Likelihood):
    """Grey values in 0…1, read as probabilities of white; parameters are logits."""

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(parameters, target, reduction="none").flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def mode(self, parameters: Tensor) -> Tensor:
        return (parameters > 0).to(parameters.dtype)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(parameters.sigmoid(), generator=generator)


class Gaussian(Likelihood):
    """Real values with one learned standard deviation for all cells (Rybkin et al., 2021, "σ-VAE").

    A learned σ sets the balance of reconstruction and KL by itself; a fixed σ = 1 on pixels in 0…1
    would make β = 1 collapse the latent.
    """

    parameters_are_values = True

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        self.scaled_log_sigma = nn.Parameter(torch.tensor(-1.0 / _LEARNING_RATE_FACTOR))

    @property
    def log_sigma(self) -> Tensor:
        """Natural logarithm of the standard deviation, scalar; smoothly kept above -6."""
        return _bounded_logarithm(self.scaled_log_sigma)

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        error = (parameters - target).flatten(1).pow(2).sum(1)
        constant = target[0].numel() * (self.log_sigma + 0.5 * math.log(2 * math.pi))
        return -0.5 * error * torch.exp(-2 * self.log_sigma) - constant

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(parameters.shape, generator=generator, device=parameters.device, dtype=parameters.dtype)
        return parameters + self.log_sigma.exp() * noise


class DiscretisedLogistic(Likelihood):
    """Values in 0…1 on 256 levels; a level's probability is the mass of a logistic distribution nearest to it.

    The lowest and the highest level take the mass beyond them (Salimans et al., 2017, "PixelCNN++", section 2.1, with
    one component). Log-probabilities are of pixels as they are stored, so bits per number can be compared.
    Parameters are the centres of all channels, then the raw logarithms of their scales.
    """

    LEVELS = 256
    # Logarithms of scales are -2 ± 5: from a quarter of a level to twenty times the whole range.
    _MIDDLE_LOG_SCALE, _LOG_SCALE_BOUND = -2.0, 5.0

    @property
    def width(self) -> int:
        return 2 * self.spec.shape[0]

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        return self._each(parameters, target).flatten(1).sum(1)

    def _each(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Log-probability of every number, the target's shape."""
        half = 0.5 / (self.LEVELS - 1)
        return log_mass(*self._split(parameters), target, half, target < half, target > 1 - half)

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean of the logistic distribution whose mass beyond 0 and 1 is moved to 0 and 1, in closed form."""
        centre, log_scale = self._split(parameters)
        scale = log_scale.exp()
        return scale * (F.softplus(centre / scale) - F.softplus((centre - 1) / scale))

    def mode(self, parameters: Tensor) -> Tensor:
        """The level nearest to the centre, or 0 or 1 where that is more probable."""
        nearest = self._levels(self._split(parameters)[0])
        targets = [nearest, torch.zeros_like(nearest), torch.ones_like(nearest)]
        likeliest = torch.stack([self._each(parameters, target) for target in targets]).argmax(0)
        return torch.stack(targets).gather(0, likeliest[None])[0]

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        centre, log_scale = self._split(parameters)
        uniform = torch.rand(centre.shape, generator=generator, device=centre.device, dtype=centre.dtype)
        return self._levels(centre + log_scale.exp() * torch.logit(uniform, eps=1e-6))

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Centres and logarithms of the scales; an untrained network gives grey (0.5) and a scale of a seventh."""
        centre, raw = parameters.chunk(2, dim=1)
        bounded = self._LOG_SCALE_BOUND * torch.tanh(raw / self._LOG_SCALE_BOUND)
        return centre + 0.5, self._MIDDLE_LOG_SCALE + bounded

    def _levels(self, values: Tensor) -> Tensor:
        return (values.clamp(0, 1) * (self.LEVELS - 1)).round() / (self.LEVELS - 1)


def log_mass(
    centre: Tensor, log_scale: Tensor, target: Tensor, half: float | Tensor, lowest: Tensor, highest: Tensor
) -> Tensor:
    """Logarithm of a logistic distribution's mass within `half` of a target, which is of the same shape.

    Where `lowest` or `highest` is true, the mass beyond the target counts too.
    """
    precision = torch.exp(-log_scale)
    above, below = (target + half - centre) * precision, (target - half - centre) * precision
    # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)), s the logistic function.
    between = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-2 * half * precision))
    return torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), between))


class Categorical(Likelihood):
    """One symbol a step in every stream; parameters are the streams' logits side by side. Pads cost nothing."""

    @property
    def width(self) -> int:
        return sum(self.spec.vocabulary)

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        streams = zip(self._logits(parameters), target.unbind(-1), strict=True)
        return -torch.stack([self._cost(logits, symbols).sum(1) for logits, symbols in streams]).sum(0)

    def _cost(self, logits: Tensor, symbols: Tensor) -> Tensor:
        """Nats of every step, `(batch, steps)`."""
        if not self.spec.segment_steps:
            return F.cross_entropy(logits.mT, symbols, reduction="none")
        size = logits.shape[-1]
        cost = F.cross_entropy(logits.mT, symbols.clamp_max(size - 1), reduction="none")
        return torch.where(symbols < size, cost, 0.0)

    def mean(self, parameters: Tensor) -> Tensor:
        return torch.cat([logits.softmax(-1) for logits in self._logits(parameters)], -1)

    def mode(self, parameters: Tensor) -> Tensor:
        return torch.stack([logits.argmax(-1) for logits in self._logits(parameters)], -1)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        drawn = []
        for logits in self._logits(parameters):
            # By inverting the distribution function: a quarter less time than torch.multinomial.
            reached = logits.softmax(-1).cumsum(-1)
            uniform = draw_rows(partial(torch.rand, generator=generator, device=logits.device), (*logits.shape[:-1], 1))
            index = torch.searchsorted(reached, uniform * reached[..., -1:], right=True).squeeze(-1)
            drawn.append(index.clamp_max(logits.shape[-1] - 1))
        return torch.stack(drawn, -1)

    def sharpened(self, parameters: Tensor, temperature: float, top_p: float) -> Tensor:
        parameters = parameters / temperature
        if top_p < 1:
            parameters = torch.cat([_keep_nucleus(logits, top_p) for logits in self._logits(parameters)], -1)
        return parameters

    def _logits(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """`(batch, steps, width)` → one `(batch, steps, vocabulary)` a stream."""
        return parameters.split(self.spec.vocabulary, dim=-1)


def _keep_nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits with −∞ outside the smallest set of symbols whose probability reaches `top_p`."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(-1)
    outside = probabilities.cumsum(-1) - probabilities >= top_p  # the first symbol always stays
    return logits.masked_fill(outside.gather(-1, order.argsort(-1)), -torch.inf)


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
    """Complex spectra `(batch, 2, frequency, time)`, scored by the waveform's error and by compressed magnitudes.

    Two Gaussians, each with the variance that fits the example best (its profile likelihood, which
    makes the first the logarithm of the waveform's error, hence of its SNR): one over the complex
    values, one, weighted by `COMPRESSED_WEIGHT`, over compressed magnitudes. An error 30 dB below
    the target counts as none, so that clean examples don't outweigh the noisy ones.
    """

    COMPRESSED_WEIGHT = 0.15  # with 0.3 masks let more noise pass than is best for the waveform
    _FLOOR = 1e-3
    _SILENCE = 1e-4  # mean square of a cell; a typical one has about 1

    @in_float32
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
    """Complex spectra scored by the logarithms of their magnitudes alone, for models that fill in a missing band.

    Frames are drawn from a Laplace distribution of as many dimensions as there are frequencies, with the scale that
    fits the example best (its profile likelihood), counted twice, once for each stored number: the loss is the
    logarithm of the log-spectral distance (Gray & Markel, 1976), which is a root mean square over frequency and a mean
    over time, of the whole band. A frame that cannot be predicted weighs less than under squared errors. Cells 60 dB
    below a typical one count as silent.
    """

    _LEAST_POWER = 1e-6
    _FLOOR = 0.03  # nepers

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        ours, theirs = (self._log_magnitude(spectrum) for spectrum in (parameters, target))
        distance = ((ours - theirs).square().mean(1) + self._FLOOR**2).sqrt()  # (batch, time)
        return -target[0].numel() * torch.log(distance.mean(1))

    def _log_magnitude(self, spectrum: Tensor) -> Tensor:
        return 0.5 * torch.log(spectrum.square().sum(1) + self._LEAST_POWER)


class Magnitude(Likelihood):
    """Square roots of linear magnitudes `(batch, 1, frequency, time)`, scored cell by cell and band by band.

    A Gaussian over cells, with a learned deviation, scores the loud cells. Laplace distributions over the logarithms
    of bands, which widen with frequency as the ear's do, score the soft ones. Parameters go through a softplus, since a
    magnitude is not negative.
    """

    BANDS_WEIGHT = 8.0  # about the number of cells in a band
    BANDS = 64
    _SHARPNESS = 4.0
    _FLOOR = 1e-3  # of a band's magnitude, as in `musicae.audio.stft`

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        self.scaled_log_sigma = nn.Parameter(torch.tensor(-1.0 / _LEARNING_RATE_FACTOR))
        self.scaled_log_scale = nn.Parameter(torch.tensor(-1.0 / _LEARNING_RATE_FACTOR))

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        ours = self.mean(parameters)
        log_sigma = _bounded_logarithm(self.scaled_log_sigma)
        error = (ours - target).flatten(1).square().sum(1)
        cells = -0.5 * error * torch.exp(-2 * log_sigma) - target[0].numel() * (log_sigma + 0.5 * math.log(2 * math.pi))
        log_scale = _bounded_logarithm(self.scaled_log_scale)
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
        weights = band_weights(root.shape[2], self.BANDS, device=root.device).to(root)
        return torch.log(torch.einsum("bft,fn->bnt", root[:, 0].square(), weights) + self._FLOOR)


@lru_cache(maxsize=8)
def band_weights(frequencies: int, bands: int, *, device: torch.device | None = None) -> Tensor:
    """Overlapping triangles, even below a twelfth of the band and logarithmic above, `(frequencies, bands)`.

    The shape of the mel scale for any sample rate, since a tensor doesn't state its own. A band's weights add up to 1.
    They are kept on the device, since a copy in every step would make the host wait for it.
    """
    if device is not None and device.type != "cpu":
        return band_weights(frequencies, bands).to(device)
    corner = frequencies / 12
    place = torch.log1p(torch.arange(frequencies) / corner)  # (frequencies,)
    edges = torch.linspace(0, float(place[-1]), bands + 2)
    # Low bands are narrower than a bin; such a band covers the bins next to its middle.
    bins = torch.expm1(edges) * corner
    reach = torch.maximum((bins[2:] - bins[:-2]) / 2, torch.tensor(1.0))
    weights = (1 - (torch.arange(frequencies)[:, None] - bins[None, 1:-1]).abs() / reach).clamp_min(0)
    return weights / weights.sum(0, keepdim=True)


class CategoricalWithValues(Categorical):
    """Symbols, and whole numbers beside them that are scored only where a symbol has them.

    A value's probability is the mass of a logistic distribution nearest to it, as in `DiscretisedLogistic`. Parameters
    are the streams' logits, then the centres of all values and the raw logarithms of their scales, in units of the
    column's spread.
    """

    # From a hundredth of the spread to about three times.
    _MIDDLE_LOG_SCALE, _LOG_SCALE_BOUND = -1.5, 3.0

    @property
    def width(self) -> int:
        return super().width + 2 * len(self.spec.values)

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        symbols, numbers = self._parted(target)
        logits, centre, log_scale = self._split(parameters)
        middle, spread, most = value_tables(self.spec.values, target.device)
        there = (numbers - middle) / spread
        each = log_mass(centre, log_scale, there, 0.5 / spread, numbers == 0, numbers == most)
        return super().log_prob(logits, symbols) + torch.where(self._applies(symbols), each, 0.0).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Probabilities of the symbols, then the centres of the values."""
        logits, centre, _ = self._split(parameters)
        middle, spread, _ = value_tables(self.spec.values, parameters.device)
        return torch.cat([super().mean(logits), middle + spread * centre], -1)

    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable symbols, and the numbers nearest to the centres."""
        logits, centre, _ = self._split(parameters)
        return self._together(super().mode(logits), centre)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits, centre, log_scale = self._split(parameters)
        return self._drawn(super().sample(logits, generator), centre, log_scale, generator)

    def choose(self, parameters: Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> Tensor:
        """As for symbols alone; the temperature multiplies the scales of values."""
        if temperature == 0:
            return self.mode(parameters)
        logits, centre, log_scale = self._split(parameters)
        symbols = super().sample(super().sharpened(logits, temperature, top_p), generator)
        return self._drawn(symbols, centre, log_scale + math.log(temperature), generator)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, and centres and logarithms of the scales of the values, `(batch, steps, …)` each."""
        logits, values = parameters.split([super().width, parameters.shape[-1] - super().width], -1)
        centre, raw = values.chunk(2, -1)
        bounded = self._LOG_SCALE_BOUND * torch.tanh(raw / self._LOG_SCALE_BOUND)
        return logits, centre, self._MIDDLE_LOG_SCALE + bounded

    def _parted(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Columns of symbols, and of values."""
        streams = len(self.spec.vocabulary)
        return target[..., :streams], target[..., streams:]

    def _applies(self, symbols: Tensor) -> Tensor:
        return torch.stack([column.applies(symbols[..., column.stream]) for column in self.spec.values], -1)

    def _drawn(self, symbols: Tensor, centre: Tensor, log_scale: Tensor, generator: torch.Generator | None) -> Tensor:
        uniform = draw_rows(partial(torch.rand, generator=generator, device=centre.device), tuple(centre.shape))
        return self._together(symbols, centre + log_scale.exp() * torch.logit(uniform, eps=1e-6))

    def _together(self, symbols: Tensor, values: Tensor) -> Tensor:
        middle, spread, most = value_tables(self.spec.values, values.device)
        numbers = torch.minimum((middle + spread * values).round().clamp_min(0), most).long()
        return torch.cat([symbols, torch.where(self._applies(symbols), numbers, 0)], -1)


@lru_cache(maxsize=16)
def value_tables(columns: tuple[ValueColumn, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Middle, spread and highest number of every column, float `(columns,)`; kept on the device."""
    numbers = ([column.middle, column.spread, column.levels - 1] for column in columns)
    middle, spread, most = torch.tensor(list(numbers)).T
    return middle.to(device), spread.to(device), most.to(device)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "discretised_logistic": DiscretisedLogistic,
    "categorical": Categorical,
    "categorical_with_values": CategoricalWithValues,
    "spectral": Spectral,
    "log_spectral": LogSpectral,
    "magnitude": Magnitude,
}


def build_likelihood(spec: TensorSpec) -> Likelihood:
    """Builds the likelihood that a spec names. Raises `ValueError` for a name not in `LIKELIHOODS`."""
    if spec.likelihood not in LIKELIHOODS:
        raise ValueError(unknown_name("likelihood", spec.likelihood, LIKELIHOODS))
    return LIKELIHOODS[spec.likelihood](spec)
