"""Latents, between encoder and decoder: deterministic, Gaussian or adversarial; a vector or a spatial grid.

Discrete ones are in `musicae.nn.quantisation`, and all by their names in `musicae.nn.latents`.

A latent turns the encoder's output into a posterior q(z | x), computes the KL of a code, and draws new codes from its
prior. Every difference between a plain autoencoder, a VAE and an adversarial autoencoder is in this module. Networks
predict the logarithm of the variance, and the KL is written for that (Kingma & Welling, 2014, appendix B).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from musicae.errors import MusicaeError
from musicae.nn.layers import draw_rows
from musicae.nn.prior import Prior
from musicae.precision import in_double, in_float32

LOG_VARIANCE_BOUND = 8.0
_MOST_SPREAD = 1024
"""Numbers of a code whose covariance is measured."""
_LEAST_SPREAD = 1e-6

PriorFactory = Callable[[tuple[int, ...]], Prior]
"""Shape of a code → its prior."""


@dataclass(frozen=True)
class Posterior:
    """q(z | x), a factorised Gaussian; a single point if `log_variance` is None.

    Attributes:
        mean: `(batch, size)` or `(batch, size, height, width)`.
        log_variance: same shape, or None for the code of a plain autoencoder.
    """

    mean: Tensor
    log_variance: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence["Posterior"]) -> "Posterior":
        """Concatenates several, in float32. Raises `ValueError` if only some have variances."""
        log_variances = [part.log_variance.float() for part in parts if part.log_variance is not None]
        if len(log_variances) not in (0, len(parts)):
            raise ValueError(f"expected variances of all {len(parts)} parts or of none, got {len(log_variances)}")
        mean = torch.cat([part.mean.float() for part in parts])
        return cls(mean, torch.cat(log_variances) if log_variances else None)

    def rows(self, index: Tensor) -> "Posterior":
        """The posteriors of some examples; `index` is int64 `(examples,)`."""
        return Posterior(self.mean[index], None if self.log_variance is None else self.log_variance[index])

    def numbers(self, chosen: slice) -> "Posterior":
        """The posteriors of some of the numbers of vector codes."""
        return Posterior(self.mean[:, chosen], None if self.log_variance is None else self.log_variance[:, chosen])

    @property
    def variance(self) -> Tensor:
        """σ², the shape of `mean`. Raises `ValueError` for a point, which has none."""
        return self._known_log_variance().exp()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draws z by the reparameterisation mean + σ·ε; the code itself for a point."""
        if self.log_variance is None:
            return self.mean
        noise = draw_rows(
            lambda shape: torch.randn(shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype),
            tuple(self.mean.shape),
        )
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) in nats for every latent number, the shape of `mean`; zeros for a point."""
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
        shape: shape of one code, `(size,)` or `(size, height, width)`.
        prior: builds the prior for a shape, such as `PRIORS["flow"]`.
    """

    outputs_per_number: ClassVar[int]
    """How many numbers the encoder gives for each number of the code."""
    is_generative: ClassVar[bool]
    """Whether it has a prior to draw from."""
    has_density: ClassVar[bool]
    """Whether codes have a density, given the input and under the prior, and so a KL."""

    has_penalty: ClassVar[bool] = False
    """Whether training adds a `penalty` on codes to the loss."""

    def __init__(self, shape: tuple[int, ...], prior: PriorFactory) -> None:
        super().__init__()
        self.shape = shape

    @classmethod
    def build(cls, shape: tuple[int, ...], prior: PriorFactory, config: Any, *, restores: bool) -> Self:
        """The latent of a model.

        Args:
            shape, prior: as above.
            config: of the model, see `musicae.models.autoencoder.ModelConfig`.
            restores: whether the model corrects its input, so that its codes alone are of no use.
        """
        del config, restores
        return cls(shape, prior)

    @abstractmethod
    def forward(self, projected: Tensor) -> Posterior:
        """`(batch, size · outputs_per_number, ...)` → posterior over `(batch, *shape)`."""

    @abstractmethod
    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        """KL(q ‖ p) in nats, `(batch,)`; z is a draw from the posterior."""

    def kl_parts(self, posterior: Posterior, z: Tensor) -> dict[str, Tensor]:
        """The KL of each part of a code that has several, by name, `(batch,)` each; none else."""
        del posterior, z
        return {}

    def penalty(self, posterior: Posterior, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A term of the loss besides the KL, `(batch,)`; zeros unless the latent `has_penalty`.

        Args:
            posterior: that the codes are drawn from.
            z: codes, `(batch, *shape)`.
            generator: for draws from the prior, which the codes are compared with.
        """
        del posterior, generator
        return z.new_zeros(len(z))

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, `(batch,)`."""

    @abstractmethod
    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from the prior in the space where paths are drawn, `(count, *shape)`."""

    @property
    def knows_spread(self) -> bool:
        """Whether codes can be varied: by the prior, or by the spread of the training codes."""
        return self.is_generative

    @property
    def can_refine(self) -> bool:
        """Whether codes are continuous and their spread is known, so that gradients can improve them."""
        return self.knows_spread

    def vary_base(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws by which codes are varied, `(count, *shape)`, in the space where paths are drawn."""
        return self.sample_base(count, generator)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws codes from the prior, `(count, *shape)`."""
        return self.of_noise(self.sample_base(count, generator))

    def of_noise(self, base: Tensor) -> Tensor:
        """Draws in the base space → codes, `(count, *shape)`."""
        return self.from_base(base)

    @abstractmethod
    def to_base(self, z: Tensor) -> Tensor:
        """Codes → the space where paths between codes are drawn, same shape; see `Prior.to_base`."""

    @abstractmethod
    def from_base(self, base: Tensor) -> Tensor:
        """The inverse of `to_base`."""


class PointLatent(Latent):
    """Base of the latents without noise: the encoder's output is the code, and its KL is zero."""

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
    """The code of a plain autoencoder: no prior.

    What is known of vectors is their spread, the mean and covariance of the training codes, which are measured once
    training has ended. Paths and variations are drawn where it is standard.
    """

    is_generative = False
    OPTIONAL_WEIGHTS: ClassVar[tuple[str, ...]] = ("middle", "spread")
    middle: Tensor
    spread: Tensor

    def __init__(self, shape: tuple[int, ...], prior: PriorFactory, *, restores: bool = False) -> None:
        super().__init__(shape, prior)
        self.has_spread = not restores and len(shape) == 1 and shape[0] <= _MOST_SPREAD
        if self.has_spread:  # a spread of zero: not measured yet
            self.register_buffer("middle", torch.zeros(shape, device="cpu"))
            self.register_buffer("spread", torch.zeros(shape[0], shape[0], device="cpu"))

    @classmethod
    def build(cls, shape: tuple[int, ...], prior: PriorFactory, config: Any, *, restores: bool) -> Self:
        del config
        return cls(shape, prior, restores=restores)

    @property
    def knows_spread(self) -> bool:
        return self.has_spread and bool(self.spread.any())

    @torch.no_grad()
    def measure(self, codes: Tensor) -> None:
        """Sets the spread to that of codes `(examples, *shape)`; does nothing for grids and very long vectors."""
        if not self.has_spread or len(codes) < 2:
            return
        exact = in_double(codes)
        covariance = torch.cov(exact.T).reshape(2 * self.shape)
        # A number that never changes has no spread, and would have no inverse.
        covariance += (_LEAST_SPREAD * covariance.diagonal().mean().clamp_min(_LEAST_SPREAD)) * torch.eye(
            len(covariance), dtype=covariance.dtype, device=covariance.device
        )
        self.middle.copy_(exact.mean(0))
        self.spread.copy_(torch.linalg.cholesky(covariance))

    def to_base(self, z: Tensor) -> Tensor:
        if not self.knows_spread:
            return z
        return torch.linalg.solve_triangular(self.spread, (z - self.middle).T, upper=False).T

    def from_base(self, base: Tensor) -> Tensor:
        return base @ self.spread.T + self.middle if self.knows_spread else base

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        raise MusicaeError(
            "a plain autoencoder has no prior to sample from; train with --latent gaussian or adversarial."
        )

    def vary_base(self, count: int, generator: torch.Generator) -> Tensor:
        if not self.knows_spread:
            raise MusicaeError(
                "this plain autoencoder has no prior to vary by, and the spread of its codes was not measured; train "
                "it again, or with --latent gaussian."
            )
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.OPTIONAL_WEIGHTS if self.has_spread else ():
            state_dict.setdefault(prefix + name, torch.zeros_like(getattr(self, name)))
        super()._load_from_state_dict(state_dict, prefix, *args)


class GaussianLatent(Latent):
    """A factorised Gaussian posterior and a prior; the log-variance is bounded smoothly.

    A hard clamp has no gradient outside its range, so a unit that gets there would stay there; b·tanh(v / b) has a
    gradient everywhere.
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

    def kl_parts(self, posterior: Posterior, z: Tensor) -> dict[str, Tensor]:
        return self.prior.kl_parts(posterior, z)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.prior.log_prob(z)

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        return self.prior.sample_base(count, generator)

    def to_base(self, z: Tensor) -> Tensor:
        return self.prior.to_base(z)

    def from_base(self, base: Tensor) -> Tensor:
        return self.prior.from_base(base)


class AdversarialLatent(PointLatent):
    """The code of an adversarial autoencoder (Makhzani et al., 2016): without noise, but distributed like the prior.

    A discriminator learns to distinguish codes from draws of N(0, I), and the encoder learns to give codes that the
    discriminator takes for draws. Both learn in the same step from one loss. In the encoder's term the discriminator's
    weights are fixed; in the discriminator's term the codes pass no gradient back. The second term adds zero to the
    value of the loss, which so measures the autoencoder alone.
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

    def penalty(self, posterior: Posterior, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """-log of the probability that the discriminator takes a code for a draw, minus log 2: 0 if it guesses."""
        del posterior
        return self._told_apart(z, generator)

    @in_float32
    def _told_apart(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        fixed = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        logit = functional_call(self.discriminator, fixed, (z,)).float().squeeze(1)
        encoder_loss = F.softplus(-logit) - math.log(2)
        if not torch.is_grad_enabled():
            return encoder_loss
        drawn = draw_rows(lambda shape: torch.randn(shape, generator=generator, device=z.device), tuple(z.shape))
        of_drawn, of_codes = self.discriminator(torch.cat([drawn, z.detach()])).float().squeeze(1).chunk(2)
        discriminator_loss = F.softplus(-of_drawn) + F.softplus(of_codes)
        return encoder_loss + discriminator_loss - discriminator_loss.detach()

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)


def init_with_small_variance(projection: nn.Linear, latent: Latent) -> None:
    """Initialises the layer before a vector latent so that means are large against the noise.

    At σ = 1 an untrained encoder's mean is smaller than its noise, and an autoregressive decoder learns to ignore z.
    With means three times as large and σ = 1/e it learns to use z first.

    Args:
        projection: the layer whose output the latent reads, or a part of it; changed in place.
        latent: only a latent with densities is affected.
    """
    if latent.has_density:
        numbers = projection.out_features // latent.outputs_per_number
        with torch.no_grad():
            projection.weight[:numbers] *= 3.0
            projection.bias[numbers:] -= 2.0
