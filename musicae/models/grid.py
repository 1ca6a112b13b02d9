"""`GridAutoencoder`, base of all models of pictures and spectrograms; `PictureAutoencoder`, with a discriminator."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from musicae.models.autoencoder import Autoencoder
from musicae.models.sizes import ModelConfig
from musicae.nn.layers import one_hot
from musicae.nn.patch_discriminator import PatchDiscriminator
from musicae.spec import TensorSpec

MOST_PATCH = 64
Patch = Annotated[int, Field(ge=1, le=MOST_PATCH)]
"""Side of the squares of cells that a network takes as one."""


class GridAutoencoder(Autoencoder):
    """Base of the grid models: decoding is one pass. Subclasses define `encode` and `parameters_of`."""

    def __init__(self, spec: TensorSpec, config: ModelConfig) -> None:
        super().__init__(spec, config)
        length, classes = spec.condition or (0, 0)
        self.condition_numbers = length * classes
        self.channels, self.height, self.width = spec.shape
        self._build_latent()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size,)

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """The likelihood's mean at any temperature, since a draw given z would be the mean with noise on each pixel."""
        self.check_codes(z, condition)
        return self.likelihood.mean(self.parameters_of(z, condition).float())

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The likelihood's parameters at z, `(batch, likelihood.width, height, width)`.

        Raises:
            ValueError: the model corrects its input and does not decode z alone.
        """
        raise ValueError("this model corrects its input and cannot decode a latent alone")

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self.parameters_of(z, condition)

    def _with_condition(self, numbers: Tensor, condition: Tensor | None) -> Tensor:
        """`(batch, n)` → `(batch, n + condition_numbers)`: appends the classes one-hot (Sohn et al., 2015)."""
        if self.spec.condition is None:
            return numbers
        if condition is None:
            condition = torch.zeros(numbers.shape[0], self.spec.condition[0], dtype=torch.int64, device=numbers.device)
        ones = one_hot(condition, self.spec.condition[1], dtype=numbers.dtype).flatten(1)
        return torch.cat([numbers, ones], dim=1)


class PictureConfig(ModelConfig):
    """Parts of the loss of pictures beside the likelihood; both are weights, in nats for each number of a picture."""

    patch_discriminator: float = Field(default=0.0, ge=0, le=100)  # of being taken for real, patch by patch
    perceptual: float = Field(default=0.0, ge=0, le=100)  # of the difference between the discriminator's features


class PictureAutoencoder(GridAutoencoder):
    """Base of the convolutional models: their loss may have a part for what looks real."""

    config: PictureConfig

    def __init__(self, spec: TensorSpec, config: PictureConfig) -> None:
        super().__init__(spec, config)
        self.discriminator: PatchDiscriminator | None = None
        if config.patch_discriminator or config.perceptual:
            if not self.likelihood.is_of_pixels:
                raise ValueError(f"patch_discriminator and perceptual are for pictures, not for {spec.likelihood}")
            self.discriminator = PatchDiscriminator(self.channels)

    def is_of_loss(self, name: str) -> bool:
        return name.startswith("discriminator.")

    def _weighted(self, reconstruction: Tensor, parameters: Tensor, target: Tensor) -> Tensor:
        """In training with what the discriminator says; what is best on validation examples is judged without it."""
        if self.discriminator is None or not torch.is_grad_enabled():
            return reconstruction
        estimate = self.likelihood.mean(parameters)
        adversarial, perceptual, own = self.discriminator.losses(estimate, target)
        weighted = self.config.patch_discriminator * adversarial + self.config.perceptual * perceptual
        return reconstruction + target[0].numel() * (weighted + own)
