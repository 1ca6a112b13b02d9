"""Residual convolutions for grids of any size: an encoder that downsamples, and a decoder that upsamples.

Halving rounds up, and the decoder crops to the sizes that the encoder had, so 28, 31 or 513 need no special case.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of each cell (Liu et al., 2022, "ConvNeXt").

    It uses no statistics over space or time, so a part of a long sound gives the same as the whole sound.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channels, height, width)` → the same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualConvolution(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))), channels and size kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            LayerNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            LayerNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channels, height, width)` → the same."""
        return x + self.body(x)


MOST_BLOCKS = 128
"""Residual blocks of all levels of an encoder; more take seconds to build, whatever their width."""

Stride = tuple[int, int]
"""Stride between two levels, over height and over width, each 1 or 2."""


class ConvEncoder(nn.Module):
    """Residual blocks, then a convolution with a stride, at every level but the last.

    Args:
        inputs: number of input channels.
        channels: of each level, finest first.
        blocks: residual blocks of each level.
        strides: between levels; by default (2, 2) each time.

    Raises:
        ValueError: more than `MOST_BLOCKS` blocks.
    """

    def __init__(self, inputs: int, channels: Sequence[int], blocks: int, strides: Sequence[Stride] = ()) -> None:
        super().__init__()
        if len(channels) * blocks > MOST_BLOCKS:
            raise ValueError(f"{len(channels)} levels of {blocks} blocks are more than {MOST_BLOCKS} blocks")
        strides = strides or [(2, 2)] * (len(channels) - 1)
        self.stem = nn.Conv2d(inputs, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualConvolution(width) for _ in range(blocks))) for width in channels
        )
        self.downsample = nn.ModuleList(
            nn.Conv2d(above, below, 3, stride=stride, padding=1)
            for (above, below), stride in zip(pairwise(channels), strides, strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(batch, inputs, height, width)` → the feature maps of all levels, finest first."""
        features = []
        x = self.stem(x)
        for index, level in enumerate(self.levels):
            x = level(x)
            features.append(x)
            if index < len(self.downsample):
                x = self.downsample[index](x)  # (batch, channels[index + 1], ceil(h / 2), ceil(w / 2))
        return tuple(features)


class RectangularPixelShuffle(nn.Module):
    """`nn.PixelShuffle` with a factor for each side."""

    def __init__(self, stride: Stride) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channels · rows · columns, height, width)` → `(batch, channels, height · rows, width · columns)`."""
        rows, columns = self.stride
        if rows == columns:
            return F.pixel_shuffle(x, rows)
        batch, channels, height, width = x.shape
        cells = x.view(batch, channels // (rows * columns), rows, columns, height, width)
        return cells.permute(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * rows, width * columns)


class ConvDecoder(nn.Module):
    """At each level upsamples, crops to the finer level's size, and adds the encoder's features if there are skips.

    Args:
        channels: of each level, finest first, as in `ConvEncoder`.
        outputs: number of output channels.
        blocks: residual blocks of each level.
        skips: whether the encoder's features are added at every level but the coarsest.
        strides: between levels, as in `ConvEncoder`.
    """

    def __init__(
        self, channels: Sequence[int], outputs: int, blocks: int, skips: bool, strides: Sequence[Stride] = ()
    ) -> None:
        super().__init__()
        strides = strides or [(2, 2)] * (len(channels) - 1)
        self.skips = skips
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualConvolution(width) for _ in range(blocks))) for width in channels
        )
        # A sub-pixel convolution: a 1x1 product at the coarse size, then a rearrangement.
        self.upsample = nn.ModuleList(
            nn.Sequential(nn.Conv2d(below, stride[0] * stride[1] * above, 1), RectangularPixelShuffle(stride))
            for (above, below), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.head = nn.Sequential(LayerNorm2d(channels[0]), nn.SiLU(), nn.Conv2d(channels[0], outputs, 3, padding=1))

    def forward(self, x: Tensor, sizes: Sequence[tuple[int, int]], features: Sequence[Tensor] = ()) -> Tensor:
        """Coarsest map → `(batch, outputs, height, width)`.

        Args:
            x: `(batch, channels[-1], *sizes[-1])`.
            sizes: `(height, width)` of every level, finest first.
            features: with skips, the encoder's maps, finest first.
        """
        x = self.levels[-1](x)
        for index in reversed(range(len(self.upsample))):
            height, width = sizes[index]
            x = self.upsample[index](x)[..., :height, :width]
            if self.skips:
                x = x + features[index]
            x = self.levels[index](x)
        return self.head(x)


def to_patches(x: Tensor, side: int) -> Tensor:
    """Turns squares of `side` by `side` cells into channels; sizes are padded with zeros to a multiple of `side`.

    `(batch, channels, height, width)` → `(batch, channels·side², ceil(height / side), ceil(width / side))`.
    """
    height, width = x.shape[-2:]
    return F.pixel_unshuffle(F.pad(x, (0, -width % side, 0, -height % side)), side)


def from_patches(x: Tensor, side: int, height: int, width: int) -> Tensor:
    """The inverse of `to_patches`, cropped to `height` and `width`."""
    return F.pixel_shuffle(x, side)[..., :height, :width]


def level_strides(levels: int, square: int | None) -> list[Stride]:
    """Strides between levels, finest first: the first `square` (None: all) halve both sides, the others the height."""
    steps = levels - 1
    return [(2, 2 if level < (steps if square is None else square) else 1) for level in range(steps)]


def use_channels_last(module: nn.Module) -> None:
    """Stores convolution weights channels last: two to four times as fast on a CPU in bfloat16."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this keyword


def level_sizes(height: int, width: int, levels: int, strides: Sequence[Stride] = ()) -> list[tuple[int, int]]:
    """Sizes of every level, finest first: each divided by its stride (by two, if none are given), rounded up."""
    sizes = [(height, width)]
    for rows, columns in strides or [(2, 2)] * (levels - 1):
        height, width = -(-height // rows), -(-width // columns)
        sizes.append((height, width))
    return sizes
