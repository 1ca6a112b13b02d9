"""Scores of sounds, example by example, of whatever form they are in.

An estimated spectrum is turned into a waveform first and judged by that: masked spectra are seldom those of any
sound. PESQ and STOI are there where the libraries that compute them are installed (`pip install musicae[measure]`).
PESQ: ITU-T P.862.2, wideband, 1.04 to 4.64, for speech at 16 kHz. STOI: Taal et al., 2011, 0 to 1. Both are measures
of speech; of music they say little. Nothing here knows files or networks.
"""

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from musicae.audio import stft as signal
from musicae.audio.attributes import sound_attributes
from musicae.audio.config import AudioConfig
from musicae.nn.bands import PRESENT, below_the_end

PESQ_RATE_HZ = 16_000


def spectral_distances(estimate: Tensor, target: Tensor, config: AudioConfig) -> dict[str, Tensor]:
    """Distances of linear magnitudes `(batch, frequency, time)`: name → `(batch,)`."""
    rate_hz = config.sample_rate_hz
    return {
        "log_mel_l1": signal.log_mel_l1(estimate, target, sample_rate_hz=rate_hz),
        "log_spectral_distance_db": signal.log_spectral_distance_db(estimate, target),
    }


def synthesis_scores(waveform: Tensor, estimate: Tensor, target: Tensor, config: AudioConfig) -> dict[str, Tensor]:
    """Scores of sounds that were made anew: name → `(batch,)`.

    `pitch_kept` is 1 where the pitch is within 50 cents of the target's, NaN where that has none;
    `log_mel_l1_magnitudes` is the distance of the magnitudes themselves, before a sound is made of them.

    Args:
        waveform: what was made, `(batch, samples)`.
        estimate: the linear magnitudes that it was made of, `(batch, frequency, time)`.
        target: linear magnitudes, same shape.
        config: of the domain.
    """
    rate_hz = config.sample_rate_hz
    resynthesised = signal.magnitude(signal.stft(waveform, n_fft=config.n_fft))
    ours, theirs = (sound_attributes(linear, sample_rate_hz=rate_hz)["pitch"] for linear in (resynthesised, target))
    is_kept = ((ours - theirs).abs() <= 0.5).float()
    return {
        **spectral_distances(resynthesised, target, config),
        "log_mel_l1_magnitudes": signal.log_mel_l1(estimate, target, sample_rate_hz=rate_hz),
        "pitch_kept": torch.where(theirs.isnan(), torch.nan, is_kept),
    }


def restoration_scores(estimate: Tensor, target: Tensor, corrupted: Tensor, config: AudioConfig) -> dict[str, Tensor]:
    """Scores of spectra `(batch, 2, frequency, time)`: name → `(batch,)`, in dB and natural logarithms."""
    samples = config.chunk_samples
    ours, theirs, given = (signal.inverse_stft(batch, samples=samples) for batch in (estimate, target, corrupted))
    before, after = signal.si_sdr_db(given, theirs), signal.si_sdr_db(ours, theirs)
    resynthesised = signal.magnitude(signal.stft(ours, n_fft=config.n_fft))
    wanted = signal.magnitude(target)
    scores = {
        "si_sdr_in_db": before,
        "si_sdr_out_db": after,
        "si_sdr_gain_db": after - before,
        **spectral_distances(resynthesised, wanted, config),
        "multi_resolution_distance": signal.multi_resolution_distance(ours, theirs),
        **perceptual_scores(ours, theirs, sample_rate_hz=config.sample_rate_hz),
    }
    if config.representation != "top":
        return scores
    # What was cut away of what the target holds.
    is_missing = (corrupted == 0).all(3).all(1) & below_the_end(wanted.square(), PRESENT)  # (batch, frequency)
    has_any = is_missing.any(1)
    for name, linear in (("_in", signal.magnitude(corrupted)), ("", resynthesised)):
        distance = signal.log_spectral_distance_db(linear, wanted, where=is_missing)
        scores[f"missing_band_distance{name}_db"] = torch.where(has_any, distance, torch.nan)
    ours, theirs = (
        (linear.square().mean(-1) * is_missing).sum(1).clamp_min(1e-9) for linear in (resynthesised, wanted)
    )
    scores["missing_band_level_db"] = torch.where(has_any, 10 * torch.log10(ours / theirs).abs(), torch.nan)
    return scores


def perceptual_scores(estimate: Tensor, target: Tensor, *, sample_rate_hz: int) -> dict[str, Tensor]:
    """Name → `(batch,)` of waveforms `(batch, samples)`; NaN where there is no speech to judge, nothing uninstalled.

    Args:
        estimate: at any level.
        target: the clean one.
        sample_rate_hz: of both; below 16 kHz there is no PESQ.
    """
    both = [part.detach().cpu().double() for part in (estimate, target)]
    found = {}
    if find_spec("pystoi") is not None:
        pairs = zip(*(part.numpy() for part in both), strict=True)
        found["stoi"] = torch.tensor([_stoi(ours, theirs, sample_rate_hz) for ours, theirs in pairs])
    if find_spec("pesq") is not None and sample_rate_hz >= PESQ_RATE_HZ:
        low = [_at_pesq_rate(part, sample_rate_hz).numpy() for part in both]
        found["pesq"] = torch.tensor([_pesq(ours, theirs) for ours, theirs in zip(*low, strict=True)])
    return found


def _at_pesq_rate(waveform: Tensor, sample_rate_hz: int) -> Tensor:
    if sample_rate_hz == PESQ_RATE_HZ:
        return waveform
    from musicae.audio.torchaudio_import import import_torchaudio

    resampled: Tensor = import_torchaudio().functional.resample(waveform, sample_rate_hz, PESQ_RATE_HZ)
    return resampled


def _pesq(estimate: np.ndarray, target: np.ndarray) -> float:
    from pesq import BufferTooShortError, NoUtterancesError, pesq

    if not (np.any(estimate) and np.any(target)):
        return float("nan")
    try:
        return float(pesq(PESQ_RATE_HZ, target.astype(np.float32), estimate.astype(np.float32), "wb"))
    except (NoUtterancesError, BufferTooShortError):
        return float("nan")


def _stoi(estimate: np.ndarray, target: np.ndarray, sample_rate_hz: int) -> float:
    import warnings

    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # it warns, and gives 1e-5, where too little speech is left
        try:
            return float(stoi(target, estimate, sample_rate_hz))
        except RuntimeWarning:
            return float("nan")
