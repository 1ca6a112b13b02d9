"""Photographs restored by the shipped models, on Kodak's pictures, which nothing was trained or chosen on.

Noise is drawn once for each picture and strength, the same for all. `float` is the protocol of publications: noise is
added to the pixels and nothing is rounded. `file` is what people have: the noisy picture is in 0…255, in eight bits.

`cbm3d` is the classical method beside it (Dabov et al., 2007, "Color Image Denoising via Sparse 3D Collaborative
Filtering"), by its authors' own package, `pip install bm3d`, which is free for non-commercial use. It is told the
deviation.
"""

import time
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from image import SCALES, enlarged
from PIL import Image
from stored import trained_model

from musicae.data.dataset import load_dataset, split_of_run
from musicae.image.picture import Picture
from musicae.trained import TrainedModel

DEVIATIONS = (15, 25, 50)
QUALITY = 40
DENOISER, UPSCALER = "photo-denoise", "photo-upscale"
_SQUARES = 200


def denoised(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """PSNR in dB of noisy photographs and of compressed ones, before and after, and how long it takes."""
    return _measured(trained_model(runs, DENOISER), _originals(sets))


def validation(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """The same of squares of photographs for validation, those with most contrast.

    A mean over all corruptions would hide what one of them lost, and flat squares, which can be perfect, all others.
    """
    model = trained_model(runs, DENOISER)
    dataset = load_dataset(model.domain, [sets / "photographs"], split_by=split_of_run(model.manifest.data))
    squares = dataset.examples[dataset.splits["validation"]]
    chosen = squares[np.argsort(squares.std(axis=(1, 2, 3)))[-_SQUARES:]]
    return _measured(model, list(chosen.transpose(0, 2, 3, 1)))


def _measured(model: TrainedModel, originals: list[np.ndarray]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for deviation in DEVIATIONS:
        rows = []
        for number, original in enumerate(originals):
            noisy = _noisy(original, deviation, number)
            started = time.perf_counter()
            tensor = torch.from_numpy((noisy / 255).astype(np.float32).transpose(2, 0, 1))[None]
            answer = 255 * model.denoise(tensor)[0].clamp(0, 1).numpy().transpose(1, 2, 0)
            spent_s = time.perf_counter() - started
            stored = noisy.round().clip(0, 255).astype(np.uint8)
            of_file = model.denoise(Picture.open(stored)).array
            rows.append((psnr_db(noisy, original), psnr_db(answer, original), psnr_db(of_file, original), spent_s))
        table = np.array(rows)
        found[f"noise {deviation}"] = {
            "in_db": float(table[:, 0].mean()),
            "float_db": float(table[:, 1].mean()),
            "file_db": float(table[:, 2].mean()),
            "least_gain_db": float((table[:, 1] - table[:, 0]).min()),
            "seconds": float(np.median(table[:, 3])),
        }
    rows = [_of_jpeg(model, original) for original in originals]
    before, after = np.array(rows).T
    found[f"JPEG {QUALITY}"] = {
        "in_db": float(before.mean()),
        "file_db": float(after.mean()),
        "least_gain_db": float((after - before).min()),
    }
    clean = [psnr_db(model.denoise(Picture.open(original)).array, original) for original in originals]
    found["clean"] = {"file_db": float(np.mean(clean))}
    return found


def cbm3d(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """PSNR in dB and seconds of CBM3D on the same noisy photographs, about a minute for each and strength."""
    import bm3d

    del runs
    found: dict[str, dict[str, float]] = {}
    for deviation in DEVIATIONS:
        rows = []
        for number, original in enumerate(_originals(sets)):
            noisy = _noisy(original, deviation, number)
            started = time.perf_counter()
            answer = 255 * bm3d.bm3d_rgb(noisy / 255, deviation / 255).clip(0, 1)
            rows.append((psnr_db(answer, original), time.perf_counter() - started))
        table = np.array(rows)
        found[f"noise {deviation}"] = {"float_db": float(table[:, 0].mean()), "seconds": float(np.median(table[:, 1]))}
    return found


def _originals(sets: Path) -> list[np.ndarray]:
    """Kodak's photographs, uint8 `(height, width, 3)`."""
    files = sorted((sets / "kodak24").glob("*.png"))
    return [np.asarray(Picture.open(file).to_pil().convert("RGB")) for file in files]


def _noisy(original: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    return original + deviation * np.random.default_rng(seed).standard_normal(original.shape)


def _of_jpeg(model: TrainedModel, original: np.ndarray) -> tuple[float, float]:
    """PSNR of a JPEG and of what is made of it; colours at half the resolution, as cameras have them."""
    content = BytesIO()
    Image.fromarray(original).save(content, "JPEG", quality=QUALITY, subsampling=2)
    given = Picture.open(content.getvalue())
    return psnr_db(given.array, original), psnr_db(model.denoise(given).array, original)


def upscaled(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """Photographs made small and enlarged again, beside bicubic interpolation; see `image.enlarged`."""
    files = sorted((sets / "kodak24").glob("*.png"))
    model = trained_model(runs, UPSCALER)
    return {str(scale): enlarged(model, files, scale) for scale in SCALES}


def psnr_db(estimate: np.ndarray, original: np.ndarray) -> float:
    """Of values in 0…255."""
    error = np.mean((np.asarray(estimate, np.float64) - original) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-10)))
