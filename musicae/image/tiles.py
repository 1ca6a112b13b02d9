"""A picture of any size as tiles that fit together without seams.

A tile is seen with a margin of its surroundings, and only its core is kept. Where the margin is as wide as the
network looks around itself, the result is that of the whole picture at once. Memory is one tile in floating point
beside the pixels of the picture and the result.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from musicae.image.corruption import upsampled

# Multiples of 32 both, so that a network which halves the grid up to five times does so at the same places.
TILE = 768
"""Side of a tile's core, in pixels of the result."""
MARGIN = 160
"""Pixels around it that are seen too; the default U-Net looks 138 pixels around itself."""


class Tile(NamedTuple):
    """Where a tile lies in the result: what is seen of it, and the core that is kept, as rows and columns."""

    seen: tuple[slice, slice]
    core: tuple[slice, slice]


def tiles_of(height: int, width: int) -> Iterator[Tile]:
    """The tiles of a result of this size, row by row."""
    for top, left in product(range(0, height, TILE), range(0, width, TILE)):
        bottom, right = min(top + TILE, height), min(left + TILE, width)
        seen = (
            slice(max(0, top - MARGIN), min(bottom + MARGIN, height)),
            slice(max(0, left - MARGIN), min(right + MARGIN, width)),
        )
        yield Tile(seen, (slice(top, bottom), slice(left, right)))


def cut(planes: np.ndarray, *, scale: int = 1, channels: int) -> Iterator[tuple[Tile, torch.Tensor]]:
    """Cuts a picture into tiles.

    Args:
        planes: uint8 or uint16 `(1 or 3, height, width)`.
        scale: the picture is first made so many times larger, bicubic.
        channels: that the network takes. One: each colour is a picture of its own. Three: grey is shown as colour.

    Yields:
        A tile, and what is seen of it, float32 `(batch, channels, height, width)` in 0…1.
    """
    _, height, width = planes.shape
    for tile in tiles_of(scale * height, scale * width):
        part = _upsampled_part(planes, *tile.seen, scale)
        yield tile, (part[:, None] if channels == 1 else part.expand(channels, -1, -1)[None])


def join(answers: Iterable[tuple[Tile, torch.Tensor]], shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Puts the tiles' answers together.

    Args:
        answers: tiles, each with what a network made of what `cut` gave, in the same shape.
        shape: `(1 or 3, height, width)` of the result.
        dtype: uint8 or uint16.
    """
    result = np.empty(shape, dtype)
    white = int(np.iinfo(dtype).max)
    for tile, answer in answers:
        part = answer.detach().float().cpu().flatten(0, 1)
        if len(part) != len(result):  # grey that was shown as colour
            part = part.mean(0, keepdim=True)
        rows, columns = (
            slice(core.start - seen.start, core.stop - seen.start)
            for core, seen in zip(tile.core, tile.seen, strict=True)
        )
        values = (part[:, rows, columns].clamp(0, 1) * white).round()
        result[:, *tile.core] = values.numpy().astype(dtype)
    return result


def _upsampled_part(planes: np.ndarray, rows: slice, columns: slice, scale: int) -> torch.Tensor:
    """The rows and columns of the picture made larger, float32 `(1 or 3, height, width)` in 0…1."""
    white = float(np.iinfo(planes.dtype).max)
    if scale == 1:
        return torch.from_numpy(planes[:, rows, columns].astype(np.float32)) / white
    # Bicubic interpolation looks two pixels around; four make each place's neighbours the same as in the whole.
    around = 4
    top, left = max(0, rows.start // scale - around), max(0, columns.start // scale - around)
    small = planes[:, top : -(-rows.stop // scale) + around, left : -(-columns.stop // scale) + around]
    large = torch.from_numpy(small.astype(np.float32)) / white
    height, width = small.shape[1:]
    large = upsampled(large[None], (scale * height, scale * width))[0]
    top, left = rows.start - scale * top, columns.start - scale * left
    return large[:, top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]
