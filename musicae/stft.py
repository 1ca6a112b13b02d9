"""The short-time Fourier transform and its inverse.

A complex spectrum travels as two real channels, `(batch, 2, frequency, time)`, because convolutions, mixed precision
and safetensors know real numbers only. Every hop is a quarter of the window. Hann windows are centred on samples 0,
hop, 2 · hop, …, the sound is mirrored beyond its ends, and the windows' squares add up to a constant, so that the
inverse is exact. Windows of `LOW_DELAY` look back further than they reach forward. Nothing here knows files, settings
or networks.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LOW_DELAY = {1920: 960}
"""Length of a window → samples at its end that a changed frame gives sound for: 20 ms at 48 kHz.

Live sound is finished as soon as no later frame changes it, while tones are told apart as finely as by 40 ms. It begins
and ends in silence, since what would be mirrored isn't there yet.
"""


class Windows(NamedTuple):
    """What frames are multiplied with.

    Attributes:
        analysis: before the transform, float64 `(n_fft,)`.
        synthesis: after its inverse; their products, a hop apart, add up to a constant.
        before: samples of frame 0 before sample 0, the sound's first.
        reach: samples at the end of the window where `synthesis` is not 0.
    """

    analysis: np.ndarray
    synthesis: np.ndarray
    before: int
    reach: int


@lru_cache(maxsize=16)
def windows(n_fft: int) -> Windows:
    """Hann's twice, or a pair of `LOW_DELAY`: Mauler & Martin, 2007 ("A low delay, variable resolution, …").

    There the analysis window rises slowly and falls fast, and the product of the two is a Hann window at the end.
    """
    reach = LOW_DELAY.get(n_fft, n_fft)
    product = _hann_window(reach)
    if reach == n_fft:
        return Windows(product, product, n_fft // 2, n_fft)
    rise = n_fft - reach // 2
    analysis = np.sqrt(np.concatenate([_hann_window(2 * rise)[:rise], product[reach // 2 :]]))
    synthesis = np.zeros(n_fft)
    synthesis[-reach:] = product / np.maximum(analysis[-reach:], 1e-6)
    return Windows(analysis, synthesis, n_fft - reach // 2, reach)


def _hann_window(size: int) -> np.ndarray:
    """Hann's, periodic."""
    window: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return window


def stft(waveform: Tensor, *, n_fft: int) -> Tensor:
    """Complex spectrum of a waveform, as two channels.

    Args:
        waveform: `(batch, samples)`, more samples than a frame has before the first, `n_fft / 2` of a Hann window.
        n_fft: window length in samples, a multiple of 4; the hop is a quarter of it.

    Returns:
        `(batch, 2, n_fft / 2 + 1, samples // hop + 1)`, a frame more for a part of a hop at the end with windows of
        `LOW_DELAY`: real and imaginary parts, not scaled. White noise of RMS r gives cells of mean square w · r², w the
        sum of the analysis window's squares, 0.375 · n_fft for Hann's.
    """
    pair, samples = windows(n_fft), waveform.shape[-1]
    if pair.reach < n_fft:  # live sound begins before more of it is known
        padded = torch.nn.functional.pad(waveform, (pair.before, n_fft - pair.before + -samples % (n_fft // 4)))
    elif samples > pair.before:
        padded = torch.nn.functional.pad(waveform, (pair.before, n_fft - pair.before), mode="reflect")
    else:
        raise ValueError(f"expected more than {pair.before} samples with n_fft={n_fft}, got {samples}")
    window = _on_device(n_fft, waveform.dtype, waveform.device).analysis
    spectrum = torch.stft(padded, n_fft, n_fft // 4, window=window, center=False, return_complex=True)
    return torch.stack((spectrum.real, spectrum.imag), dim=1)  # (batch, 2, frequency, time)


def inverse_stft(spectrum: Tensor, *, samples: int) -> Tensor:
    """Waveform of a spectrum that `stft` made, or of one that a network changed.

    Args:
        spectrum: `(batch, 2, frequency, time)`.
        samples: length of the waveform wanted.

    Returns:
        `(batch, samples)`; exactly the waveform for an unchanged spectrum.
    """
    n_fft, frames = 2 * (spectrum.shape[2] - 1), spectrum.shape[3]
    values = torch.complex(spectrum[:, 0].float(), spectrum[:, 1].float())
    pair, before = _on_device(n_fft, values.real.dtype, values.device), windows(n_fft).before
    pieces = torch.fft.irfft(values.transpose(1, 2), n=n_fft) * pair.synthesis  # (batch, time, n_fft)
    # `torch.istft` gives the same numbers, but lets the host wait for a check of the window.
    wanted = slice(before, before + samples)
    weight = _overlapped((pair.analysis * pair.synthesis).expand(1, frames, -1)).flatten(1)[:, wanted]
    waveform = _overlapped(pieces).flatten(1)[:, wanted] / weight
    return torch.nn.functional.pad(waveform, (0, samples - waveform.shape[1]))


def _overlapped(pieces: Tensor) -> Tensor:
    """Adds up `(batch, time, n_fft)`, each a quarter of the window after the one before: `(batch, time + 3, hop)`."""
    batch, frames, n_fft = pieces.shape
    quarters = pieces.reshape(batch, frames, 4, n_fft // 4)
    added = pieces.new_zeros(batch, frames + 3, n_fft // 4)
    for quarter in (3, 2, 1, 0):  # the earliest frame first
        added[:, quarter : quarter + frames] += quarters[:, :, quarter]
    return added


def magnitude(spectrum: Tensor) -> Tensor:
    """`(batch, 2, frequency, time)` → `(batch, frequency, time)`, linear."""
    return spectrum.pow(2).sum(1).sqrt()


class _Pair(NamedTuple):
    analysis: Tensor
    synthesis: Tensor


@lru_cache(maxsize=16)
def _on_device(n_fft: int, dtype: torch.dtype, device: torch.device) -> _Pair:
    """`windows` as tensors; Hann's to the bit as torch has it."""
    pair = windows(n_fft)
    with torch.inference_mode(False):  # they outlive the call
        if pair.reach == n_fft:
            hann = torch.hann_window(n_fft, dtype=dtype, device=device)
            return _Pair(hann, hann)
        return _Pair(*(torch.from_numpy(window).to(device, dtype) for window in (pair.analysis, pair.synthesis)))
