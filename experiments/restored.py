"""Photographs restored by the shipped models, on Kodak's pictures, which nothing was trained or chosen on.

What is chosen is chosen on squares of photographs for validation (`validation`, `ensembles`).

Noise is drawn once for each picture and strength, the same for all. `float` is the protocol of publications: noise is
added to the pixels and nothing is rounded. `file` is what people have: the noisy picture is in 0…255, in eight bits.

Times are processor time, summed over threads, so that other work on the machine counts little.

`cbm3d` is the classical method beside it (Dabov et al., 2007, "Color Image Denoising via Sparse 3D Collaborative
Filtering"), by its authors' own package, `pip install bm3d`, which is free for non-commercial use. It is told the
deviation.
"""

from io import BytesIO
from pathlib import Path
from time import process_time

import numpy as np
import torch
from image import SCALES, enlarged, kodak
from PIL import Image
from stored import trained_model

from musicae.data.dataset import load_dataset, split_of_run
from musicae.image.picture import Picture
from musicae.trained import TrainedModel

DEVIATIONS = (15, 25, 50)
QUALITY = 40
DENOISER, UPSCALER = "photo-denoise", "photo-upscale"
_SQUARES, _FEWER_SQUARES = 200, 50


def denoised(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """PSNR in dB of noisy photographs and of compressed ones, before and after, and how long it takes."""
    return _measured(trained_model(runs, DENOISER), kodak(sets))


def validation(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """The same of squares of photographs for validation, those with most contrast.

    A mean over all corruptions would hide what one of them lost, and flat squares, which can be perfect, all others.
    """
    model = trained_model(runs, DENOISER)
    return _measured(model, _squares(model, sets, _SQUARES))


def ensembles(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """PSNR in dB by the number of views, on squares for validation: noise as `float`, all else as `file`.

    Of pictures enlarged it is the gain over bicubic, see `image.enlarged`.
    """
    denoiser, upscaler = (trained_model(runs, name) for name in (DENOISER, UPSCALER))
    squares = _squares(denoiser, sets, _FEWER_SQUARES)
    found: dict[str, dict[str, float]] = {}
    for views in (1, 2, 4, 8):
        measured = _measured(denoiser.with_settings(ensemble=views), squares)
        row = {what: scores.get("float_db", scores["file_db"]) for what, scores in measured.items()}
        enlarging = upscaler.with_settings(ensemble=views)
        gains = {f"×{scale}, gain": enlarged(enlarging, squares, scale)["gain_db"] for scale in SCALES}
        found[str(views)] = row | gains
    return found


def _squares(model: TrainedModel, sets: Path, count: int) -> list[np.ndarray]:
    """Squares of photographs for validation, uint8 `(side, side, 3)`: those with most contrast."""
    dataset = load_dataset(model.domain, [sets / "photographs"], split_by=split_of_run(model.manifest.data))
    squares = dataset.examples[dataset.splits["validation"]]
    chosen = squares[np.argsort(squares.std(axis=(1, 2, 3)))[-count:]]
    return list(chosen.transpose(0, 2, 3, 1))


def _measured(model: TrainedModel, originals: list[np.ndarray]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for deviation in DEVIATIONS:
        rows = []
        for number, original in enumerate(originals):
            noisy = _noisy(original, deviation, number)
            started = process_time()
            tensor = torch.from_numpy((noisy / 255).astype(np.float32).transpose(2, 0, 1))[None]
            answer = 255 * model.denoise(tensor)[0].clamp(0, 1).numpy().transpose(1, 2, 0)
            spent_s = process_time() - started
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
        for number, original in enumerate(kodak(sets)):
            noisy = _noisy(original, deviation, number)
            started = process_time()
            answer = 255 * bm3d.bm3d_rgb(noisy / 255, deviation / 255).clip(0, 1)
            rows.append((psnr_db(answer, original), process_time() - started))
        table = np.array(rows)
        found[f"noise {deviation}"] = {"float_db": float(table[:, 0].mean()), "seconds": float(np.median(table[:, 1]))}
    return found


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
    originals, model = kodak(sets), trained_model(runs, UPSCALER)
    return {str(scale): enlarged(model, originals, scale) for scale in SCALES}


def psnr_db(estimate: np.ndarray, original: np.ndarray) -> float:
    """Of values in 0…255."""
    error = np.mean((np.asarray(estimate, np.float64) - original) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-10)))
