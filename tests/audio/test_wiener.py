"""The Wiener filter: it finds steady noise, takes it away, and leaves what is not noise."""

import math

import pytest
import torch

from musicae.audio import stft as signal
from musicae.audio.baselines import noise_power, wiener_filtered

RATE_HZ, SAMPLES = 16_000, 32_000


def noise(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((rows, SAMPLES), generator=torch.Generator().manual_seed(seed))


def notes() -> torch.Tensor:
    """Four notes with rests between them."""
    time_s = torch.arange(SAMPLES) / RATE_HZ
    sounds = torch.zeros(SAMPLES)
    for number, pitch_hz in enumerate((262, 330, 392, 523)):
        since = time_s - 0.5 * number
        sounding = (since >= 0) & (since < 0.3)
        sounds += sounding * torch.sin(2 * math.pi * pitch_hz * since) * torch.exp(-3 * since.clamp_min(0))
    return sounds[None]


def test_the_power_of_white_noise_is_found() -> None:
    found = noise_power(signal.stft(0.1 * noise(4), n_fft=1024))
    assert found.mean().item() == pytest.approx(0.375 * 1024 * 0.01, rel=0.1)


@pytest.mark.parametrize(("snr_db", "gain_db"), [(0, 5.0), (5, 5.0), (10, 4.0)])
def test_notes_come_out_of_the_noise(snr_db: float, gain_db: float) -> None:
    clean = notes()
    noisy = clean + noise(1) * clean.square().mean().sqrt() * 10 ** (-snr_db / 20)
    estimate = signal.inverse_stft(wiener_filtered(signal.stft(noisy, n_fft=1024)), samples=SAMPLES)
    assert signal.si_sdr_db(estimate, clean) - signal.si_sdr_db(noisy, clean) > gain_db


def test_noise_alone_is_turned_down_and_clean_notes_stay() -> None:
    only_noise = signal.stft(0.1 * noise(2), n_fft=1024)
    left = wiener_filtered(only_noise).square().mean() / only_noise.square().mean()
    assert 10 * left.log10() < -15
    clean = notes()
    estimate = signal.inverse_stft(wiener_filtered(signal.stft(clean, n_fft=1024)), samples=SAMPLES)
    assert signal.si_sdr_db(estimate, clean) > 15


def test_noise_that_is_told_is_not_estimated() -> None:
    """A steady tone is noise to the estimate, and not where the noise is known."""
    tone = torch.sin(2 * math.pi * 440 * torch.arange(SAMPLES) / RATE_HZ)[None]
    spectrum = signal.stft(tone + 0.01 * noise(1), n_fft=1024)
    known = noise_power(signal.stft(0.01 * noise(1, seed=1), n_fft=1024))
    kept = [wiener_filtered(spectrum, given).square().mean() / spectrum.square().mean() for given in (None, known)]
    assert kept[0] < 0.2
    assert kept[1] > 0.9


def test_silence_stays_silence() -> None:
    assert torch.equal(wiener_filtered(torch.zeros(1, 2, 129, 20)), torch.zeros(1, 2, 129, 20))
