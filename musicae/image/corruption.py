"""Corruptions of pictures: four types of noise for `denoise`, and a lower resolution for `upscale`.

Every function takes a batch `(batch, channels, height, width)` in 0…1 and a generator on its device, and returns the
same shape in 0…1. Salt-and-pepper noise and dropped blocks
change all channels of a pixel at once.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_noise(batch: Tensor, generator: torch.Generator, *, mean: float, deviation: float) -> Tensor:
    """Adds N(mean, deviation²) to every value and clips the sum to 0…1, as a camera does.

    Args:
        batch: pictures.
        generator: on the same device.
        mean: mean of the noise; above 0 it brightens the picture.
        deviation: standard deviation of the noise.
    """
    return (batch + mean + deviation * _normal(batch.shape, batch, generator)).clamp(0, 1)


def speckle(batch: Tensor, generator: torch.Generator, *, deviation: float) -> Tensor:
    """Multiplies every value by N(1, deviation²), as interference of coherent waves does (radar, ultrasound)."""
    return (batch * (1 + deviation * _normal(batch.shape, batch, generator))).clamp(0, 1)


def salt_and_pepper(batch: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Makes a share of the pixels black or white, with equal probability."""
    draw = torch.rand(_one_channel(batch), generator=generator, device=batch.device)
    corrupted = torch.where(draw < share / 2, torch.zeros_like(batch), batch)
    return torch.where(draw > 1 - share / 2, torch.ones_like(batch), corrupted)


def dropped_blocks(batch: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Blackens squares of a grid, each with probability `share`; their side is an eighth of the short side."""
    height, width = batch.shape[-2:]
    side = max(1, min(height, width) // 8)
    cells = (len(batch), 1, -(-height // side), -(-width // side))
    dropped = (torch.rand(cells, generator=generator, device=batch.device) < share).to(batch.dtype)
    mask = F.interpolate(dropped, scale_factor=float(side), mode="nearest")[..., :height, :width]
    return batch * (1 - mask)


def low_resolution(batch: Tensor, scale: int) -> Tensor:
    """Downsamples by `scale` and upsamples again, both bicubic: what `upscale` has to sharpen.

    Downsampling filters first, so that nothing aliases; values are clipped to 0…1 both times.
    """
    height, width = batch.shape[-2:]
    size = (max(1, round(height / scale)), max(1, round(width / scale)))
    small = F.interpolate(batch, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    return upsampled(small, (height, width))


def upsampled(batch: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsamples pictures to `(height, width)`, clipped to 0…1; bicubic as in Pillow (a = -0.5)."""
    # torch uses Pillow's bicubic kernel only with antialias=True, which filters nothing when upsampling.
    return F.interpolate(batch, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def _normal(shape: torch.Size, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


def _one_channel(batch: Tensor) -> tuple[int, int, int, int]:
    return (len(batch), 1, *batch.shape[-2:])
