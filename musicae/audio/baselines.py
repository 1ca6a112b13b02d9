"""What a model of sound is measured beside: filters that learn nothing, and bounds that know the answer.

Each takes the damaged and the clean spectrum, `(batch, 2, frequency, time)` both, and gives an estimate of the
clean one; a filter doesn't look at the clean one. noisereduce (Sainburg et al., 2020, "Finding, visualizing, and
quantifying latent structure across diverse animal vocal repertoires") is there where it is installed.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from musicae.audio import stft as signal
from musicae.audio.wiener import wiener_filtered

Rival = Callable[[Tensor, Tensor], Tensor]
"""Damaged and clean spectrum → estimate of the clean one, same shape."""


def rivals_of_denoising(sample_rate_hz: int) -> dict[str, Rival]:
    """Name → rival: `wiener`, `oracle_mask`, and noisereduce's two modes where it is installed."""
    found: dict[str, Rival] = {"wiener": lambda damaged, clean: wiener_filtered(damaged), "oracle_mask": oracle_mask}
    if find_spec("noisereduce") is not None:
        for name, stationary in (("noisereduce", False), ("noisereduce_stationary", True)):
            found[name] = partial(_noisereduce_spectrum, sample_rate_hz=sample_rate_hz, stationary=stationary)
    return found


def oracle_mask(damaged: Tensor, clean: Tensor) -> Tensor:
    """The best that a mask of 0…1 on the noisy phase can do in each cell (Erdogan et al., 2015, "phase-sensitive")."""
    along = (damaged * clean).sum(1, keepdim=True) / damaged.square().sum(1, keepdim=True).clamp_min(1e-12)
    return damaged * along.clamp(0.0, 1.0)


def noisereduced(
    samples: np.ndarray, sample_rate_hz: int, *, stationary: bool, prop_decrease: float = 1.0
) -> np.ndarray:
    """What noisereduce makes of float `(samples,)`; silence, of which it makes NaN, stays as it is."""
    import noisereduce

    if not np.any(samples):
        return samples
    result: np.ndarray = noisereduce.reduce_noise(
        y=samples, sr=sample_rate_hz, stationary=stationary, prop_decrease=prop_decrease
    )
    return result


def _noisereduce_spectrum(damaged: Tensor, clean: Tensor, *, sample_rate_hz: int, stationary: bool) -> Tensor:
    del clean
    n_fft = 2 * (damaged.shape[2] - 1)
    waveform = signal.inverse_stft(damaged.cpu(), samples=(damaged.shape[3] - 1) * n_fft // 4)
    rows = [noisereduced(row, sample_rate_hz, stationary=stationary) for row in waveform.numpy()]
    return signal.stft(torch.from_numpy(np.stack(rows)).float(), n_fft=n_fft).to(damaged)
