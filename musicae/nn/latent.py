"""Latents: what stands between encoder and decoder, deterministic or Gaussian, vector or spatial.

The network predicts the *logarithm of the variance*, and the KL is written for it (Kingma & Welling,
2014, appendix B). A posterior knows how to draw from itself and what it costs; it knows no network.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LOG_VARIANCE_BOUND = 8.0


@dataclass(frozen=True)
class Posterior:
    """q(z | x), factorised; a point where `log_variance` is None.

    Attributes:
        mean: `(batch, size)` or `(batch, size, height, width)`.
        log_variance: same shape, or None for the code of a plain autoencoder.
    """

    mean: Tensor
    log_variance: Tensor | None = None

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


class DeterministicLatent(nn.Module):
    """The code of a plain autoencoder: a projection, no noise, no cost."""

    outputs_per_number = 1

    def forward(self, projected: Tensor) -> Posterior:
        """`(batch, size, ...)` → a point posterior."""
        return Posterior(projected.float())


class GaussianLatent(nn.Module):
    """A factorised Gaussian posterior; the log-variance is bounded smoothly.

    A hard clamp has no gradient outside its range, so a unit that strays there never comes back;
    b·tanh(v / b) has one everywhere.
    """

    outputs_per_number = 2

    def forward(self, projected: Tensor) -> Posterior:
        """`(batch, 2·size, ...)` → posterior over `(batch, size, ...)`."""
        mean, raw = projected.float().chunk(2, dim=1)
        return Posterior(mean, LOG_VARIANCE_BOUND * torch.tanh(raw / LOG_VARIANCE_BOUND))


LATENTS: dict[str, type[DeterministicLatent] | type[GaussianLatent]] = {
    "deterministic": DeterministicLatent,
    "gaussian": GaussianLatent,
}
