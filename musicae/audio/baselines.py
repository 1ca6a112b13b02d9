"""Baselines of denoising: filters that learn nothing, and bounds that know the clean sound.

Each takes the corrupted and the clean spectrum, `(batch, 2, frequency, time)` both, and gives an estimate of the clean
one, at which a filter doesn't look.

- `wiener`: the noise of each frequency is taken to be steady, and is estimated from its quietest moments; the
  signal-to-noise ratio follows the decision-directed rule (Ephraim & Malah, 1984, equation 51), which keeps the residue
  from twinkling.
- `oracle_mask`: the best that a real mask can do (Erdogan et al., 2015, "phase-sensitive").
- noisereduce (Sainburg et al., 2020, "Finding, visualizing, and quantifying latent structure across diverse animal
  vocal repertoires"), where it is installed.

Nothing here knows files or networks.
"""

import math
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from musicae.audio import stft as signal
from musicae.domain import Baseline

# Share of a frequency's moments that are taken to hold noise alone.
_QUIET_SHARE = 0.2
# The power of Gaussian noise is exponentially distributed: its 20% quantile lies so far below its mean.
_QUANTILE_TO_MEAN = 1 / -math.log(1 - _QUIET_SHARE)
_MEMORY = 0.98
_LOWEST_GAIN = 0.05  # -26 dB
_SMALLEST_POWER = 1e-12


def denoising_baselines(sample_rate_hz: int) -> dict[str, Baseline]:
    """Name → baseline: `wiener`, `oracle_mask`, and noisereduce's two modes where it is installed."""
    found: dict[str, Baseline] = {
        "wiener": lambda corrupted, clean: wiener_filtered(corrupted),
        "oracle_mask": oracle_mask,
    }
    if find_spec("noisereduce") is not None:
        for name, stationary in (("noisereduce", False), ("noisereduce_stationary", True)):
            found[name] = partial(_noisereduce_spectrum, sample_rate_hz=sample_rate_hz, stationary=stationary)
    return found


def noise_power(spectrum: Tensor) -> Tensor:
    """Mean power of steady noise at each frequency: `(batch, 2, frequency, time)` → `(batch, frequency, 1)`."""
    power = spectrum.square().sum(1)
    return power.quantile(_QUIET_SHARE, dim=-1, keepdim=True) * _QUANTILE_TO_MEAN


def wiener_filtered(spectrum: Tensor, noise: Tensor | None = None) -> Tensor:
    """Turns cells down by how much of them is noise.

    Args:
        spectrum: `(batch, 2, frequency, time)`, noisy.
        noise: `(batch or 1, frequency, 1)` mean power; None estimates it from the spectrum itself.

    Returns:
        The estimate, same shape; the phase is the noisy one.
    """
    known = (noise_power(spectrum) if noise is None else noise).squeeze(-1).clamp_min(_SMALLEST_POWER)
    ratio = spectrum.square().sum(1) / known[..., None]  # a posteriori signal-to-noise ratio
    gains, before = [], torch.zeros_like(known)
    for now in ratio.unbind(-1):
        prior = _MEMORY * before + (1 - _MEMORY) * (now - 1).clamp_min(0)
        gain = (prior / (1 + prior)).clamp_min(_LOWEST_GAIN)
        before = gain.square() * now
        gains.append(gain)
    return spectrum * torch.stack(gains, -1)[:, None]


def oracle_mask(corrupted: Tensor, clean: Tensor) -> Tensor:
    """The best that a mask of 0…1 on the noisy phase can do in each cell (Erdogan et al., 2015, "phase-sensitive")."""
    along = (corrupted * clean).sum(1, keepdim=True) / corrupted.square().sum(1, keepdim=True).clamp_min(1e-12)
    return corrupted * along.clamp(0.0, 1.0)


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


def _noisereduce_spectrum(corrupted: Tensor, clean: Tensor, *, sample_rate_hz: int, stationary: bool) -> Tensor:
    del clean
    n_fft = 2 * (corrupted.shape[2] - 1)
    waveform = signal.inverse_stft(corrupted.cpu(), samples=(corrupted.shape[3] - 1) * n_fft // 4)
    rows = [noisereduced(row, sample_rate_hz, stationary=stationary) for row in waveform.numpy()]
    return signal.stft(torch.from_numpy(np.stack(rows)).float(), n_fft=n_fft).to(corrupted)
