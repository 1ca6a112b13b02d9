"""Likelihoods of pictures' numbers: grey as a probability, real values, and values on 256 levels."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.likelihoods.base import Likelihood
from musicae.spec import TensorSpec


class Bernoulli(Likelihood):
    """Grey values in 0…1, read as probabilities of white; parameters are logits."""

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
    # An optimiser moves each parameter by about its learning rate a step; σ has further to go.
    _SPEED = 10.0

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        self.scaled_log_sigma = nn.Parameter(torch.tensor(-1.0 / self._SPEED))

    @property
    def log_sigma(self) -> Tensor:
        """Natural logarithm of the standard deviation, scalar; smoothly kept above -6."""
        return -6.0 + F.softplus(self._SPEED * self.scaled_log_sigma + 6.0)

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
    """Values in 0…1 on 256 levels, each the share of a logistic distribution that falls to it.

    The ends take what lies beyond them (Salimans et al., 2017, "PixelCNN++", section 2.1, with one
    component). Log-probabilities are of pixels as they are stored, so that bits a number can be compared.
    Parameters are the centres of all channels, then what the logarithms of their scales come from.
    """

    LEVELS = 256
    # Logarithms of scales are -2 ± 5: from a quarter of a level to twenty times the whole range.
    _MIDDLE_LOG_SCALE, _LOG_SCALE_BOUND = -2.0, 5.0

    @property
    def width(self) -> int:
        return 2 * self.spec.shape[0]

    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        return self._each(parameters, target).flatten(1).sum(1)

    def _each(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Log-probability of every number, the target's shape."""
        centre, log_scale = self._split(parameters)
        half, precision = 0.5 / (self.LEVELS - 1), torch.exp(-log_scale)
        above, below = (target + half - centre) * precision, (target - half - centre) * precision
        # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)), s the logistic function.
        between = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-2 * half * precision))
        lowest, highest = target < half, target > 1 - half
        return torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), between))

    def mean(self, parameters: Tensor) -> Tensor:
        """Of the logistic distribution with its ends gathered at 0 and 1, in closed form."""
        centre, log_scale = self._split(parameters)
        scale = log_scale.exp()
        return scale * (F.softplus(centre / scale) - F.softplus((centre - 1) / scale))

    def mode(self, parameters: Tensor) -> Tensor:
        """The level nearest to the centre, or an end where more is gathered."""
        nearest = self._levels(self._split(parameters)[0])
        targets = [nearest, torch.zeros_like(nearest), torch.ones_like(nearest)]
        likeliest = torch.stack([self._each(parameters, target) for target in targets]).argmax(0)
        return torch.stack(targets).gather(0, likeliest[None])[0]

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        centre, log_scale = self._split(parameters)
        uniform = torch.rand(centre.shape, generator=generator, device=centre.device, dtype=centre.dtype)
        return self._levels(centre + log_scale.exp() * torch.logit(uniform, eps=1e-6))

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Centres and logarithms of the scales; an untrained network says grey, and unsure by a seventh."""
        centre, raw = parameters.chunk(2, dim=1)
        bounded = self._LOG_SCALE_BOUND * torch.tanh(raw / self._LOG_SCALE_BOUND)
        return centre + 0.5, self._MIDDLE_LOG_SCALE + bounded

    def _levels(self, values: Tensor) -> Tensor:
        return (values.clamp(0, 1) * (self.LEVELS - 1)).round() / (self.LEVELS - 1)
