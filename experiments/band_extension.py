"""Bandwidth extension measured: 8 kHz files made 16 kHz again, beside plain resampling."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from noisy_clips import RATE_HZ, clips

from musicae.audio import stft as signal
from musicae.audio.files import read_mono, resample, write_sound
from musicae.evaluation.bootstrap import mean_intervals
from musicae.trained import load

MODEL = "upscale-16k"
_LOW_HZ = RATE_HZ // 2
_N_FFT = 1024


def band_extension(sets: Path, runs: Path) -> dict[str, Any]:
    """Log-spectral distances above 4 kHz of held-out clips; what has nothing there (8 kHz recordings) is left out."""
    trained = load(runs / MODEL, "cpu")
    found: dict[str, dict[str, list[float]]] = {}
    owners: dict[str, list[str]] = {}
    for clip in clips(sets, "test")[::2]:  # each clean sound stands there twice, with two kinds of noise
        above = signal.magnitude(signal.stft(torch.from_numpy(clip.clean)[None], n_fft=_N_FFT))
        share = float(above[:, 257:].square().sum() / above.square().sum())
        if share < 1e-5:
            continue
        low = resample(clip.clean, RATE_HZ, _LOW_HZ)
        with TemporaryDirectory() as folder:
            source, target = Path(folder) / "low.wav", Path(folder) / "high.wav"
            write_sound(low, source, _LOW_HZ, subtype="FLOAT")
            trained.upscale(source, target)
            ours = read_mono(target, RATE_HZ)
        theirs = resample(low, _LOW_HZ, RATE_HZ)
        owners.setdefault(clip.group.removesuffix(", recorded noise"), []).append(clip.name)
        row = found.setdefault(clip.group.removesuffix(", recorded noise"), {"resampled": [], "model": []})
        for name, estimate in (("resampled", theirs), ("model", ours)):
            row[name].append(missing_band_distance_db(estimate, clip.clean))
    told: dict[str, Any] = {}
    for group, row in found.items():
        model, resampled = np.array(row["model"]), np.array(row["resampled"])
        ends = mean_intervals(model[:, None], np.unique(owners[group], return_inverse=True)[1])
        told[group] = {
            "clips": len(model),
            "resampled_lsd_db": float(resampled.mean()),
            "model_lsd_db": float(model.mean()),
            "share": float(model.mean() / resampled.mean()),
            "won": int((model < resampled).sum()),
        }
        if ends is not None:
            told[group] |= {"model_lsd_db_low": float(ends[0][0]), "model_lsd_db_high": float(ends[1][0])}
    return told


def missing_band_distance_db(estimate: np.ndarray, clean: np.ndarray) -> float:
    """At the level that models work at, so that the floor of the distance is the same for all clips."""
    size = min(len(estimate), len(clean))
    gain = 0.1 / float(np.sqrt(np.mean(clean[:size] ** 2)))
    spectra = [
        signal.magnitude(signal.stft(torch.from_numpy(part[:size] * gain)[None].float(), n_fft=_N_FFT))
        for part in (estimate, clean)
    ]
    return float(signal.log_spectral_distance_db(*spectra, sample_rate_hz=RATE_HZ, lowest_hz=RATE_HZ / 4))
