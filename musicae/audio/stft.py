"""Waveforms and spectra: the short-time Fourier transform, its inverse with and without phases, mel and distances.

A complex spectrum travels as two real channels, `(batch, 2, frequency, time)`, because convolutions, mixed
precision and safetensors know real numbers only. Frames are centred, every hop is a quarter of the window,
and the Hann window's squares then add up to a constant, so that the inverse is exact. Windows of `LOW_DELAY` look back
further than they reach forward. Pure functions: nothing here knows files, settings, devices or networks.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

import torch
from torch import Tensor

from musicae.precision import in_double

# Natural logarithm of a mel band's magnitude is floored here, about 60 dB below a usual cell of a sound at
# the stored level: the difference between two silences is not heard.
LOG_MEL_FLOOR = 1e-3
MEL_BANDS = 80
# SI-SDR of a perfect or a silent estimate is infinite; one such example must not spoil a mean.
SI_SDR_LIMIT_DB = 100.0
# Windows of the multi-resolution distance, in samples.
RESOLUTIONS = (512, 1024, 2048)
_LEAST_POWER = 1e-7
# Of Griffin-Lim: while training and measuring, and for what a person listens to.
ITERATIONS = 32
FINAL_ITERATIONS = 100
_MOMENTUM = 0.99


LOW_DELAY = {1920: 960}
"""Length of a window → samples at its end that a changed frame gives sound for: 20 ms at 48 kHz.

Live sound is finished as soon as no later frame changes it, while tones are told apart as finely as by 40 ms.
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
        `(batch, 2, n_fft / 2 + 1, samples // hop + 1)`: real and imaginary parts, not scaled: white noise
        of RMS r gives cells of mean square 0.375 · n_fft · r².
    """
    before = windows(n_fft).before
    if waveform.shape[-1] <= before:
        raise ValueError(f"expected more than {before} samples with n_fft={n_fft}, got {waveform.shape[-1]}")
    padded = torch.nn.functional.pad(waveform, (before, n_fft - before), mode="reflect")
    window = _on_device(n_fft, waveform).analysis
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
    pair, before = _on_device(n_fft, values.real), windows(n_fft).before
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


def griffin_lim(
    magnitudes: Tensor, *, samples: int, start: Tensor | None = None, iterations: int = ITERATIONS, seed: int = 0
) -> Tensor:
    """Finds a waveform whose spectrum has these magnitudes: fast Griffin-Lim.

    Perraudin, Balazs & Søndergaard, 2013 ("A fast Griffin-Lim algorithm"): alternate between spectra of the wanted
    magnitudes and spectra of real sounds, and overshoot by a momentum. Where the magnitudes come from a sound that is
    there, its phases are a better start than none.

    Args:
        magnitudes: `(batch, frequency, time)`, linear, as `stft` scales it.
        samples: length of the waveform.
        start: `(batch, 2, frequency, time)` whose phases are taken first; None begins with random ones.
        iterations: more are better, and slower.
        seed: of the random phases.

    Returns:
        `(batch, samples)`.
    """
    n_fft = 2 * (magnitudes.shape[1] - 1)
    if start is None:
        generator = torch.Generator(magnitudes.device).manual_seed(seed)
        angle = 2 * torch.pi * torch.rand(magnitudes.shape, generator=generator, device=magnitudes.device)
        phase = torch.stack((angle.cos(), angle.sin()), dim=1)
    else:
        phase = _phase(start)
    before = torch.zeros_like(phase)
    for _ in range(iterations):
        consistent = stft(inverse_stft(phase * magnitudes[:, None], samples=samples), n_fft=n_fft)
        consistent = _fitted(consistent, phase.shape[-1])
        phase = _phase(consistent + _MOMENTUM * (consistent - before))
        before = consistent
    return inverse_stft(phase * magnitudes[:, None], samples=samples)


def magnitude(spectrum: Tensor) -> Tensor:
    """`(batch, 2, frequency, time)` → `(batch, frequency, time)`, linear."""
    return spectrum.pow(2).sum(1).sqrt()


def frame_power(spectrum: Tensor) -> Tensor:
    """Mean square of the waveform under each frame's window: `(batch, 2, frequency, time)` → `(batch, time)`."""
    power = spectrum.pow(2).sum(1)  # (batch, frequency, time)
    # By Parseval; every frequency but the first and the last stands for its negative too.
    total = 2 * power.sum(1) - power[:, 0] - power[:, -1]
    n_fft = 2 * (spectrum.shape[2] - 1)
    return total / (float(np.square(windows(n_fft).analysis).sum()) * n_fft)


def decibels(linear: Tensor, *, floor_db: float = -80.0) -> Tensor:
    """Linear magnitudes in dB, nothing below `floor_db`; any shape."""
    return (20 * torch.log10(linear.clamp_min(1e-12))).clamp_min(floor_db)


def mel_magnitude(linear: Tensor, *, sample_rate_hz: int, bands: int = MEL_BANDS) -> Tensor:
    """Linear magnitudes `(batch, frequency, time)` on the mel scale (Slaney's), `(batch, bands, time)`."""
    # On the CPU the filters are built once for each size; moving them is cheap.
    filters = _mel_filters(linear.shape[1], sample_rate_hz, bands).to(linear)
    return torch.einsum("bft,fm->bmt", linear, filters)


def log_mel_l1(estimate: Tensor, target: Tensor, *, sample_rate_hz: int) -> Tensor:
    """Mean absolute difference of natural-log mel magnitudes, `(batch,)`.

    Args:
        estimate: linear magnitudes `(batch, frequency, time)`.
        target: the same shape.
        sample_rate_hz: of the waveforms behind both.
    """
    logs = [
        mel_magnitude(linear, sample_rate_hz=sample_rate_hz).clamp_min(LOG_MEL_FLOOR).log()
        for linear in (estimate, target)
    ]
    return (logs[0] - logs[1]).abs().flatten(1).mean(1)


def si_sdr_db(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019, "SDR — half-baked or well done?").

    Args:
        estimate: `(batch, samples)`.
        target: `(batch, samples)`.

    Returns:
        `(batch,)`, kept within ±`SI_SDR_LIMIT_DB`: a silent estimate gets the lowest. 0 where the target is
        silent, because nothing can be said.
    """
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    ratio = scale_invariant_signal_distortion_ratio(in_double(estimate), in_double(target))
    ratio = ratio.clamp(-SI_SDR_LIMIT_DB, SI_SDR_LIMIT_DB)
    ratio = ratio.to(estimate.device, torch.float32)
    ratio = ratio.masked_fill(estimate.abs().amax(-1) == 0, -SI_SDR_LIMIT_DB)
    return ratio.masked_fill(target.abs().amax(-1) == 0, 0.0)


def multi_resolution_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence plus mean absolute difference of log magnitudes, averaged over three windows.

    Yamamoto, Song & Kim, 2020 ("Parallel WaveGAN"), equations 3 to 6, as a distance of each example.

    Args:
        estimate: `(batch, samples)`.
        target: the same shape.

    Returns:
        `(batch,)`; 0 for equal waveforms.
    """
    distances = []
    for n_fft in RESOLUTIONS:
        powers = [stft(waveform, n_fft=n_fft).square().sum(1) for waveform in (estimate, target)]
        ours, theirs = (power.clamp_min(_LEAST_POWER).sqrt() for power in powers)
        convergence = (ours - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)
        distances.append(convergence + (ours.log() - theirs.log()).flatten(1).abs().mean(1))
    return torch.stack(distances).mean(0)


def log_spectral_distance_db(
    estimate: Tensor, target: Tensor, *, sample_rate_hz: int, lowest_hz: float = 0.0, floor_db: float = -60.0
) -> Tensor:
    """Root mean square difference of log spectra over frequency, averaged over time (Gray & Markel, 1976).

    Args:
        estimate: linear magnitudes `(batch, frequency, time)`.
        target: the same shape.
        sample_rate_hz: of the waveforms behind both.
        lowest_hz: only frequencies from here on count.
        floor_db: cells below are taken to be there; the stored level has cells of about 0 dB.

    Returns:
        `(batch,)`, in dB.
    """
    first = round(lowest_hz * 2 * (target.shape[1] - 1) / sample_rate_hz)
    ours, theirs = (decibels(linear[:, first:], floor_db=floor_db) for linear in (estimate, target))
    return (ours - theirs).square().mean(1).sqrt().mean(1)


def rms(waveform: Tensor) -> Tensor:
    """Root mean square over the last axis, which is kept with size 1."""
    return waveform.pow(2).mean(-1, keepdim=True).sqrt()


def normalise_rms(waveform: Tensor, target_rms: float) -> Tensor:
    """Scales each row of `(batch, samples)` to an RMS; silence stays silence."""
    level = rms(waveform)
    return waveform * torch.where(level > 0, target_rms / level.clamp_min(1e-12), torch.ones_like(level))


def _phase(spectrum: Tensor) -> Tensor:
    """Spectra of magnitude 1."""
    return spectrum / magnitude(spectrum).clamp_min(1e-12)[:, None]


def _fitted(spectrum: Tensor, frames: int) -> Tensor:
    """Cut or filled up with silence to a number of frames."""
    return torch.nn.functional.pad(spectrum, (0, frames - spectrum.shape[-1]))


class _Pair(NamedTuple):
    analysis: Tensor
    synthesis: Tensor


def _on_device(n_fft: int, like: Tensor) -> _Pair:
    """`windows`, of the type of a tensor."""
    return _pair(n_fft, like.dtype, like.device)


@lru_cache(maxsize=16)
def _pair(n_fft: int, dtype: torch.dtype, device: torch.device) -> _Pair:
    pair = windows(n_fft)
    if pair.reach == n_fft:
        hann = torch.hann_window(n_fft, dtype=dtype, device=device)
        return _Pair(hann, hann)
    return _Pair(*(torch.from_numpy(window).to(device, dtype) for window in (pair.analysis, pair.synthesis)))


@lru_cache(maxsize=8)
def _mel_filters(frequencies: int, sample_rate_hz: int, bands: int) -> Tensor:
    """Triangular mel filters `(frequencies, bands)`."""
    from musicae.audio.torchaudio_import import import_torchaudio

    functional = import_torchaudio().functional
    filters: Tensor = functional.melscale_fbanks(
        frequencies, 0.0, sample_rate_hz / 2, bands, sample_rate_hz, norm=None, mel_scale="slaney"
    )
    return filters
