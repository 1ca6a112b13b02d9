"""Likelihoods: what a decoder's output says about the target.

A likelihood turns decoder output (`parameters`) into the log-probability of a target, a mean, a mode and a sample.
Log-probabilities are summed over an example's elements, in nats. Those of spectra are in
`musicae.spectral_likelihoods`. Nothing here knows encoders, latents or files.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import groupby
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.errors import unknown_name
from musicae.nn.layers import draw_rows
from musicae.nn.values import value_tables, values_apply
from musicae.precision import in_float32
from musicae.spec import TensorSpec


class Likelihood(nn.Module, ABC):
    """The decoder's distribution over one example of a spec."""

    parameters_are_values: ClassVar[bool] = False
    """Whether the parameters are the mean itself, so that a restorer's estimate can stand for them."""
    is_of_pixels: ClassVar[bool] = False
    """Whether the mean is a picture."""

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__()
        self.spec = spec
        self._allowed: Tensor | None = None

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
        parameters = self._restricted(parameters)
        if temperature == 0:
            return self.mode(parameters)
        return self.sample(self.sharpened(parameters, temperature, top_p), generator)

    @contextmanager
    def restricted(self, allowed: Tensor | None) -> Iterator[None]:
        """Inside, `choose` takes some symbols alone.

        Args:
            allowed: bool, `(vocabulary sizes summed,)`; None: all.

        Raises:
            ValueError: values are no symbols.
        """
        if allowed is not None and not self.spec.vocabulary:
            raise ValueError(f"{self.spec.likelihood} has no symbols to choose from")
        before, self._allowed = self._allowed, allowed
        try:
            yield
        finally:
            self._allowed = before

    def _restricted(self, parameters: Tensor) -> Tensor:
        if self._allowed is None:
            return parameters
        logits = parameters[..., : len(self._allowed)].masked_fill(~self._allowed.to(parameters.device), -torch.inf)
        return torch.cat([logits, parameters[..., len(self._allowed) :]], -1)


# An optimiser moves each parameter by about its learning rate in a step, too slowly for the logarithm of a scale. So
# the learned number is that logarithm divided by this factor.
LEARNING_RATE_FACTOR = 10.0


def bounded_logarithm(scaled: Tensor) -> Tensor:
    """The logarithm of a scale from the learned number, scalar; smoothly kept above -6."""
    return -6.0 + F.softplus(LEARNING_RATE_FACTOR * scaled + 6.0)


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


class Bernoulli(Likelihood):
    """Grey values in 0…1, read as probabilities of white; parameters are logits."""

    is_of_pixels = True

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
    is_of_pixels = True

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        self.scaled_log_sigma = nn.Parameter(torch.tensor(-1.0 / LEARNING_RATE_FACTOR))

    @property
    def log_sigma(self) -> Tensor:
        """Natural logarithm of the standard deviation, scalar; smoothly kept above -6."""
        return bounded_logarithm(self.scaled_log_sigma)

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


class StudentT(Gaussian):
    """Real values with a standard deviation of each example's own, spread around a learned one.

    The multivariate t distribution (Kotz & Nadarajah, 2004, "Multivariate t Distributions and Their
    Applications"). The logarithm of an example's squared error counts, and not the error, so that what is easy to
    restore counts as much as what is hard: nearly the mean PSNR, which restorers are judged by. That holds down to an
    error k that is learned: with f degrees of freedom for each number, the mean of k / (k + squared error) becomes
    f / (1 + f). So k is near the median of the errors for f = 1, and near their lowest tenth for 0.1. Where some
    examples are nearly perfect, f / (1 + f) has to be well above their share, or the model cares for little else.
    """

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        count = target[0].numel()
        freedom = self.spec.degrees_of_freedom * count
        error = (parameters - target).flatten(1).pow(2).sum(1) * torch.exp(-2 * self.log_sigma)
        constant = (
            math.lgamma((freedom + count) / 2) - math.lgamma(freedom / 2) - 0.5 * count * math.log(freedom * math.pi)
        )
        return constant - count * self.log_sigma - 0.5 * (freedom + count) * torch.log1p(error / freedom)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The deviation's distribution is approximated (Wilson & Hilferty, 1931), within 3% from 6 degrees on."""
        freedom = self.spec.degrees_of_freedom * parameters[0].numel()
        one = (len(parameters), *[1] * (parameters.dim() - 1))
        draw = torch.randn(one, generator=generator, device=parameters.device, dtype=parameters.dtype)
        spread = 2 / (9 * freedom)
        chi_square = freedom * (1 - spread + draw * spread**0.5).clamp_min(0.1) ** 3
        noise = super().sample(torch.zeros_like(parameters), generator)
        return parameters + noise * (freedom / chi_square).sqrt()


class DiscretisedLogistic(Likelihood):
    """Values in 0…1 on 256 levels; a level's probability is the mass of a logistic distribution nearest to it.

    The lowest and the highest level take the mass beyond them (Salimans et al., 2017, "PixelCNN++", section 2.1, with
    one component). Log-probabilities are of pixels as they are stored, so bits per number can be compared.
    Parameters are the centres of all channels, then the raw logarithms of their scales.
    """

    is_of_pixels = True
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


class Categorical(Likelihood):
    """One symbol a step in every stream; parameters are the streams' logits side by side. Pads cost nothing."""

    @property
    def width(self) -> int:
        return sum(self.spec.vocabulary)

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        groups = zip(self._logits(parameters), target.split([count for count, _ in self._groups], -1), strict=True)
        return -torch.stack([self._cost(logits, symbols).flatten(1).sum(1) for logits, symbols in groups]).sum(0)

    def _cost(self, logits: Tensor, symbols: Tensor) -> Tensor:
        """Nats of every symbol, `(batch, steps, streams)`."""
        size = logits.shape[-1]
        known = symbols.clamp_max(size - 1) if self.spec.segment_steps else symbols
        cost = F.cross_entropy(logits.flatten(0, -2), known.flatten(), reduction="none").view_as(symbols)
        return torch.where(symbols < size, cost, 0.0) if self.spec.segment_steps else cost

    def mean(self, parameters: Tensor) -> Tensor:
        return torch.cat([logits.softmax(-1).flatten(-2) for logits in self._logits(parameters)], -1)

    def mode(self, parameters: Tensor) -> Tensor:
        return torch.cat([logits.argmax(-1) for logits in self._logits(parameters)], -1)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        drawn = []
        for logits in self._logits(parameters):
            # By inverting the distribution function: a quarter less time than torch.multinomial.
            reached = logits.softmax(-1).cumsum(-1)
            uniform = draw_rows(partial(torch.rand, generator=generator, device=logits.device), (*logits.shape[:-1], 1))
            index = torch.searchsorted(reached, uniform * reached[..., -1:], right=True).squeeze(-1)
            drawn.append(index.clamp_max(logits.shape[-1] - 1))
        return torch.cat(drawn, -1)

    def sharpened(self, parameters: Tensor, temperature: float, top_p: float) -> Tensor:
        parameters = parameters / temperature
        if top_p < 1:
            kept = [_keep_nucleus(logits, top_p).flatten(-2) for logits in self._logits(parameters)]
            parameters = torch.cat(kept, -1)
        return parameters

    @cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """Streams in a row that have as many symbols are computed together: how many, and the number of symbols."""
        return [(len(list(streams)), size) for size, streams in groupby(self.spec.vocabulary)]

    def _logits(self, parameters: Tensor) -> list[Tensor]:
        """`(batch, steps, width)` → one `(batch, steps, streams, vocabulary)` a group."""
        parts = parameters.split([count * size for count, size in self._groups], dim=-1)
        return [part.unflatten(-1, group) for part, group in zip(parts, self._groups, strict=True)]


def _keep_nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits with −∞ outside the smallest set of symbols whose probability reaches `top_p`."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(-1)
    outside = probabilities.cumsum(-1) - probabilities >= top_p  # the first symbol always stays
    return logits.masked_fill(outside.gather(-1, order.argsort(-1)), -torch.inf)


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
        symbols, _ = self._parted(target)
        logits = parameters[..., : super().width]
        return super().log_prob(logits, symbols) + self.log_prob_of_values(parameters, target)

    @in_float32
    def log_prob_of_values(self, parameters: Tensor, target: Tensor) -> Tensor:
        """The values' share of `log_prob`, `(batch,)`."""
        symbols, numbers = self._parted(target)
        _, centre, log_scale = self._split(parameters)
        middle, spread, most = value_tables(self.spec.values, target.device)
        there = (numbers - middle) / spread
        each = log_mass(centre, log_scale, there, 0.5 / spread, numbers == 0, numbers == most)
        return torch.where(self._applies(symbols), each, 0.0).flatten(1).sum(1)

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
        parameters = self._restricted(parameters)
        if temperature == 0:
            return self.mode(parameters)
        logits, values = parameters.split([super().width, 2 * len(self.spec.values)], -1)
        symbols = super().sample(super().sharpened(logits, temperature, top_p), generator)
        return self.play(symbols, values, temperature, generator)

    def play(self, symbols: Tensor, values: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
        """Chooses the values of known symbols.

        Args:
            symbols: `(batch, steps, streams)`.
            values: their parameters, `(batch, steps, 2 · values)`.
            temperature, generator: as in `choose`.

        Returns:
            `(batch, steps, columns)`.
        """
        centre, log_scale = self._centre_and_scale(values)
        if temperature == 0:
            return self._together(symbols, centre)
        return self._drawn(symbols, centre, log_scale + math.log(temperature), generator)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, and centres and logarithms of the scales of the values, `(batch, steps, …)` each."""
        logits, values = parameters.split([super().width, 2 * len(self.spec.values)], -1)
        return logits, *self._centre_and_scale(values)

    def _centre_and_scale(self, values: Tensor) -> tuple[Tensor, Tensor]:
        centre, raw = values.chunk(2, -1)
        bounded = self._LOG_SCALE_BOUND * torch.tanh(raw / self._LOG_SCALE_BOUND)
        return centre, self._MIDDLE_LOG_SCALE + bounded

    def _parted(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Columns of symbols, and of values."""
        streams = len(self.spec.vocabulary)
        return target[..., :streams], target[..., streams:]

    def _applies(self, symbols: Tensor) -> Tensor:
        return values_apply(self.spec.values, symbols)

    def _drawn(self, symbols: Tensor, centre: Tensor, log_scale: Tensor, generator: torch.Generator | None) -> Tensor:
        uniform = draw_rows(partial(torch.rand, generator=generator, device=centre.device), tuple(centre.shape))
        return self._together(symbols, centre + log_scale.exp() * torch.logit(uniform, eps=1e-6))

    def _together(self, symbols: Tensor, values: Tensor) -> Tensor:
        middle, spread, most = value_tables(self.spec.values, values.device)
        numbers = torch.minimum((middle + spread * values).round().clamp_min(0), most).long()
        return torch.cat([symbols, torch.where(self._applies(symbols), numbers, 0)], -1)


def _spectral(name: str) -> Callable[[], type[Likelihood]]:
    """Of sound, which other media don't load."""

    def load() -> type[Likelihood]:
        from musicae import spectral_likelihoods

        found: type[Likelihood] = getattr(spectral_likelihoods, name)
        return found

    return load


LIKELIHOODS: dict[str, Callable[[], type[Likelihood]]] = {
    "bernoulli": lambda: Bernoulli,
    "gaussian": lambda: Gaussian,
    "student_t": lambda: StudentT,
    "discretised_logistic": lambda: DiscretisedLogistic,
    "categorical": lambda: Categorical,
    "categorical_with_values": lambda: CategoricalWithValues,
    "spectral": _spectral("Spectral"),
    "band_levels": _spectral("BandLevels"),
    "magnitude": _spectral("Magnitude"),
}
"""Name → a function that gives the class."""


def build_likelihood(spec: TensorSpec) -> Likelihood:
    """Builds the likelihood that a spec names. Raises `ValueError` for a name not in `LIKELIHOODS`."""
    if spec.likelihood not in LIKELIHOODS:
        raise ValueError(unknown_name("likelihood", spec.likelihood, LIKELIHOODS))
    return LIKELIHOODS[spec.likelihood]()(spec)
