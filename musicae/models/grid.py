"""`GridAutoencoder`: pictures and spectrograms, `(batch, channels, height, width)`.

Three networks share the class. `conv` and `mlp` squeeze a grid through a vector; `unet` restores: its
latent is spatial, the encoder's features reach the decoder, and the output corrects the input
(Ronneberger et al., 2015), because the detail a restoration must keep does not fit a small vector.
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.models.autoencoder import Autoencoder, Decoded, ModelConfig
from musicae.nn.convolution import (
    Downward,
    Stride,
    Upward,
    from_patches,
    halvings,
    lay_channels_last,
    level_sizes,
    to_patches,
)
from musicae.nn.correction import CORRECTIONS
from musicae.nn.dense import ResidualMLP
from musicae.nn.posterior import Posterior
from musicae.spec import TensorSpec


class ConvConfig(ModelConfig):
    """A convolutional pyramid with a vector latent."""

    widths: tuple[int, ...] = Field(default=(32, 64, 128), min_length=1)  # channels of each level, finest first
    patch: int = Field(default=1, ge=1)  # side of the squares that enter, and leave, as one cell
    blocks: int = Field(default=1, ge=0)  # residual blocks a level
    # Residual dense blocks between the coarsest cells and the code, each way; with 0, one matrix product. A code of
    # few numbers has to be bent far before cells can be made of it, and what a model is told can only change what the
    # code says together with it. None: 2 where the model is told something, else 0.
    dense_blocks: int | None = Field(default=None, ge=0)
    dense_width: int = Field(default=512, ge=1)


class MLPConfig(ModelConfig):
    """A residual MLP on the flattened grid: for small pictures the fastest to train on a CPU."""

    width: int = Field(default=1024, ge=1)
    depth: int = Field(default=2, ge=0)  # residual blocks, in encoder and decoder each


class UNetConfig(ModelConfig):
    """A convolutional pyramid that corrects its input; any height and width."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    latent_size: int = Field(default=128, ge=1)  # channels of the spatial latent
    widths: tuple[int, ...] = Field(default=(32, 64, 96, 128), min_length=1)
    patch: int = Field(default=2, ge=1)  # side of the squares that enter as one cell; 1 is four times as slow as 2
    blocks: int = Field(default=1, ge=0)
    # The first so many steps from level to level halve both sides, the others only the height; none: all halve both. In
    # a spectrum the height is frequency: telling what a cell is takes the whole band, but not the whole time.
    square_halvings: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> "UNetConfig":
        if self.square_halvings is not None and self.square_halvings >= len(self.widths):
            raise ValueError(f"square_halvings is at most {len(self.widths) - 1} for {len(self.widths)} widths")
        return self

    @property
    def strides(self) -> list[Stride]:
        """Between levels, finest first."""
        return halvings(len(self.widths), self.square_halvings)


class GridAutoencoder(Autoencoder):
    """Base of the grid models: decoding is one pass, and z alone says everything."""

    def __init__(self, spec: TensorSpec, config: ModelConfig) -> None:
        super().__init__(spec, config)
        length, classes = spec.condition or (0, 0)
        self.told_numbers = length * classes
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
        """The mean at any temperature: a draw of pixels given z is the mean with specks of noise on it."""
        return self.likelihood.mean(self.parameters_of(z, condition).float())

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The likelihood's parameters at z, `(batch, width, height, width)`."""
        raise ValueError("this model corrects its input and cannot decode a latent alone")

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self.parameters_of(z, condition)

    def _told(self, numbers: Tensor, condition: Tensor | None) -> Tensor:
        """`(batch, n)` → `(batch, n + told_numbers)`: the classes follow as ones among zeros (Sohn et al., 2015)."""
        if self.spec.condition is None:
            return numbers
        if condition is None:
            condition = torch.zeros(len(numbers), self.spec.condition[0], dtype=torch.int64, device=numbers.device)
        ones = F.one_hot(condition, self.spec.condition[1]).flatten(1)
        return torch.cat([numbers, ones.to(numbers.dtype)], dim=1)


class ConvAutoencoder(GridAutoencoder):
    """Residual convolutions down to a vector and up again."""

    config: ConvConfig

    def __init__(self, spec: TensorSpec, config: ConvConfig) -> None:
        super().__init__(spec, config)
        cells, height, width = config.patch**2, -(-self.height // config.patch), -(-self.width // config.patch)
        self.sizes = level_sizes(height, width, len(config.widths))
        self.coarsest = (config.widths[-1], *self.sizes[-1])
        numbers = config.widths[-1] * self.sizes[-1][0] * self.sizes[-1][1]
        self.encoder = Downward(self.channels * cells, config.widths, config.blocks)
        outputs = config.latent_size * self.latent.outputs_per_number
        self.to_latent = self._dense(numbers + self.told_numbers, outputs)
        self.from_latent = self._dense(config.latent_size + self.told_numbers, numbers)
        self.decoder = Upward(config.widths, self.likelihood.width * cells, config.blocks, skips=False)
        lay_channels_last(self)

    def _dense(self, inputs: int, outputs: int) -> nn.Module:
        blocks = self.config.dense_blocks
        if blocks is None:
            blocks = 2 if self.told_numbers else 0
        if blocks == 0:
            return nn.Linear(inputs, outputs)
        return ResidualMLP(inputs, self.config.dense_width, outputs, blocks, linear_path=True)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.spec.check(x.shape)
        features = self.encoder(to_patches(x, self.config.patch))[-1].flatten(1)
        return self.latent(self.to_latent(self._told(features, condition)))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        cells = self.decoder(self.from_latent(self._told(z, condition)).unflatten(1, self.coarsest), self.sizes)
        return from_patches(cells, self.config.patch, self.height, self.width)


class MLPAutoencoder(GridAutoencoder):
    """Residual MLPs on the flattened grid."""

    config: MLPConfig

    def __init__(self, spec: TensorSpec, config: MLPConfig) -> None:
        super().__init__(spec, config)
        outputs = config.latent_size * self.latent.outputs_per_number
        self.output_shape = (self.likelihood.width, self.height, self.width)
        inputs = spec.numel + self.told_numbers
        self.encoder = ResidualMLP(inputs, config.width, outputs, config.depth, linear_path=True)
        self.decoder = ResidualMLP(
            config.latent_size + self.told_numbers,
            config.width,
            self.likelihood.width * self.height * self.width,
            config.depth,
            linear_path=True,
        )

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.spec.check(x.shape)
        return self.latent(self.encoder(self._told(x.flatten(1), condition)))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.decoder(self._told(z, condition)).unflatten(1, self.output_shape)


class UNet(GridAutoencoder):
    """Restoration: spatial latent, skip connections, output joined to the input.

    Takes grids of any height and width; the spec's are those it is trained on.
    """

    config: UNetConfig

    def __init__(self, spec: TensorSpec, config: UNetConfig) -> None:
        super().__init__(spec, config)
        if spec.condition is not None:
            raise ValueError("this model corrects its input and is told no labels; leave out labels=true")
        if not self.likelihood.parameters_are_values:
            raise ValueError(f"a model that corrects its input needs likelihood=gaussian, not {spec.likelihood}")
        self.correction = CORRECTIONS[spec.correction](self.channels)
        coarsest = config.widths[-1]
        cells = config.patch**2
        self.encoder = Downward(self.correction.inputs * cells, config.widths, config.blocks, config.strides)
        self.to_latent = nn.Conv2d(coarsest, config.latent_size * self.latent.outputs_per_number, 1)
        self.from_latent = nn.Conv2d(config.latent_size, coarsest, 1)
        self.decoder = Upward(
            config.widths, self.correction.outputs * cells, config.blocks, skips=True, strides=config.strides
        )
        lay_channels_last(self)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        height, width = -(-self.height // self.config.patch), -(-self.width // self.config.patch)
        return (self.config.latent_size, *level_sizes(height, width, len(self.config.widths), self.config.strides)[-1])

    @property
    def restores(self) -> bool:
        return True

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        return self.latent(self.to_latent(self._features(x)[-1]))

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
        features = self._features(x)
        posterior = self.latent(self.to_latent(features[-1]))
        z = posterior.mean if use_mean else posterior.sample(generator)
        return Decoded(posterior, z, self._corrected(z, x, features))

    def _corrected(self, z: Tensor, x: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        sizes = [(int(level.shape[-2]), int(level.shape[-1])) for level in features]
        output = self.decoder(self.from_latent(z), sizes, features).float()
        output = from_patches(output, self.config.patch, *x.shape[-2:])
        return self.correction.apply_to(x, output)

    def _features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The encoder's feature maps, finest first."""
        return self.encoder(to_patches(self.correction.features(x), self.config.patch))
