"""A Wiener filter without learning: what a denoiser of sound has to beat.

The noise of each frequency is taken to be steady, and is estimated from its quietest moments; the signal-to-noise
ratio follows the decision-directed rule (Ephraim & Malah, 1984, equation 51), which keeps the residue from
twinkling. Pure functions of spectra; nothing here knows files or networks.
"""

import math

import torch
from torch import Tensor

# Share of a frequency's moments that are taken to hold noise alone.
_QUIET_SHARE = 0.2
# The power of Gaussian noise is exponentially distributed: its 20% quantile lies so far below its mean.
_QUANTILE_TO_MEAN = 1 / -math.log(1 - _QUIET_SHARE)
_MEMORY = 0.98
_LOWEST_GAIN = 0.05  # -26 dB
_SMALLEST_POWER = 1e-12


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
