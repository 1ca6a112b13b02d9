"""Calibrates the mask of a denoiser on noises that training did not use: one number shifts all of it.

A denoiser lets too much through of noises that it did not learn from. One number, added to the mask's logits, corrects
that; it is chosen by the likelihood of validation examples in validation recordings, at audible levels of noise, and
goes into the last bias. (Platt, 1999, "Probabilistic outputs for support vector machines", has a slope as well, which
gained nothing here.)
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from musicae.audio.domain import AudioDomain
from musicae.data.dataset import load_dataset, split_of_run
from musicae.models import Autoencoder
from musicae.nn.correction import MaskCorrection
from musicae.training.checkpoint import load_checkpoint, save_checkpoint

SHIFTS = tuple(-number / 10 for number in range(11))
RATIOS_DB = (0.0, 10.0)
_EXAMPLES, _BATCH = 200, 8
_CALIBRATED = "mask_shift"


def calibrate(folder: Path) -> dict[float, float]:
    """Shifts the mask of a checkpoint, a U-Net that takes noise out of sound.

    Returns:
        Shift → mean loss in nats; the best is written to the checkpoint. Empty where it is calibrated already.
    """
    model, domain, manifest = load_checkpoint(folder)
    if _CALIBRATED in manifest.metrics:
        return {}
    assert isinstance(domain, AudioDomain)
    low, high = RATIOS_DB
    kept_for_validation = {"families": (), "snr_db_low": low, "snr_db_high": high}
    corruption = AudioDomain(domain.config.model_copy(update=kept_for_validation)).corruption(
        "denoise", split="validation"
    )
    paths = [Path(path) for path in manifest.data["paths"]]
    dataset = load_dataset(domain, paths, split_by=split_of_run(manifest.data))
    rows = dataset.splits["validation"]
    rows = rows[:: max(1, len(rows) // _EXAMPLES)]
    generator, sums = torch.Generator().manual_seed(0), dict.fromkeys(SHIFTS, 0.0)
    for part in np.array_split(rows, -(-len(rows) // _BATCH)):
        clean = domain.tensor(torch.from_numpy(np.array(dataset.examples[part]))).target
        for shift, loss in shifted_losses(model, corruption(clean, generator), clean).items():
            sums[shift] += loss
    losses = {shift: total / len(rows) for shift, total in sums.items()}
    best = min(losses, key=losses.__getitem__)
    shift_mask(model, best)
    save_checkpoint(folder, model, manifest.model_copy(update={"metrics": {**manifest.metrics, _CALIBRATED: best}}))
    return losses


@torch.no_grad()
def shifted_losses(model: Autoencoder, noisy: Tensor, clean: Tensor) -> dict[float, float]:
    """Shift → loss in nats, summed over `(batch, 2, frequency, time)`."""
    at_neutral = torch.sigmoid(torch.tensor(MaskCorrection.STEEPNESS))
    logit = torch.logit((_ratio(model.reconstruct(noisy), noisy) * at_neutral).clamp_min(1e-6))
    return {
        shift: -float(model.likelihood.log_prob(noisy * torch.sigmoid(logit + shift) / at_neutral, clean).sum())
        for shift in SHIFTS
    }


@torch.no_grad()
def shift_mask(model: Autoencoder, shift: float) -> None:
    """Adds to the logits of the mask."""
    model.decoder.head[-1].bias += shift / MaskCorrection.STEEPNESS


def _ratio(answer: Tensor, noisy: Tensor) -> Tensor:
    """The mask, `(batch, 1, frequency, time)`."""
    return (answer * noisy).sum(1, keepdim=True) / noisy.square().sum(1, keepdim=True).clamp_min(1e-12)
