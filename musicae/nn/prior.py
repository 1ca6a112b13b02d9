"""Priors: p(z), what the codes of all examples together are compared with and drawn from.

A standard normal is what every VAE starts with. A learned prior follows where the codes really lie, so
the same codes cost fewer bits: here a normalising flow (RealNVP: Dinh et al., 2017) or a mixture of
Gaussians. Both are trained with the model by the same loss. A prior knows no encoder and no decoder.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from musicae.nn.posterior import Posterior

_LOG_2_PI = math.log(2 * math.pi)


class Prior(nn.Module, ABC):
    """A density over latent codes `(batch, *shape)`.

    Args:
        shape: of one code.
    """

    settles: ClassVar[bool] = False
    """Whether codes leave it behind while a model learns, so that it is settled on them afterwards."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, `(batch, *shape)` → `(batch,)`."""

    @abstractmethod
    def to_base(self, z: Tensor) -> Tensor:
        """Codes → the space where paths are drawn, same shape: there the prior is (nearly) a standard normal."""

    @abstractmethod
    def from_base(self, base: Tensor) -> Tensor:
        """The inverse of `to_base`."""

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws codes in the space where paths are drawn, `(count, *shape)`, on the generator's device."""
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)

    def settle(self, posterior: Posterior, generator: torch.Generator) -> bool:
        """Moves a prior that `settles` to where the codes of a trained model lie.

        Args:
            posterior: of all training examples.
            generator: of draws from it, on the same device.

        Returns:
            Whether anything changed; not so where there are too few codes, or what was learned fits them better.
        """
        raise NotImplementedError(f"{type(self).__name__} is not settled after training")

    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        """KL(q ‖ p) in nats, `(batch,)`: the entropy of q exactly, -log p at one draw z of q."""
        return -posterior.entropy() - self.log_prob(z)


def standard_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats, `(batch, ...)` → `(batch,)`."""
    return -0.5 * (z.pow(2) + _LOG_2_PI).flatten(1).sum(1)


class StandardPrior(Prior):
    """N(0, I)."""

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_log_prob(z)

    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        """In closed form (Kingma & Welling, 2014, appendix B); z is not looked at."""
        del z
        return posterior.kl().flatten(1).sum(1)

    def to_base(self, z: Tensor) -> Tensor:
        return z

    def from_base(self, base: Tensor) -> Tensor:
        return base


class AffineCoupling(nn.Module):
    """One half of the numbers, permuted, scales and shifts the other (Dinh et al., 2017, equations 7 and 8).

    The last layer starts at zero, so that the flow starts as a permutation; scales are kept within
    e^±2 smoothly.
    """

    order: Tensor
    LARGEST_LOG_SCALE = 2.0

    def __init__(self, numbers: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kept = numbers - numbers // 2
        moved = numbers // 2
        self.net = nn.Sequential(
            nn.Linear(self.kept, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 2 * moved)
        )
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("order", torch.randperm(numbers, generator=generator))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, numbers)` → the same, and log |det| of the Jacobian `(batch,)`."""
        z = z[:, self.order]
        kept, moved = z[:, : self.kept], z[:, self.kept :]
        log_scale, shift = self._scale_and_shift(kept)
        return torch.cat([kept, moved * log_scale.exp() + shift], 1), log_scale.sum(1)

    def inverse(self, base: Tensor) -> Tensor:
        """`(batch, numbers)` → the same."""
        kept, moved = base[:, : self.kept], base[:, self.kept :]
        log_scale, shift = self._scale_and_shift(kept)
        z = torch.cat([kept, (moved - shift) * torch.exp(-log_scale)], 1)
        return z[:, torch.argsort(self.order)]

    def _scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(kept).float().chunk(2, 1)
        return self.LARGEST_LOG_SCALE * torch.tanh(raw / self.LARGEST_LOG_SCALE), shift


class FlowPrior(Prior):
    """RealNVP: codes become a standard normal by `COUPLINGS` affine couplings."""

    COUPLINGS = 8
    HIDDEN = 256
    _SEED = 8  # of the permutations

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        if math.prod(shape) < 2:
            raise ValueError(f"a flow prior needs at least 2 latent numbers, got {math.prod(shape)}")
        generator = torch.Generator().manual_seed(self._SEED)
        self.couplings = nn.ModuleList(
            AffineCoupling(math.prod(shape), self.HIDDEN, generator) for _ in range(self.COUPLINGS)
        )

    def log_prob(self, z: Tensor) -> Tensor:
        base, log_determinant = self._forward(z)
        return log_determinant + standard_log_prob(base)

    def to_base(self, z: Tensor) -> Tensor:
        return self._forward(z)[0].view_as(z)

    def from_base(self, base: Tensor) -> Tensor:
        z = base.flatten(1)
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, AffineCoupling)
            z = coupling.inverse(z)
        return z.view_as(base)

    def _forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        base = z.flatten(1)
        log_determinant = torch.zeros(len(z), device=z.device)
        for coupling in self.couplings:
            base, added = coupling(base)
            log_determinant = log_determinant + added
        return base, log_determinant


class MixturePrior(Prior):
    """A mixture of `COMPONENTS` Gaussians with diagonal covariances (Dilokthanakul et al., 2016, have one too)."""

    COMPONENTS = 64

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        numbers = math.prod(shape)
        generator = torch.Generator().manual_seed(0)
        # Apart from the start, or all components would learn the same.
        self.mean = nn.Parameter(0.5 * torch.randn(self.COMPONENTS, numbers, generator=generator))
        self.log_sigma = nn.Parameter(torch.zeros(self.COMPONENTS, numbers))
        self.weight_logits = nn.Parameter(torch.zeros(self.COMPONENTS))

    def log_prob(self, z: Tensor) -> Tensor:
        z, precision = z.flatten(1).float(), torch.exp(-2 * self.log_sigma)
        # Σ (z - m)² / σ², as matrix products.
        distance = z.pow(2) @ precision.T - 2 * z @ (self.mean * precision).T + (self.mean.pow(2) * precision).sum(1)
        each = -0.5 * (distance + z.shape[1] * _LOG_2_PI) - self.log_sigma.sum(1)  # (batch, components)
        return torch.logsumexp(each + self.weight_logits.log_softmax(0), 1)

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        component = torch.multinomial(self.weight_logits.softmax(0), count, replacement=True, generator=generator)
        noise = torch.randn(count, self.mean.shape[1], generator=generator, device=self.mean.device)
        return (self.mean[component] + self.log_sigma[component].exp() * noise).unflatten(1, self.shape)

    def to_base(self, z: Tensor) -> Tensor:
        """The codes as they are: a mixture has no map to a single Gaussian that is easy to invert."""
        return z

    def from_base(self, base: Tensor) -> Tensor:
        return base


PRIORS: dict[str, type[Prior]] = {"standard": StandardPrior, "flow": FlowPrior, "mixture": MixturePrior}
