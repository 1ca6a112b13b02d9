"""Waveforms and spectra: phases found by Griffin-Lim, levels, mel and distances.

The transform itself is `musicae.stft`. Pure functions: nothing here knows files, settings, devices or networks.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from musicae.precision import in_double
from musicae.stft import inverse_stft as inverse_stft
from musicae.stft import magnitude as magnitude
from musicae.stft import stft as stft
from musicae.stft import windows as windows

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
    estimate: Tensor, target: Tensor, *, where: Tensor | None = None, floor_db: float = -60.0
) -> Tensor:
    """Root mean square difference of log spectra over frequency, averaged over time (Gray & Markel, 1976).

    Args:
        estimate: linear magnitudes `(batch, frequency, time)`.
        target: the same shape.
        where: which frequencies count, bool `(batch, frequency)` or `(1, frequency)`; None: all.
        floor_db: cells below are taken to be there; the stored level has cells of about 0 dB.

    Returns:
        `(batch,)`, in dB.
    """
    ours, theirs = (decibels(linear, floor_db=floor_db) for linear in (estimate, target))
    counts = torch.ones_like(target[:1, :, 0]) if where is None else where.to(target)
    share = counts / counts.sum(1, keepdim=True).clamp_min(1)
    return ((ours - theirs).square() * share[..., None]).sum(1).sqrt().mean(1)


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


@lru_cache(maxsize=8)
def _mel_filters(frequencies: int, sample_rate_hz: int, bands: int) -> Tensor:
    """Triangular mel filters `(frequencies, bands)`."""
    from musicae.audio.torchaudio_import import import_torchaudio

    functional = import_torchaudio().functional
    filters: Tensor = functional.melscale_fbanks(
        frequencies, 0.0, sample_rate_hz / 2, bands, sample_rate_hz, norm=None, mel_scale="slaney"
    )
    return filters
