"""`Autoencoder`: encoder → latent → decoder, and the loss. It knows tensors, and no files.

    total = -log p(target | z) + β · max(KL(q(z | input) ‖ N(0, I)) - free, 0)

With a deterministic latent the KL is zero and this is a plain autoencoder; with a Gaussian one and
β = 1 it is the negative ELBO (Kingma & Welling, 2014). The input may be a damaged version of the
target: then the same loss trains a restorer.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.config import Config
from musicae.likelihoods import build_likelihood
from musicae.nn.latent import LATENTS, Posterior
from musicae.spec import TensorSpec


class ModelConfig(Config):
    """What every model is told; each adds its own sizes."""

    latent: Literal["deterministic", "gaussian"] = "gaussian"
    latent_size: int = Field(default=32, ge=1, le=65536)  # numbers in a vector latent, channels in a spatial one


class Loss(NamedTuple):
    """The loss and its parts, scalars, averaged over the batch, in nats an example.

    Attributes:
        total: what is differentiated.
        reconstruction: -log p(target | z).
        kl: KL before β and free bits.
    """

    total: Tensor
    reconstruction: Tensor
    kl: Tensor


class Autoencoder(nn.Module, ABC):
    """Base of the two forms, `GridAutoencoder` and `StepsAutoencoder`."""

    def __init__(self, spec: TensorSpec, config: ModelConfig) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.likelihood = build_likelihood(spec)
        self.latent = LATENTS[config.latent]()

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one example's z."""

    @property
    def autoregressive(self) -> bool:
        """Whether the decoder sees its own earlier output, so that teacher forcing flatters it."""
        return False

    @property
    def restores(self) -> bool:
        """Whether the decoder corrects its input instead of rebuilding from z alone."""
        return False

    @abstractmethod
    def encode(self, x: Tensor) -> Posterior:
        """`(batch, *spec.shape)` → posterior over `(batch, *latent_shape)`."""

    @abstractmethod
    def decode(self, z: Tensor, *, temperature: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """`(batch, *latent_shape)` → `(batch, *spec.shape)`.

        Args:
            z: latent codes.
            temperature: 0 gives the mean (grid) or the most probable symbols (steps).
            generator: on z's device; drawn from at temperatures above 0.
        """

    @abstractmethod
    def reconstruct(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """`(batch, *spec.shape)` → the model's answer, same shape.

        With a generator z is drawn from the posterior, without it is the posterior's mean.
        """

    @abstractmethod
    def _posterior_and_parameters(
        self, x: Tensor, target: Tensor, generator: torch.Generator | None
    ) -> tuple[Posterior, Tensor]:
        """Encodes `x`, draws z, and gives the likelihood's parameters for `target`."""

    def forward(
        self,
        x: Tensor,
        target: Tensor,
        beta: float = 1.0,
        free_nats: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Loss:
        """The loss of a batch.

        Args:
            x: the input, `(batch, *spec.shape)`, damaged or not.
            target: the clean batch, same shape.
            beta: weight of the KL.
            free_nats: KL an example may spend at no cost.
            generator: draws z; None uses torch's default generator.
        """
        part, _, _ = self.score(x, target, generator)
        total = part.reconstruction + beta * (part.kl - free_nats).clamp_min(0.0)
        return Loss(total.mean(), part.reconstruction.mean(), part.kl.mean())

    def score(
        self, x: Tensor, target: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Loss, Tensor, Posterior]:
        """One pass, example by example.

        Args:
            x, target, generator: as in `forward`.

        Returns:
            The loss at β = 1 with parts of shape `(batch,)`; the most probable output, where an
            autoregressive decoder is shown the target's earlier symbols; the posterior.
        """
        posterior, parameters = self._posterior_and_parameters(x, target, generator)
        parameters = parameters.float()
        reconstruction = -self.likelihood.log_prob(parameters, target)
        kl = posterior.kl().flatten(1).sum(1)
        return Loss(reconstruction + kl, reconstruction, kl), self.likelihood.mode(parameters), posterior
