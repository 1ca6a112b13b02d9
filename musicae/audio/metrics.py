"""Scores of sounds, example by example, of whatever form they are in.

An estimated spectrum is turned into a waveform first and judged by that: masked spectra are seldom those of any
sound. Nothing here knows files or networks.
"""

import torch
from torch import Tensor

from musicae.audio import inversion
from musicae.audio import stft as signal
from musicae.audio.attributes import sound_attributes
from musicae.audio.config import UPSCALE, AudioConfig
from musicae.audio.perceptual import perceptual_scores


def measures(estimate: Tensor, target: Tensor, config: AudioConfig) -> dict[str, Tensor]:
    """Distances of linear magnitudes `(batch, frequency, time)`: name → `(batch,)`."""
    rate_hz = config.sample_rate_hz
    return {
        "log_mel_l1": signal.log_mel_l1(estimate, target, sample_rate_hz=rate_hz),
        "log_spectral_distance_db": signal.log_spectral_distance_db(estimate, target, sample_rate_hz=rate_hz),
    }


def synthesis_measures(estimate: Tensor, target: Tensor, config: AudioConfig) -> dict[str, Tensor]:
    """Scores of the sounds that Griffin-Lim makes of linear magnitudes `(batch, frequency, time)`: name → `(batch,)`.

    `pitch_kept` is 1 where the pitch is within 50 cents of the target's, NaN where that has none;
    `log_mel_l1_magnitudes` is the distance of the magnitudes themselves, before a sound is made of them.
    """
    samples, n_fft, rate_hz = config.chunk_samples, config.n_fft, config.sample_rate_hz
    heard = signal.magnitude(signal.stft(inversion.griffin_lim(estimate, samples=samples), n_fft=n_fft))
    ours, theirs = (sound_attributes(linear, sample_rate_hz=rate_hz)["pitch"] for linear in (heard, target))
    is_kept = ((ours - theirs).abs() <= 0.5).float()
    return {
        **measures(heard, target, config),
        "log_mel_l1_magnitudes": signal.log_mel_l1(estimate, target, sample_rate_hz=rate_hz),
        "pitch_kept": torch.where(theirs.isnan(), torch.nan, is_kept),
    }


def restoration_measures(estimate: Tensor, target: Tensor, damaged: Tensor, config: AudioConfig) -> dict[str, Tensor]:
    """Scores of spectra `(batch, 2, frequency, time)`: name → `(batch,)`, in dB and natural logarithms."""
    samples = config.chunk_samples
    ours, theirs, given = (signal.inverse_stft(batch, samples=samples) for batch in (estimate, target, damaged))
    before, after = signal.si_sdr_db(given, theirs), signal.si_sdr_db(ours, theirs)
    heard = signal.magnitude(signal.stft(ours, n_fft=config.n_fft))
    wanted = signal.magnitude(target)
    scores = {
        "si_sdr_in_db": before,
        "si_sdr_out_db": after,
        "si_sdr_gain_db": after - before,
        **measures(heard, wanted, config),
        "multi_resolution_distance": signal.multi_resolution_distance(ours, theirs),
        **perceptual_scores(ours, theirs, sample_rate_hz=config.sample_rate_hz),
    }
    if config.representation != "band":
        return scores
    cutoff_hz = config.sample_rate_hz / 2 / UPSCALE
    for name, linear in (("_in", signal.magnitude(damaged)), ("", heard)):
        scores[f"missing_band_distance{name}_db"] = signal.log_spectral_distance_db(
            linear, wanted, sample_rate_hz=config.sample_rate_hz, lowest_hz=cutoff_hz
        )
    return scores
