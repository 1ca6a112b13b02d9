"""`UNet`: restoration of pictures and spectrograms (Ronneberger et al., 2015, "U-Net").

The latent is spatial, skip connections join encoder and decoder, and the output corrects the input, because a small
vector can't hold the detail that a restoration must keep.
"""

from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from musicae.models.autoencoder import Decoded
from musicae.models.grid import Patch, PictureAutoencoder, PictureConfig
from musicae.models.sizes import Depth, Levels, Width
from musicae.nn.convolution import (
    ConvDecoder,
    ConvEncoder,
    Stride,
    from_patches,
    level_sizes,
    level_strides,
    to_patches,
    use_channels_last,
)
from musicae.nn.correction import CORRECTIONS
from musicae.nn.latent import Posterior
from musicae.spec import TensorSpec


class UNetConfig(PictureConfig):
    """Sizes of the U-Net."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    latent_size: Width = 128  # channels of the spatial latent
    widths: Levels = (32, 64, 96, 128)
    patch: Patch = 2  # side of the squares of pixels that are one cell; 1 is four times as slow as 2
    blocks: Depth = 1
    # How many of the downsamplings, from the finest level on, halve both sides; the others halve only the height. None:
    # all halve both. In a spectrum the height is frequency: to recognise a sound takes the whole band, but little time.
    square_halvings: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> "UNetConfig":
        if self.square_halvings is not None and self.square_halvings >= len(self.widths):
            raise ValueError(f"square_halvings is at most {len(self.widths) - 1} for {len(self.widths)} widths")
        return self

    @property
    def strides(self) -> list[Stride]:
        """Strides between levels, finest first."""
        return level_strides(len(self.widths), self.square_halvings)


class UNet(PictureAutoencoder):
    """Restores grids of any height and width; the spec's are those that it is trained on."""

    Config = UNetConfig
    config: UNetConfig

    def __init__(self, spec: TensorSpec, config: UNetConfig) -> None:
        super().__init__(spec, config)
        if spec.condition is not None:
            raise ValueError("this model corrects its input and takes no labels; leave out labels=true")
        if not self.likelihood.parameters_are_values:
            raise ValueError(
                f"a model that corrects its input needs likelihood=gaussian or student_t, not {spec.likelihood}"
            )
        self.correction = CORRECTIONS[spec.correction](self.channels)
        coarsest = config.widths[-1]
        cells = config.patch**2
        self.encoder = ConvEncoder(self.correction.inputs * cells, config.widths, config.blocks, config.strides)
        self.to_latent = nn.Conv2d(coarsest, config.latent_size * self.latent.outputs_per_number, 1)
        self.from_latent = nn.Conv2d(config.latent_size, coarsest, 1)
        self.decoder = ConvDecoder(
            config.widths, self.correction.outputs * cells, config.blocks, skips=True, strides=config.strides
        )
        self.correction.init_output(cast(nn.Conv2d, self.decoder.head[-1]))
        use_channels_last(self)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        rows = CORRECTIONS[self.spec.correction].rows(self.height)
        height, width = -(-rows // self.config.patch), -(-self.width // self.config.patch)
        return (self.config.latent_size, *level_sizes(height, width, len(self.config.widths), self.config.strides)[-1])

    @property
    def restores(self) -> bool:
        return True

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        return self.latent(self.to_latent(self._features(x)[-1]))

    def check_input(self, x: Tensor, condition: Tensor | None = None) -> None:
        self._check_type(x, "an input")
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ValueError(f"expected a batch of shape (batch, {self.channels}, height, width), got {tuple(x.shape)}")
        self._check_condition(x, condition)

    def reconstruct(
        self, x: Tensor, *, generator: torch.Generator | None = None, condition: Tensor | None = None
    ) -> Tensor:
        return self._restore(x, generator, use_mean=generator is None).parameters.float()

    def _decoded(
        self, x: Tensor, target: Tensor, generator: torch.Generator | None, condition: Tensor | None
    ) -> Decoded:
        return self._restore(x, generator, use_mean=False)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self._corrected(z, x, self._features(x))

    def _restore(self, x: Tensor, generator: torch.Generator | None, use_mean: bool) -> Decoded:
        self.check_input(x)
        features = self._features(x)
        posterior = self.latent(self.to_latent(features[-1]))
        z = posterior.mean if use_mean else posterior.sample(generator)
        return Decoded(posterior, z, self._corrected(z, x, features))

    def _corrected(self, z: Tensor, x: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        sizes = [(int(level.shape[-2]), int(level.shape[-1])) for level in features]
        output = self.decoder(self.from_latent(z), sizes, features).float()
        output = from_patches(output, self.config.patch, self.correction.rows(x.shape[-2]), x.shape[-1])
        return self.correction.apply_to(x, output)

    def _features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The encoder's feature maps, finest first."""
        return self.encoder(to_patches(self.correction.features(x), self.config.patch))
