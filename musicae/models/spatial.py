"""`SpatialAutoencoder`: pictures from a grid of codes, one for each cell of a coarse picture.

A vector code has to say where everything is; a grid says it by its place, so its weights don't grow with the picture,
and large pictures keep their detail. What a grid can't do is be drawn cell by cell without a second stage, which knows
how cells go together: flow matching over continuous codes, a Transformer over the tokens of discrete ones (Esser et
al., 2021, "Taming Transformers for High-Resolution Image Synthesis"; Rombach et al., 2022, "Latent Diffusion Models").
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.models.grid import Patch, PictureAutoencoder, PictureConfig
from musicae.models.second_stage import SecondStage, SecondStageConfig
from musicae.models.sizes import Depth, Levels, Width
from musicae.nn.convolution import (
    ConvDecoder,
    ConvEncoder,
    from_patches,
    level_sizes,
    to_patches,
    use_channels_last,
)
from musicae.nn.latent import Posterior
from musicae.spec import TensorSpec


class SpatialConfig(SecondStageConfig, PictureConfig):
    """Sizes of an autoencoder with a grid of codes."""

    latent_size: Width = 8  # numbers of a cell's code
    widths: Levels = (64, 96, 128)  # channels of each level, finest first; each after the first halves both sides
    patch: Patch = 2  # side of the squares of pixels that are one cell of the finest level
    blocks: Depth = Field(default=1, ge=1)  # residual blocks of each level


class SpatialAutoencoder(SecondStage, PictureAutoencoder):
    """Convolutions down to a grid of codes and up again; a label, if there is one, is asked of the second stage."""

    Config = SpatialConfig
    config: SpatialConfig

    def __init__(self, spec: TensorSpec, config: SpatialConfig) -> None:
        cells = [-(-side // config.patch) for side in spec.shape[1:]]
        self.sizes = level_sizes(cells[0], cells[1], len(config.widths))
        super().__init__(spec, config)
        numbers = config.patch**2
        coarsest = config.widths[-1]
        self.encoder = ConvEncoder(self.channels * numbers, config.widths, config.blocks)
        self.to_latent = nn.Conv2d(coarsest, config.latent_size * self.latent.outputs_per_number, 1)
        self.from_latent = nn.Conv2d(config.latent_size, coarsest, 1)
        self.decoder = ConvDecoder(config.widths, self.likelihood.width * numbers, config.blocks, skips=False)
        use_channels_last(self)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size, *self.sizes[-1])

    @property
    def codes_in_a_row(self) -> int:
        return math.prod(self.sizes[-1])

    @property
    def completes(self) -> bool:
        return False

    @property
    def draws_by_condition(self) -> bool:
        return self.config.second_stage

    @property
    def label_count(self) -> int:
        return 0 if self.spec.condition is None else self.spec.condition[1] - 1

    def usual_condition(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Any class: codes are drawn better by one than by none."""
        if not (self.draws_by_condition and self.label_count):
            return None
        return torch.randint(1, self.label_count + 1, (count, 1), generator=generator, device=generator.device)

    def asked(self, x: Tensor | None, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The class of a picture is a label, and the class "none" no label."""
        del x
        if condition is None or not self.label_count:
            return None, None
        label = condition[:, 0] - 1
        return None, label.where(label >= 0, self.label_count)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        return self.latent(self.to_latent(self.encoder(to_patches(x, self.config.patch))[-1]))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        cells = self.decoder(self.from_latent(z), self.sizes)
        return from_patches(cells, self.config.patch, self.height, self.width)
