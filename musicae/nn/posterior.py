"""`Posterior`: q(z | x), a factorised Gaussian or a point. It knows no network.

The logarithm of the variance is what networks predict, and the KL is written for it (Kingma &
Welling, 2014, appendix B).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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
