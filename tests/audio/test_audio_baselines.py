"""What models of sound are measured beside behaves as it is known to."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from musicae.audio import stft as signal
from musicae.audio.baselines import denoising_baselines, noisereduced, oracle_mask
from musicae.audio.metrics import perceptual_scores

RATE_HZ, SAMPLES = 16_000, 2 * 16_000


def sounds() -> tuple[torch.Tensor, torch.Tensor]:
    """Clean chord in bursts, and the same in white noise at about 5 dB: waveforms `(1, samples)`."""
    time_s = torch.arange(SAMPLES) / RATE_HZ
    clean = 0.1 * (torch.sin(2 * torch.pi * 440 * time_s) + torch.sin(2 * torch.pi * 660 * time_s))
    clean = (clean * (torch.sin(2 * torch.pi * 1.5 * time_s) > 0))[None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean, clean + 0.04 * noise


def test_the_wiener_filter_gains_and_the_oracle_gains_more() -> None:
    clean, noisy = sounds()
    spectra = [signal.stft(waveform, n_fft=1024) for waveform in (noisy, clean)]
    gains = {}
    for name, baseline in denoising_baselines(RATE_HZ).items():
        answer = signal.inverse_stft(baseline(*spectra), samples=SAMPLES)
        gains[name] = float(signal.si_sdr_db(answer, clean) - signal.si_sdr_db(noisy, clean))

    assert {"wiener", "oracle_mask"} <= set(gains)
    assert 1 < gains["wiener"] < gains["oracle_mask"]


def test_the_oracle_leaves_clean_sound_alone_and_never_turns_up() -> None:
    clean, noisy = (signal.stft(waveform, n_fft=512) for waveform in sounds())

    assert torch.allclose(oracle_mask(clean, clean), clean, atol=1e-4)
    assert (oracle_mask(noisy, clean).abs() <= noisy.abs() + 1e-6).all()


@pytest.mark.skipif(find_spec("noisereduce") is None, reason="noisereduce is not installed")
def test_noisereduce_keeps_silence() -> None:
    silence = np.zeros(RATE_HZ, np.float32)

    assert np.array_equal(noisereduced(silence, RATE_HZ, stationary=True), silence)


def test_what_is_not_installed_is_not_scored() -> None:
    clean, noisy = sounds()

    scores = perceptual_scores(noisy, clean, sample_rate_hz=RATE_HZ)

    assert set(scores) == {name for name, module in (("pesq", "pesq"), ("stoi", "pystoi")) if find_spec(module)}
    assert all(value.shape == (1,) for value in scores.values())


@pytest.mark.skipif(find_spec("pesq") is None, reason="pesq is not installed")
def test_pesq_of_silence_is_unknown() -> None:
    clean, _ = sounds()

    assert perceptual_scores(0 * clean, clean, sample_rate_hz=RATE_HZ)["pesq"].isnan().all()
