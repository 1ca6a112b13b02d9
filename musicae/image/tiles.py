"""Cuts a picture of any size into tiles, and joins them without seams.

The network is given each tile with a margin around it, and only the core of its output is kept. If the margin is at
least as wide as the network's receptive field reaches, the result equals that of the whole picture at once. Memory is
one tile in floating point beside the pixels of the picture and of the result.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from musicae.image.corruption import upsampled

SIZE_DIVISOR = 32
"""Tiles begin at multiples of it: a network that halves the grid up to five times has the same cells in every tile."""
TILE = 24 * SIZE_DIVISOR
"""Side of a tile's core, in pixels of the result."""
MARGIN = 5 * SIZE_DIVISOR
"""Width of the margin in pixels; the receptive field of the default U-Net reaches 138 pixels."""


class Tile(NamedTuple):
    """Where a tile lies in the result, as rows and columns: `seen` with its margin, and `core`, which is kept."""

    seen: tuple[slice, slice]
    core: tuple[slice, slice]


def tiles_of(height: int, width: int) -> Iterator[Tile]:
    """The tiles of a result of `height` by `width` pixels, row by row."""
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
        channels: of the network. 1: each colour is processed as a picture of its own. 3: grey becomes colour.

    Yields:
        A tile, and its pixels with the margin, float32 `(batch, channels, height, width)` in 0…1.
    """
    _, height, width = planes.shape
    for tile in tiles_of(scale * height, scale * width):
        part = _upsampled_part(planes, *tile.seen, scale)
        yield tile, (part[:, None] if channels == 1 else part.expand(channels, -1, -1)[None])


def join(answers: Iterable[tuple[Tile, torch.Tensor]], shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Joins the network's output for all tiles.

    Args:
        answers: each tile that `cut` gave, with the network's output for it, same shape.
        shape: `(1 or 3, height, width)` of the result.
        dtype: uint8 or uint16.

    Returns:
        Pixels of that shape and type.
    """
    result = np.empty(shape, dtype)
    white = int(np.iinfo(dtype).max)
    for tile, answer in answers:
        part = answer.detach().float().cpu().flatten(0, 1)
        if len(part) != len(result):  # grey that was processed as colour
            part = part.mean(0, keepdim=True)
        rows, columns = (
            slice(core.start - seen.start, core.stop - seen.start)
            for core, seen in zip(tile.core, tile.seen, strict=True)
        )
        values = (part[:, rows, columns].clamp(0, 1) * white).round()
        result[:, *tile.core] = values.numpy().astype(dtype)
    return result


def _upsampled_part(planes: np.ndarray, rows: slice, columns: slice, scale: int) -> torch.Tensor:
    """Some rows and columns of the upsampled picture, float32 `(1 or 3, height, width)` in 0…1."""
    white = float(np.iinfo(planes.dtype).max)
    if scale == 1:
        return torch.from_numpy(planes[:, rows, columns].astype(np.float32)) / white
    # Bicubic interpolation reads two pixels around each; with four, the part equals that of the whole picture.
    around = 4
    top, left = max(0, rows.start // scale - around), max(0, columns.start // scale - around)
    small = planes[:, top : -(-rows.stop // scale) + around, left : -(-columns.stop // scale) + around]
    large = torch.from_numpy(small.astype(np.float32)) / white
    height, width = small.shape[1:]
    large = upsampled(large[None], (scale * height, scale * width))[0]
    top, left = rows.start - scale * top, columns.start - scale * left
    return large[:, top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]
