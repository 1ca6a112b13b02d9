"""Photographs enlarged by a model that never saw one, beside bicubic (for `image.py`).

A photograph is shrunk (bicubic, filtered) and enlarged again, by the model and by Pillow's bicubic. PSNR and
SSIM are of the luma, 16 pixels from the edge on; `above` counts the pictures on which the model has the higher PSNR.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchmetrics.functional.image import structural_similarity_index_measure

from musicae.image.files import read_whole_picture
from musicae.image.tiles import in_tiles
from musicae.trained import TrainedModel

_EDGE = 16
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def luma(pixels: np.ndarray) -> torch.Tensor:
    """uint8 `(1 or 3, height, width)` → float64 `(1, 1, height, width)` in 0…1."""
    grey = pixels[0] if len(pixels) == 1 else np.tensordot(_LUMA, pixels, 1)
    return torch.from_numpy(grey[_EDGE:-_EDGE, _EDGE:-_EDGE] / 255.0)[None, None]


def likeness(pixels: np.ndarray, original: np.ndarray) -> tuple[float, float]:
    """PSNR in dB, and SSIM."""
    estimate, target = luma(pixels), luma(original)
    psnr_db = -10 * float((estimate - target).square().mean().log10())
    ssim = structural_similarity_index_measure(estimate, target, data_range=1.0)
    assert isinstance(ssim, torch.Tensor)
    return psnr_db, float(ssim)


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """By Pillow, bicubic."""
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    array = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def enlarge(model: TrainedModel, files: list[Path]) -> dict[str, float]:
    """Scores of one model on all photographs."""
    scale, channels = model.domain.config.scale, model.domain.config.channels  # type: ignore[attr-defined]  # pictures

    def restore(batch: torch.Tensor) -> torch.Tensor:
        answer = model.upscale(batch)
        assert isinstance(answer, torch.Tensor)
        return answer

    rows = []
    for file in files:
        original = read_whole_picture(file)
        height, width = (side - side % scale for side in original.shape[1:])
        original = original[:, :height, :width]
        small = resized(original, width // scale, height // scale)
        ours = in_tiles(np.ascontiguousarray(small), restore, scale=scale, channels=channels)
        rows.append((*likeness(ours, original), *likeness(resized(small, width, height), original)))
    table = np.array(rows)
    psnr_db, ssim, bicubic_psnr_db, bicubic_ssim = table.mean(0)
    return {
        "scale": scale,
        "pictures": len(files),
        "psnr_db": psnr_db,
        "bicubic_psnr_db": bicubic_psnr_db,
        "gain_db": psnr_db - bicubic_psnr_db,
        "least_gain_db": float((table[:, 0] - table[:, 2]).min()),
        "above": int((table[:, 0] > table[:, 2]).sum()),
        "ssim": ssim,
        "bicubic_ssim": bicubic_ssim,
    }
