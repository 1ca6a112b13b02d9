"""Notes rebuilt from a code, and paths between notes, beside what needs no code.

The ceiling is copy synthesis: Griffin-Lim on the true magnitudes. PCA has as many components as the code has
numbers, or as the training notes allow. Paths are compared with a crossfade of the waveforms.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from digit_judge import frechet_distance
from torch import Tensor

from musicae.audio import stft as signal
from musicae.data.dataset import load_dataset, unseen
from musicae.evaluation.bootstrap import mean_intervals
from musicae.evaluation.linear import fitted_pca, pca_restored
from musicae.inference.morphing import changes
from musicae.trained import TrainedModel, load

MODEL = "notes-16k"
_PAIRS = 48
_STEPS = 9
_CEPSTRA = 13


def timbre(sets: Path, runs: Path) -> dict[str, Any]:
    """All measurements of the notes that were held out."""
    trained = load(runs / MODEL, "cpu")
    domain = trained.domain
    dataset = load_dataset(domain, [sets / "notes16k"])
    test = unseen(domain, dataset, "test")
    target = domain.to_tensor(torch.from_numpy(np.array(dataset.examples[test])))
    told: dict[str, Any] = {"examples": len(target)}
    with torch.no_grad():
        rebuilt = torch.cat([trained.model.reconstruct(part) for part in target.split(8)])
    components = fitted_pca(domain, dataset, dataset.splits["train"], trained.model.latent_shape[0])
    pca = pca_restored(components, target)
    owner = None if dataset.owner is None else dataset.owner[test]
    for name, estimate in (("copy synthesis", target), ("model", rebuilt), ("PCA", pca)):
        scores = domain.metrics(estimate, target, target)
        told[name] = {measure: float(values.nanmean()) for measure, values in scores.items()}
        ends = mean_intervals(scores["log_mel_l1"].double().numpy()[:, None], owner)
        if ends is not None:
            told[name] |= {"log_mel_l1_low": float(ends[0][0]), "log_mel_l1_high": float(ends[1][0])}
    told["PCA"]["components"] = int(components.n_components_)
    stored = torch.from_numpy(np.array(dataset.examples[test])).float()
    real = torch.from_numpy(np.array(dataset.examples[::2])).float()
    return told | {"paths": _paths(trained, stored, real)}


def _paths(trained: TrainedModel, notes: Tensor, real: Tensor) -> dict[str, Any]:
    """How evenly paths between notes run, and how like notes their middles are."""
    domain, rng = trained.domain, np.random.default_rng(0)
    jumps: dict[str, list[float]] = {"model": [], "crossfade": []}
    middles: dict[str, list[Tensor]] = {"model": [], "crossfade": []}
    for _ in range(_PAIRS):
        first, second = rng.choice(len(notes), 2, replace=False)
        ends = [domain.to_tensor(notes[index : index + 1]) for index in (first, second)]
        path = trained.interpolate(*ends, _STEPS)
        assert isinstance(path, Tensor)
        share = torch.linspace(0, 1, _STEPS)[:, None]
        crossfade = domain.to_tensor((1 - share) * notes[first] + share * notes[second])
        for name, points in (("model", path), ("crossfade", crossfade)):
            steps = changes(_log_mel(trained, points), domain.spec.layout)
            jumps[name].append(float(steps.max() / steps.mean()))
            middles[name].append(points[_STEPS // 2])
    embedded = _cepstra(_log_mel(trained, domain.to_tensor(real)))
    told: dict[str, Any] = {}
    for name, ratios in jumps.items():
        distance = frechet_distance(_cepstra(_log_mel(trained, torch.stack(middles[name]))), embedded)
        told[name] = {"largest_over_mean_step": float(np.mean(ratios)), "frechet_of_middles": distance}
    return told


def _log_mel(trained: TrainedModel, batch: Tensor) -> Tensor:
    linear = batch[:, 0].square()
    mel = signal.mel_magnitude(linear, sample_rate_hz=trained.domain.config.sample_rate_hz)
    return mel.clamp_min(signal.LOG_MEL_FLOOR).log()


def _cepstra(log_mel: Tensor) -> np.ndarray:
    """Means and deviations over time of the first mel-frequency cepstra, `(examples, 26)`: a judge we did not train."""
    from scipy.fft import dct

    cepstra = dct(log_mel.numpy(), axis=1, norm="ortho")[:, :_CEPSTRA]
    return np.concatenate([cepstra.mean(2), cepstra.std(2)], axis=1)
