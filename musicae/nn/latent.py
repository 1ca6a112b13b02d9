"""Latents: what stands between encoder and decoder: deterministic, Gaussian or adversarial, vector or spatial.

A latent turns what the encoder gives into a posterior q(z | x), computes what a code costs, and draws new codes from
its prior. Every difference between a plain autoencoder, a VAE and an adversarial autoencoder is in this module. The
logarithm of the variance is what networks predict, and the KL is written for it (Kingma & Welling, 2014, appendix B).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from musicae.errors import MusicaeError
from musicae.nn.prior import Prior

LOG_VARIANCE_BOUND = 8.0

PriorFactory = Callable[[tuple[int, ...]], Prior]
"""Shape of a code → its prior."""


@dataclass(frozen=True)
class Posterior:
    """q(z | x), factorised; a point where `log_variance` is None.

    Attributes:
        mean: `(batch, size)` or `(batch, size, height, width)`.
        log_variance: same shape, or None for the code of a plain autoencoder.
    """

    mean: Tensor
    log_variance: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence["Posterior"]) -> "Posterior":
        """The rows of several, one after the other, in float32. Raises `ValueError` where only some have variances."""
        log_variances = [part.log_variance.float() for part in parts if part.log_variance is not None]
        if len(log_variances) not in (0, len(parts)):
            raise ValueError(f"expected variances of all {len(parts)} parts or of none, got {len(log_variances)}")
        mean = torch.cat([part.mean.float() for part in parts])
        return cls(mean, torch.cat(log_variances) if log_variances else None)

    def rows(self, index: Tensor) -> "Posterior":
        """Those of some examples; `index` is int64 `(examples,)`."""
        return Posterior(self.mean[index], None if self.log_variance is None else self.log_variance[index])

    @property
    def variance(self) -> Tensor:
        """σ², the shape of `mean`. Raises `ValueError` for a point, which has none."""
        return self._known_log_variance().exp()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draws z by the reparameterisation mean + σ·ε; the code itself for a point."""
        if self.log_variance is None:
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) in nats of every latent number, the shape of `mean`; zeros for a point."""
        if self.log_variance is None:
            return torch.zeros_like(self.mean)
        return 0.5 * (self.mean.pow(2) + self.log_variance.exp() - 1.0 - self.log_variance)

    def entropy(self) -> Tensor:
        """Entropy of q in nats, `(batch,)`. Raises `ValueError` for a point, which has none."""
        return 0.5 * (self._known_log_variance() + 1.0 + math.log(2 * math.pi)).flatten(1).sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z | x) in nats, `(batch,)`. Raises `ValueError` for a point."""
        log_variance = self._known_log_variance()
        squares = (z - self.mean).pow(2) * torch.exp(-log_variance)
        return -0.5 * (squares + log_variance + math.log(2 * math.pi)).flatten(1).sum(1)

    def _known_log_variance(self) -> Tensor:
        if self.log_variance is None:
            raise ValueError("the code of a plain autoencoder has no density")
        return self.log_variance


class Latent(nn.Module, ABC):
    """Base of the latents.

    Args:
        shape: of one code, `(size,)` or `(size, height, width)`.
        prior: makes the prior of a shape, such as `PRIORS["flow"]`.
    """

    outputs_per_number: ClassVar[int]
    """Numbers the encoder gives for each number of the code."""
    is_generative: ClassVar[bool]
    """Whether there is a prior to draw from."""
    has_density: ClassVar[bool]
    """Whether codes have a density given the input and under the prior, hence a cost in nats."""

    has_penalty: ClassVar[bool] = False
    """Whether training adds a `penalty` on codes to the loss."""

    def __init__(self, shape: tuple[int, ...], prior: PriorFactory) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def forward(self, projected: Tensor) -> Posterior:
        """`(batch, size · outputs_per_number, ...)` → posterior over `(batch, *shape)`."""

    @abstractmethod
    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        """What the code costs: KL(q ‖ p) in nats, `(batch,)`; z is a draw from the posterior."""

    def penalty(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What training adds to the loss besides the cost of codes, `(batch,)`; zeros unless the latent `has_penalty`.

        Args:
            z: codes, `(batch, *shape)`.
            generator: of draws from the prior that they are compared with.
        """
        del generator
        return z.new_zeros(len(z))

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, `(batch,)`."""

    @abstractmethod
    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from the prior in the space where paths are drawn, `(count, *shape)`."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws codes from the prior, `(count, *shape)`."""
        return self.from_base(self.sample_base(count, generator))

    @abstractmethod
    def to_base(self, z: Tensor) -> Tensor:
        """Codes → the space where paths between codes are drawn, same shape."""

    @abstractmethod
    def from_base(self, base: Tensor) -> Tensor:
        """The inverse of `to_base`."""


class PointLatent(Latent):
    """Base of codes without noise: a projection, no cost."""

    outputs_per_number = 1
    has_density = False

    def forward(self, projected: Tensor) -> Posterior:
        return Posterior(projected.float())

    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        return posterior.kl().flatten(1).sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        raise MusicaeError("a code without noise has no density; train with --latent gaussian.")

    def to_base(self, z: Tensor) -> Tensor:
        return z

    def from_base(self, base: Tensor) -> Tensor:
        return base


class DeterministicLatent(PointLatent):
    """The code of a plain autoencoder: no prior."""

    is_generative = False

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        raise MusicaeError(
            "a plain autoencoder has no prior to sample from; train with --latent gaussian or adversarial."
        )


class GaussianLatent(Latent):
    """A factorised Gaussian posterior and a prior; the log-variance is bounded smoothly.

    A hard clamp has no gradient outside its range, so a unit that strays there never comes back;
    b·tanh(v / b) has one everywhere.
    """

    prior: Prior
    outputs_per_number = 2
    is_generative = True
    has_density = True

    def __init__(self, shape: tuple[int, ...], prior: PriorFactory) -> None:
        super().__init__(shape, prior)
        self.prior = prior(shape)

    def forward(self, projected: Tensor) -> Posterior:
        mean, raw = projected.float().chunk(2, dim=1)
        return Posterior(mean, LOG_VARIANCE_BOUND * torch.tanh(raw / LOG_VARIANCE_BOUND))

    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        return self.prior.kl(posterior, z)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.prior.log_prob(z)

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        return self.prior.sample_base(count, generator)

    def to_base(self, z: Tensor) -> Tensor:
        return self.prior.to_base(z)

    def from_base(self, base: Tensor) -> Tensor:
        return self.prior.from_base(base)


class AdversarialLatent(PointLatent):
    """The code of an adversarial autoencoder (Makhzani et al., 2016): without noise, and all together like the prior.

    A discriminator learns to tell codes from draws of N(0, I), and the encoder learns to give codes that it
    takes for draws. Both learn in the same step by the same loss: the encoder's term sees the discriminator
    with its weights held fixed, the discriminator's term sees codes that pass no gradient back and adds
    nothing to the value, so that the loss means what the autoencoder does.
    """

    is_generative = True
    has_penalty = True
    HIDDEN = 256

    def __init__(self, shape: tuple[int, ...], prior: PriorFactory) -> None:
        super().__init__(shape, prior)
        self.discriminator = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(shape), self.HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(self.HIDDEN, self.HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(self.HIDDEN, 1),
        )  # fmt: skip

    def penalty(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """-log of the probability that the discriminator takes a code for a draw, less log 2: 0 where it can't tell."""
        fixed = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        logit = functional_call(self.discriminator, fixed, (z,)).float().squeeze(1)
        fooling = F.softplus(-logit) - math.log(2)
        if not torch.is_grad_enabled():
            return fooling
        drawn = torch.randn(z.shape, generator=generator, device=z.device)
        of_drawn, of_codes = self.discriminator(torch.cat([drawn, z.detach()])).float().squeeze(1).chunk(2)
        telling = F.softplus(-of_drawn) + F.softplus(of_codes)
        return fooling + telling - telling.detach()

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)


def init_with_small_variance(projection: nn.Linear, latent: Latent) -> None:
    """Initialises the layer that a vector latent reads so that codes stand out of their own noise.

    At σ = 1 an untrained encoder's mean is smaller than the noise on it, and a decoder that sees its own past learns
    to do without z. With means three times as large and σ = 1/e it learns to use z first.
    """
    if latent.has_density:
        numbers = latent.shape[0]
        with torch.no_grad():
            projection.weight[:numbers] *= 3.0
            projection.bias[numbers:] -= 2.0


LATENTS: dict[str, type[Latent]] = {
    "deterministic": DeterministicLatent,
    "gaussian": GaussianLatent,
    "adversarial": AdversarialLatent,
}
