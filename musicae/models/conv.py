"""`ConvAutoencoder` and `MLPAutoencoder`: grids `(batch, channels, height, width)` with a vector latent."""

from math import ceil, prod
from typing import Self, cast

from torch import Tensor, nn

from musicae.models.grid import MOST_PATCH, GridAutoencoder, Patch, PictureAutoencoder, PictureConfig
from musicae.models.sizes import Depth, Levels, ModelConfig, Width
from musicae.nn.convolution import (
    ConvDecoder,
    ConvEncoder,
    from_patches,
    level_sizes,
    to_patches,
    use_channels_last,
)
from musicae.nn.latent import Posterior
from musicae.nn.layers import ResidualMLP
from musicae.spec import TensorSpec

# What is chosen where nothing is stated: cells of the finest and of the coarsest level, levels, channels.
_MOST_FINEST, _MOST_COARSEST = 64 * 64, 8 * 8
_LEAST_LEVELS = 3
_FIRST_WIDTH, _LAST_WIDTH = 32, 128


class ConvConfig(PictureConfig):
    """Sizes of a convolutional autoencoder with a vector latent."""

    # Channels of each level, finest first. None: 32, 64, 128, 128, …, as many as bring the coarsest level to at most
    # 8×8 cells, and at least three.
    widths: Levels | None = None
    # Side of the squares of pixels that the network takes, and gives, as one cell. None: 1; more for large pictures, so
    # that the finest level has at most 64×64 cells.
    patch: Patch | None = None
    blocks: Depth = 1  # residual blocks of each level
    # Residual dense blocks between the coarsest cells and the code, in encoder and decoder each; with 0, one matrix
    # product. A code of few numbers needs a strongly non-linear map to cells, and only such a map lets a condition and
    # the code act together. None: 2 where there is a condition, else 0.
    dense_blocks: Depth | None = None
    dense_width: Width = 512

    def fitted_to(self, spec: TensorSpec) -> Self:
        """With levels and patches by the size of the pictures, so that weights hardly grow with it."""
        _, height, width = spec.shape
        patch = self.patch
        if patch is None:
            patch = 1
            while patch < MOST_PATCH and ceil(height / patch) * ceil(width / patch) > _MOST_FINEST:
                patch *= 2
        widths = self.widths
        if widths is None:
            levels = _LEAST_LEVELS
            while prod(level_sizes(ceil(height / patch), ceil(width / patch), levels)[-1]) > _MOST_COARSEST:
                levels += 1
            widths = tuple(min(_FIRST_WIDTH * 2**level, _LAST_WIDTH) for level in range(levels))
        return self.model_copy(update={"patch": patch, "widths": widths})


class MLPConfig(ModelConfig):
    """Sizes of a residual MLP on the flattened grid, the fastest model to train on small pictures on a CPU."""

    width: Width = 1024
    depth: Depth = 2  # residual blocks, in encoder and decoder each


class ConvAutoencoder(PictureAutoencoder):
    """Residual convolutions that downsample to a vector and upsample again."""

    Config = ConvConfig
    config: ConvConfig

    def __init__(self, spec: TensorSpec, config: ConvConfig) -> None:
        super().__init__(spec, config)
        self.patch, widths = cast(int, self.config.patch), cast(tuple[int, ...], self.config.widths)
        cells, height, width = self.patch**2, ceil(self.height / self.patch), ceil(self.width / self.patch)
        self.sizes = level_sizes(height, width, len(widths))
        self.coarsest = (widths[-1], *self.sizes[-1])
        numbers = widths[-1] * self.sizes[-1][0] * self.sizes[-1][1]
        self.encoder = ConvEncoder(self.channels * cells, widths, config.blocks)
        outputs = config.latent_size * self.latent.outputs_per_number
        self.to_latent = self._dense(numbers + self.condition_numbers, outputs)
        self.from_latent = self._dense(config.latent_size + self.condition_numbers, numbers)
        self.decoder = ConvDecoder(widths, self.likelihood.width * cells, config.blocks, skips=False)
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
        features = self.encoder(to_patches(x, self.patch))[-1].flatten(1)
        return self.latent(self.to_latent(self._with_condition(features, condition)))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        coarsest = self.from_latent(self._with_condition(z, condition)).unflatten(1, self.coarsest)
        cells = self.decoder(coarsest, self.sizes)
        return from_patches(cells, self.patch, self.height, self.width)


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
