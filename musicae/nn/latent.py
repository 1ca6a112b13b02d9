"""Latents: what stands between encoder and decoder: deterministic, Gaussian or adversarial, vector or spatial.

A latent turns what the encoder gives into a posterior, says what a code costs, and draws new codes
from its prior. Every difference between a plain autoencoder, a VAE and an adversarial autoencoder is in
this module.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from musicae.errors import MusicaeError
from musicae.nn.posterior import Posterior
from musicae.nn.prior import Prior

LOG_VARIANCE_BOUND = 8.0

PriorFactory = Callable[[tuple[int, ...]], Prior]
"""Shape of a code → its prior."""


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

    def __init__(self, shape: tuple[int, ...], prior: PriorFactory) -> None:
        super().__init__()
        self.shape = shape

    is_judged: ClassVar[bool] = False
    """Whether training asks a `penalty` of codes."""

    @abstractmethod
    def forward(self, projected: Tensor) -> Posterior:
        """`(batch, size · outputs_per_number, ...)` → posterior over `(batch, *shape)`."""

    @abstractmethod
    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        """What the code costs: KL(q ‖ p) in nats, `(batch,)`; z is a draw from the posterior."""

    def penalty(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What training asks of codes besides their cost, `(batch,)`; zeros unless a latent asks for something.

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
    is_judged = True
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
        told = self.discriminator(torch.cat([drawn, z.detach()])).float().squeeze(1)
        of_drawn, of_codes = told.chunk(2)
        judging = F.softplus(-of_drawn) + F.softplus(of_codes)
        return fooling + judging - judging.detach()

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)


def start_precise(projection: nn.Linear, latent: Latent) -> None:
    """Makes the layer that a vector latent reads start with codes that stand out of their own noise.

    From σ = 1 on, an untrained encoder says less than its noise, and a decoder that sees its own past learns
    to do without z before z says anything. With means three times as large and σ = 1/e, z is heard first.
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
