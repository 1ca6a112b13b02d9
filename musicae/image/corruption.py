"""Corruptions of pictures: types of noise for `denoise`, and a lower resolution for `upscale`.

Every function takes a batch `(batch, channels, height, width)` in 0…1 and a generator on its device, and returns the
same shape in 0…1, unless it says otherwise. Salt-and-pepper noise and dropped blocks change all channels of a pixel at
once. The mixed corruptions are what happens to photographs; each picture of a batch has its own.
"""

from collections.abc import Sequence
from io import BytesIO
from math import ceil

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from musicae.image.pixels import image_of

MOST_NOISE = 55 / 255
"""Largest deviation of mixed noise."""
_NOISE_SHARES = (0.55, 0.1, 0.3)  # gaussian, shot noise, JPEG; the rest stays clean
_CLIPPED_SHARE = 0.5  # of pictures with noise; the others have values beyond 0…1, as in published comparisons
_COMPRESSED_NOISE = 15 / 255  # largest deviation of the noise that half of the JPEGs have
_PHOTONS = (20.0, 2000.0)  # of white, fewest and most
_QUALITIES = (30, 96)
_ALIGNED_SHARE = 2 / 3  # of JPEGs, noisy or not, whose blocks begin at the corner, with colours halved
_SMALL_QUALITIES = (75, 100)  # of pictures that are enlarged
_SMALL_COMPRESSED_SHARE = 0.1
_KERNELS = ("bicubic", "bicubic", "bicubic", "bicubic", "area", "bilinear", "gaussian")


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


def mixed_noise(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of a deviation up to 55/255, shot noise, or JPEG compression, for each picture one, or none.

    Half of the noisy pictures keep values beyond 0…1. Two thirds of the JPEGs are as a camera writes them. A grey
    picture has grey noise, also in three channels.
    """
    draw, strength, share, alignment = _draws(4, batch, generator)
    noise = _normal(batch.shape, batch, generator)
    is_grey = (batch == batch[:, :1]).flatten(1).all(1)
    noise = torch.where(_each(is_grey), noise[:, :1], noise)
    gaussian, shot, compressed = _NOISE_SHARES
    is_clean = draw >= gaussian + shot + compressed
    is_compressed = (draw >= gaussian + shot) & ~is_clean
    fewest, most = _PHOTONS
    compressed_noise = _COMPRESSED_NOISE * (2 * strength - 1).clamp_min(0)
    deviation = torch.where(is_compressed, compressed_noise, MOST_NOISE * strength) * ~is_clean
    of_photons = (batch / _each(fewest * (most / fewest) ** strength)).sqrt()
    is_shot = (draw >= gaussian) & (draw < gaussian + shot)
    noisy = batch + torch.where(_each(is_shot), of_photons, _each(deviation)) * noise
    noisy = torch.where(_each(is_compressed | (share < _CLIPPED_SHARE)), noisy.clamp(0, 1), noisy)
    low, high = _QUALITIES
    qualities = torch.where(is_compressed, low + (share * (high - low)).long(), 0).tolist()
    aligned = (alignment < _ALIGNED_SHARE).tolist()
    for number, (quality, is_aligned) in enumerate(zip(qualities, aligned, strict=True)):
        if quality:
            noisy[number] = jpeg(noisy[number], generator, quality=quality, is_aligned=is_aligned)
    return noisy


def jpeg(picture: Tensor, generator: torch.Generator, *, quality: int, is_aligned: bool = False) -> Tensor:
    """Compresses and decodes one picture.

    Args:
        picture: `(1 or 3, height, width)` in 0…1.
        generator: draws the blocks' place, and whether colours are at half the resolution.
        quality: 1 to 100, as of Pillow.
        is_aligned: whether blocks of 8 by 8 begin at the corner and colours are halved, as a camera does it; else they
            begin anywhere, as in a picture that was cropped, and colours are halved half of the time.

    Returns:
        The same shape, in 0…1.
    """
    top, left, halved = torch.randint(0, 8, (3,), generator=generator, device=generator.device).tolist()
    if is_aligned:
        top = left = halved = 0
    height, width = picture.shape[-2:]
    pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    pixels = np.pad(pixels, ((0, 0), (top, 0), (left, 0)), mode="edge")
    content = BytesIO()
    image_of(pixels).save(content, "JPEG", quality=quality, subsampling=2 if halved < 4 else 0)
    decoded = np.asarray(Image.open(content)).astype(np.float32) / 255
    decoded = decoded[None] if decoded.ndim == 2 else decoded.transpose(2, 0, 1)
    return torch.from_numpy(decoded[:, top : top + height, left : left + width].copy()).to(picture)


def mixed_low_resolution(batch: Tensor, generator: torch.Generator, *, scales: Sequence[int]) -> Tensor:
    """As `low_resolution`, for each picture with its own scale and filter, some compressed as JPEG while small.

    Args:
        batch: pictures.
        generator: on the same device.
        scales: of which each picture has one.
    """
    scale_draw, kernel_draw, blur_draw, jpeg_draw = _draws(4, batch, generator).tolist()  # read once from the device
    alike: dict[tuple[int, str], list[int]] = {}
    for number, (scale_share, kernel_share) in enumerate(zip(scale_draw, kernel_draw, strict=True)):
        key = scales[int(scale_share * len(scales))], _KERNELS[int(kernel_share * len(_KERNELS))]
        alike.setdefault(key, []).append(number)
    height, width = batch.shape[-2:]
    lowered = torch.empty_like(batch)
    for (scale, kernel), numbers in alike.items():
        pictures = batch[numbers]
        size = (max(1, round(height / scale)), max(1, round(width / scale)))
        if kernel == "area":
            small = F.interpolate(pictures, size=size, mode="area")
        elif kernel == "gaussian":
            # Without antialiasing, bilinear interpolation reads the blurred picture at the middles of the new pixels.
            deviations = [scale * (0.2 + 0.4 * blur_draw[number]) for number in numbers]
            small = F.interpolate(_blurred(pictures, deviations), size=size, mode="bilinear")
        else:
            small = F.interpolate(pictures, size=size, mode=kernel, antialias=True)
        small = small.clamp(0, 1)
        low, high = _SMALL_QUALITIES
        for place, number in enumerate(numbers):
            if (share := jpeg_draw[number] / _SMALL_COMPRESSED_SHARE) < 1:
                small[place] = jpeg(small[place], generator, quality=low + int(share * (high - low)))
        lowered[numbers] = upsampled(small, (height, width))
    return lowered


def _blurred(batch: Tensor, deviations: Sequence[float]) -> Tensor:
    """Convolves each picture with a Gaussian of its own deviation in pixels; edges go on as they are."""
    count, channels, height, width = batch.shape
    reach = max(1, ceil(3 * max(deviations)))
    place = torch.arange(-reach, reach + 1, dtype=batch.dtype)
    kernel = torch.exp(-0.5 * (place / torch.tensor(deviations)[:, None]) ** 2).to(batch)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    padded = F.pad(batch, (reach, reach, reach, reach), mode="replicate").flatten(0, 1)[None]
    rows = F.conv2d(padded, kernel[..., None], groups=count * channels)
    return F.conv2d(rows, kernel[:, :, None], groups=count * channels).view(count, channels, height, width)


def low_resolution(batch: Tensor, scale: int) -> Tensor:
    """Downsamples by `scale` and upsamples again, both bicubic: what `upscale` has to sharpen.

    Downsampling filters first, so that nothing aliases; values are clipped to 0…1 both times.
    """
    return upsampled(smaller(batch, scale), (batch.shape[-2], batch.shape[-1]))


def smaller(batch: Tensor, scale: int) -> Tensor:
    """Downsamples by `scale`, bicubic and filtered, clipped to 0…1."""
    height, width = batch.shape[-2:]
    size = (max(1, round(height / scale)), max(1, round(width / scale)))
    return F.interpolate(batch, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def upsampled(batch: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsamples pictures to `(height, width)`, clipped to 0…1; bicubic as in Pillow (a = -0.5)."""
    # torch uses Pillow's bicubic kernel only with antialias=True, which filters nothing when upsampling.
    return F.interpolate(batch, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def _draws(count: int, batch: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform random numbers in 0…1, `(count, len(batch))`."""
    return torch.rand(count, len(batch), generator=generator, device=batch.device)


def _each(values: Tensor) -> Tensor:
    """`(batch,)` → a number for each picture, `(batch, 1, 1, 1)`."""
    return values[:, None, None, None]


def _normal(shape: torch.Size, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


def _one_channel(batch: Tensor) -> tuple[int, int, int, int]:
    return (len(batch), 1, *batch.shape[-2:])
