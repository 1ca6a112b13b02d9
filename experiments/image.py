"""Pictures: every type of autoencoder compared with what usually beats it, on data that the models never saw.

The models are runs of recipes.py. What models draw is measured in drawn.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from stored import trained_model
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from musicae.data.dataset import DataSet, load_dataset, split_of_run, unseen
from musicae.evaluation.linear import fitted_pca, fitted_ridge, pca_restored, ridge_restored, tensors
from musicae.evaluation.probes import class_accuracy
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.image.picture import Picture
from musicae.trained import TrainedModel

# Linear codes

CODE_SIZES = (2, 8, 32, 128)


def linear_codes(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """Principal components of digits, as many as the codes of models have numbers.

    Components, neighbours and probes learn from the training split alone, and are scored on the test split.
    """
    del runs
    digits = tuple(str(digit) for digit in range(10))
    domain = ImageDomain(ImageConfig(size=28, likelihood="gaussian", classes=digits))
    dataset = load_dataset(domain, [sets / "mnist"])
    learned, kept = dataset.splits["train"], unseen(domain, dataset, "test")
    names = [class_names(domain, dataset, indices) for indices in (learned, kept)]
    train, test = (tensors(domain, dataset, indices) for indices in (learned, kept))
    found = {}
    for size in CODE_SIZES:
        pca = fitted_pca(domain, dataset, learned, size)
        codes = [pca.transform(part.flatten(1).numpy()) for part in (train, test)]
        error = float((pca_restored(pca, test) - test).double().square().mean())
        found[str(size)] = {"mse": error, **class_accuracy(codes[0], names[0], codes[1], names[1])}
    return found


def class_names(domain: Any, dataset: DataSet, indices: np.ndarray) -> np.ndarray:
    """The class of each example."""
    return np.array(domain.labels(torch.from_numpy(np.array(dataset.examples[indices])))["label"])


# Data that models never learned from

ELSEWHERE = ("mnist-ae-32", "mnist-denoise", "mnist-upscale-2")


def elsewhere(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """Models and baselines that learned digits, on digits and on satellite photographs, grey and of a digit's size."""
    found = {}
    for name in ELSEWHERE:
        model = trained_model(runs, name)
        domain, task = model.domain, model.manifest.task
        split_by = split_of_run(model.manifest.data)
        learned = load_dataset(domain, [sets / "mnist"], split_by=split_by)
        train = learned.splits["train"]
        pca = fitted_pca(domain, learned, train, model.network.latent_shape[0]) if task == "reconstruct" else None
        ridge = None if pca is not None else fitted_ridge(domain, learned, train, task, seed=1)
        row: dict[str, float] = {}
        for place, data, split in (("digits", "mnist", "test"), ("satellite", "eurosat64", "train")):
            dataset = load_dataset(domain, [sets / data], split_by=split_by)
            kept = unseen(domain, dataset, "test") if split == "test" else dataset.splits[split]
            target = tensors(domain, dataset, kept)
            if pca is not None:
                ours, theirs = (
                    float((answer - target).square().mean())
                    for answer in (model.reconstruct(target), pca_restored(pca, target))
                )
                row |= {f"{place}_mse": ours, f"{place}_pca_mse": theirs}
                row[f"{place}_gain_db"] = 10 * float(np.log10(theirs / ours))
                continue
            corruption = domain.corruption(task, split="test")
            assert corruption is not None and ridge is not None
            corrupted = corruption(target, torch.Generator().manual_seed(0))
            restore = model.denoise if task == "denoise" else model.upscale
            answers = {"": restore(corrupted), "ridge_": ridge_restored(ridge, corrupted), "in_": corrupted}
            for prefix, answer in answers.items():
                row[f"{place}_{prefix}psnr_db"] = float(domain.metrics(answer, target, target)["psnr_db"].mean())
            strongest = max(row[f"{place}_ridge_psnr_db"], row[f"{place}_in_psnr_db"])
            row[f"{place}_gain_db"] = row[f"{place}_psnr_db"] - strongest
        found[name] = row
    return found


# Photographs enlarged

SCALES = (2, 3, 4)
_EDGE = 16
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def photographs(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """Photographs enlarged by models of satellite pictures and by Pillow's bicubic; see `enlarged`."""
    originals = kodak(sets)
    return {
        str(scale): enlarged(trained_model(runs, f"satellite-upscale-{scale}"), originals, scale) for scale in SCALES
    }


def kodak(sets: Path) -> list[np.ndarray]:
    """Kodak's photographs, uint8 `(height, width, 3)`."""
    files = sorted((sets / "kodak24").glob("*.png"))
    return [np.asarray(Picture.open(file).to_pil().convert("RGB")) for file in files]


def enlarged(model: TrainedModel, originals: list[np.ndarray], scale: int) -> dict[str, float]:
    """Photographs are made small (bicubic, filtered) and enlarged again.

    PSNR and SSIM are of the luma, from 16 pixels off the edge; `above` counts the pictures on which the model has the
    higher PSNR.
    """
    rows = []
    for original in originals:
        height, width = (side - side % scale for side in original.shape[:2])
        original = original[:height, :width]
        small = _resized(original, width // scale, height // scale)
        ours = np.asarray(model.upscale(Picture.open(Image.fromarray(small)), scale=scale).to_pil().convert("RGB"))
        rows.append((*likeness(ours, original), *likeness(_resized(small, width, height), original)))
    table = np.array(rows)
    psnr_db, ssim, bicubic_psnr_db, bicubic_ssim = table.mean(0)
    return {
        "scale": scale,
        "pictures": len(originals),
        "psnr_db": float(psnr_db),
        "bicubic_psnr_db": float(bicubic_psnr_db),
        "gain_db": float(psnr_db - bicubic_psnr_db),
        "least_gain_db": float((table[:, 0] - table[:, 2]).min()),
        "above": int((table[:, 0] > table[:, 2]).sum()),
        "ssim": float(ssim),
        "bicubic_ssim": float(bicubic_ssim),
    }


def likeness(pixels: np.ndarray, original: np.ndarray) -> tuple[float, float]:
    """PSNR in dB, and SSIM, of uint8 `(height, width, 3)`."""
    estimate, target = _luma(pixels), _luma(original)
    psnr_db = -10 * float((estimate - target).square().mean().log10())
    ssim = structural_similarity_index_measure(estimate, target, data_range=1.0)
    assert isinstance(ssim, Tensor)
    return psnr_db, float(ssim)


def _luma(pixels: np.ndarray) -> Tensor:
    """uint8 `(height, width, 3)` → float64 `(1, 1, height, width)` in 0…1, without the edge."""
    return torch.from_numpy((pixels @ _LUMA)[_EDGE:-_EDGE, _EDGE:-_EDGE] / 255.0)[None, None]


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """By Pillow, bicubic."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
