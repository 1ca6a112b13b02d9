"""`ConvAutoencoder` and `MLPAutoencoder`: grids `(batch, channels, height, width)` with a vector latent.

Their base `GridAutoencoder` is that of all models of pictures and spectrograms.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.models.autoencoder import Autoencoder, Depth, Levels, ModelConfig, Width
from musicae.nn.convolution import (
    ConvDecoder,
    ConvEncoder,
    from_patches,
    level_sizes,
    to_patches,
    use_channels_last,
)
from musicae.nn.latent import Posterior
from musicae.nn.layers import ResidualMLP, one_hot
from musicae.spec import TensorSpec

Patch = Annotated[int, Field(ge=1, le=64)]
"""Side of the squares of cells that a network takes as one."""


class ConvConfig(ModelConfig):
    """Sizes of a convolutional autoencoder with a vector latent."""

    widths: Levels = (32, 64, 128)  # channels of each level, finest first
    patch: Patch = 1  # side of the squares of pixels that the network takes, and gives, as one cell
    blocks: Depth = 1  # residual blocks of each level
    # Residual dense blocks between the coarsest cells and the code, in encoder and decoder each; with 0, one matrix
    # product. A code of few numbers needs a strongly non-linear map to cells, and only such a map lets a condition and
    # the code act together. None: 2 where there is a condition, else 0.
    dense_blocks: Depth | None = None
    dense_width: Width = 512


class MLPConfig(ModelConfig):
    """Sizes of a residual MLP on the flattened grid, the fastest model to train on small pictures on a CPU."""

    width: Width = 1024
    depth: Depth = 2  # residual blocks, in encoder and decoder each


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


class ConvAutoencoder(GridAutoencoder):
    """Residual convolutions that downsample to a vector and upsample again."""

    Config = ConvConfig
    config: ConvConfig

    def __init__(self, spec: TensorSpec, config: ConvConfig) -> None:
        super().__init__(spec, config)
        cells, height, width = config.patch**2, -(-self.height // config.patch), -(-self.width // config.patch)
        self.sizes = level_sizes(height, width, len(config.widths))
        self.coarsest = (config.widths[-1], *self.sizes[-1])
        numbers = config.widths[-1] * self.sizes[-1][0] * self.sizes[-1][1]
        self.encoder = ConvEncoder(self.channels * cells, config.widths, config.blocks)
        outputs = config.latent_size * self.latent.outputs_per_number
        self.to_latent = self._dense(numbers + self.condition_numbers, outputs)
        self.from_latent = self._dense(config.latent_size + self.condition_numbers, numbers)
        self.decoder = ConvDecoder(config.widths, self.likelihood.width * cells, config.blocks, skips=False)
        use_channels_last(self)

    def _dense(self, inputs: int, outputs: int) -> nn.Module:
        blocks = self.config.dense_blocks
        if blocks is None:
            blocks = 2 if self.condition_numbers else 0
        if blocks == 0:
            return nn.Linear(inputs, outputs)
        return ResidualMLP(inputs, self.config.dense_width, outputs, blocks, linear_path=True)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        features = self.encoder(to_patches(x, self.config.patch))[-1].flatten(1)
        return self.latent(self.to_latent(self._with_condition(features, condition)))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        coarsest = self.from_latent(self._with_condition(z, condition)).unflatten(1, self.coarsest)
        cells = self.decoder(coarsest, self.sizes)
        return from_patches(cells, self.config.patch, self.height, self.width)


class MLPAutoencoder(GridAutoencoder):
    """Residual MLPs on the flattened grid."""

    Config = MLPConfig
    config: MLPConfig

    def __init__(self, spec: TensorSpec, config: MLPConfig) -> None:
        super().__init__(spec, config)
        outputs = config.latent_size * self.latent.outputs_per_number
        self.output_shape = (self.likelihood.width, self.height, self.width)
        inputs = spec.numel + self.condition_numbers
        self.encoder = ResidualMLP(inputs, config.width, outputs, config.depth, linear_path=True)
        self.decoder = ResidualMLP(
            config.latent_size + self.condition_numbers,
            config.width,
            self.likelihood.width * self.height * self.width,
            config.depth,
            linear_path=True,
        )

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        return self.latent(self.encoder(self._with_condition(x.flatten(1), condition)))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.decoder(self._with_condition(z, condition)).unflatten(1, self.output_shape)
