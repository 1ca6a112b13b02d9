"""A picture of any size through a function of tensors, tile after tile.

A tile is handed on with a margin of its surroundings, and only its core is kept. Where the margin is as
wide as the function looks around itself, the tiles fit without seams: the result is that of the whole
picture at once. Memory is one tile in floating point beside the bytes of the picture and the result.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import torch

from musicae.image.corruption import enlarged

# Multiples of 32 both, so that a network which halves the grid up to five times does so at the same places.
TILE = 768
"""Side of a tile's core, in pixels of the result."""
MARGIN = 160
"""Pixels around it that are seen too; the default U-Net looks 138 pixels around itself."""


def in_tiles(
    pixels: np.ndarray, function: Callable[[torch.Tensor], torch.Tensor], *, scale: int = 1, channels: int
) -> np.ndarray:
    """Enlarges a picture and puts it through a function.

    Args:
        pixels: uint8 `(1 or 3, height, width)`.
        function: `(batch, channels, h, w)` in 0…1 → the same shape.
        scale: the picture is first enlarged so many times, bicubic.
        channels: that the function takes. One: each colour is a picture of its own. Three: grey is shown as colour.

    Returns:
        uint8 `(1 or 3, scale · height, scale · width)`, with the channels of the picture.
    """
    colours, height, width = pixels.shape
    result = np.empty((colours, scale * height, scale * width), np.uint8)
    for top, left in product(range(0, scale * height, TILE), range(0, scale * width, TILE)):
        bottom, right = min(top + TILE, scale * height), min(left + TILE, scale * width)
        seen_top, seen_left = max(0, top - MARGIN), max(0, left - MARGIN)
        rows = slice(seen_top, min(bottom + MARGIN, scale * height))
        columns = slice(seen_left, min(right + MARGIN, scale * width))
        part = _as_seen(_enlarged_part(pixels, rows, columns, scale), channels)
        answer = _as_drawn(function(part), colours)
        result[:, top:bottom, left:right] = answer[
            :, top - seen_top : bottom - seen_top, left - seen_left : right - seen_left
        ]
    return result


def _enlarged_part(pixels: np.ndarray, rows: slice, columns: slice, scale: int) -> torch.Tensor:
    """The rows and columns of the enlarged picture, float32 `(colours, height, width)` in 0…1."""
    if scale == 1:
        return torch.from_numpy(np.ascontiguousarray(pixels[:, rows, columns])).float() / 255
    # Bicubic interpolation looks two pixels around; four make each place's neighbours the same as in the whole.
    around = 4
    top, left = max(0, rows.start // scale - around), max(0, columns.start // scale - around)
    small = pixels[:, top : -(-rows.stop // scale) + around, left : -(-columns.stop // scale) + around]
    large = torch.from_numpy(np.ascontiguousarray(small)).float() / 255
    height, width = small.shape[1:]
    large = enlarged(large[None], (scale * height, scale * width))[0]
    top, left = rows.start - scale * top, columns.start - scale * left
    return large[:, top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]


def _as_seen(part: torch.Tensor, channels: int) -> torch.Tensor:
    """`(colours, h, w)` → `(batch, channels, h, w)`."""
    if channels == 1:
        return part[:, None]
    return part.expand(channels, -1, -1)[None]


def _as_drawn(answer: torch.Tensor, colours: int) -> np.ndarray:
    """The inverse of `_as_seen`, in uint8."""
    part = answer.detach().float().cpu().flatten(0, 1)
    if len(part) != colours:
        part = part.mean(0, keepdim=True)
    pixels: np.ndarray = (part.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return pixels
