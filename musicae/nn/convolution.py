"""Residual convolutions for grids of any size, down and up again.

Halving rounds up, and the way up crops to the sizes noted on the way down, so 28, 31 or 513 need no
special case. No batch statistics: group norm behaves the same in training, evaluation and on one
example.
"""

from collections.abc import Sequence

from torch import Tensor, nn


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)


class ResidualConvolution(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))), channels and size kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(_groups(channels), channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(_groups(channels), channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channels, height, width)` → the same."""
        return x + self.body(x)


class Downward(nn.Module):
    """The encoder's pyramid: residual blocks, then a stride-2 convolution, at every level but the last.

    Args:
        inputs: channels coming in.
        channels: one entry a level.
        blocks: residual blocks a level.
    """

    def __init__(self, inputs: int, channels: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualConvolution(width) for _ in range(blocks))) for width in channels
        )
        self.shrink = nn.ModuleList(
            nn.Conv2d(above, below, 3, stride=2, padding=1)
            for above, below in zip(channels[:-1], channels[1:], strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(batch, inputs, height, width)` → one feature map a level, finest first."""
        features = []
        x = self.stem(x)
        for index, level in enumerate(self.levels):
            x = level(x)
            features.append(x)
            if index < len(self.shrink):
                x = self.shrink[index](x)  # (batch, channels[index + 1], ceil(h / 2), ceil(w / 2))
        return tuple(features)


class Upward(nn.Module):
    """The decoder's pyramid: enlarge, crop to the finer level's size, join its features if given.

    Args:
        channels: one entry a level, finest first, as in `Downward`.
        outputs: channels going out.
        blocks: residual blocks a level.
        skips: whether the encoder's features are added at every level but the coarsest.
    """

    def __init__(self, channels: Sequence[int], outputs: int, blocks: int, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualConvolution(width) for _ in range(blocks))) for width in channels
        )
        # A sub-pixel convolution: a 1x1 product at the coarse size, then a rearrangement.
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.Conv2d(below, 4 * above, 1), nn.PixelShuffle(2))
            for above, below in zip(channels[:-1], channels[1:], strict=True)
        )
        self.head = nn.Sequential(
            nn.GroupNorm(_groups(channels[0]), channels[0]), nn.SiLU(), nn.Conv2d(channels[0], outputs, 3, padding=1)
        )

    def forward(self, x: Tensor, sizes: Sequence[tuple[int, int]], features: Sequence[Tensor] = ()) -> Tensor:
        """Coarsest map → `(batch, outputs, height, width)`.

        Args:
            x: `(batch, channels[-1], *sizes[-1])`.
            sizes: `(height, width)` of every level, finest first.
            features: with skips, the encoder's maps, finest first.
        """
        x = self.levels[-1](x)
        for index in reversed(range(len(self.enlarge))):
            height, width = sizes[index]
            x = self.enlarge[index](x)[..., :height, :width]
            if self.skips:
                x = x + features[index]
            x = self.levels[index](x)
        return self.head(x)


def level_sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Sizes of every level, finest first: each half the one before, rounded up."""
    sizes = [(height, width)]
    for _ in range(levels - 1):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes
