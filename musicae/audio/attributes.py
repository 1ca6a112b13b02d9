"""What people call a sound: bright, loud, high, noisy. Measured from linear magnitudes; no waveform is needed.

Nothing here knows files, settings or networks.
"""

import torch
from torch import Tensor

from musicae.precision import in_double

# A frame this far below the loudest is silence, which is neither bright nor high.
_ACTIVE_DB = 40.0
_LOWEST_HZ, _HIGHEST_HZ = 50.0, 2_000.0
# Below this share of the energy, nothing repeats and there is no pitch.
_LEAST_PERIODICITY = 0.3
_TINY = 1e-12
MIDI_A4, A4_HZ = 69, 440.0


def sound_attributes(linear: Tensor, *, sample_rate_hz: int) -> dict[str, Tensor]:
    """Name → `(batch,)` of linear magnitudes `(batch, frequency, time)`; NaN where there is nothing to measure.

    - brightness: the spectral centroid, in octaves above 1 Hz.
    - loudness: mean power of the frames that are not silent, in dB; models bring each file to one level first.
    - pitch: MIDI note number by the autocorrelation of the mean power spectrum (Wiener-Khinchin); a window of n
      samples resolves pitches whose period is at most half of it.
    - noisiness: spectral flatness, in dB: 0 is white noise, a pure tone lies far below.
    """
    power = in_double(linear).square()
    mean = _mean_of_active(power)  # (batch, frequency)
    total = mean.sum(1)
    frequency_hz = torch.arange(mean.shape[1], device=mean.device) * sample_rate_hz / 2 / (mean.shape[1] - 1)
    is_active = total > _TINY
    centroid_hz = (mean.sqrt() * frequency_hz).sum(1) / mean.sqrt().sum(1).clamp_min(_TINY)
    flatness_db = 10 * ((mean + _TINY).log10().mean(1) - (mean.mean(1) + _TINY).log10())
    found = {
        "brightness": centroid_hz.clamp_min(1.0).log2(),
        "loudness": 10 * (total / mean.shape[1] + _TINY).log10(),
        "pitch": _pitch(mean, sample_rate_hz),
        "noisiness": flatness_db,
    }
    return {name: torch.where(is_active, values, torch.nan) for name, values in found.items()}


def _mean_of_active(power: Tensor) -> Tensor:
    """Mean power spectrum of the frames that are not silent, `(batch, frequency)`."""
    level = power.sum(1)  # (batch, time)
    active = level >= level.amax(1, keepdim=True) * 10 ** (-_ACTIVE_DB / 10)
    return (power * active[:, None]).sum(2) / active.sum(1, keepdim=True)


def _pitch(mean_power: Tensor, sample_rate_hz: int) -> Tensor:
    """MIDI note number, `(batch,)`; NaN without one."""
    # What is interpolated here between lags: spectra filled up with zeros to four times the rate.
    fineness = 4
    size = mean_power.shape[1] - 1
    lags = torch.fft.irfft(mean_power, n=2 * size * fineness)[:, : size * fineness]  # lag = index / (fineness · rate)
    rate_hz = sample_rate_hz * fineness
    first, last = int(rate_hz / _HIGHEST_HZ), min(size * fineness - 1, int(rate_hz / _LOWEST_HZ))
    relative = lags / lags[:, :1].clamp_min(_TINY)
    # The window's own autocorrelation falls with the lag, and would favour short ones: octaves too high.
    taper = 1 - 0.9 * torch.arange(lags.shape[1], device=lags.device) / lags.shape[1]
    corrected = (relative / taper)[:, first:last]
    before, here, after = corrected[:, :-2], corrected[:, 1:-1], corrected[:, 2:]
    is_peak = (here > before) & (here >= after)
    heights = torch.where(is_peak, here, -torch.inf)
    best = heights.amax(1, keepdim=True)
    # The first peak nearly as high as the highest: its multiples are as high.
    chosen = (heights >= 0.85 * best).float().argmax(1)
    height = here.gather(1, chosen[:, None])[:, 0]
    left, right = (part.gather(1, chosen[:, None])[:, 0] for part in (before, after))
    curvature = left - 2 * height + right
    offset = torch.where(curvature.abs() > _TINY, 0.5 * (left - right) / curvature, 0.0)
    pitch_hz = rate_hz / (first + 1 + chosen + offset)
    midi = MIDI_A4 + 12 * torch.log2(pitch_hz / A4_HZ)
    return torch.where(is_peak.any(1) & (height > _LEAST_PERIODICITY), midi, torch.nan)
