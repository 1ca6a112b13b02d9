"""Sines and noise: a lasting output is a lasting tone of the frequency it says, and noise is as loud as it says."""

import math

import pytest
import torch

from musicae.nn.sines_and_noise import BANDS, SinesAndNoise
from musicae.stft import inverse_stft

RATE_HZ, N_FFT, FRAMES = 44_100, 2048, 128
SAMPLES = (FRAMES - 1) * N_FFT // 4
SILENT, LOUD = -10.0, 1.0


def output() -> torch.Tensor:
    """Silence."""
    rows = torch.full((1, 3, BANDS.rows(N_FFT // 2 + 1), FRAMES), SILENT)
    rows[:, 1] = 0
    return rows


def sound(rows: torch.Tensor) -> torch.Tensor:
    return inverse_stft(SinesAndNoise(N_FFT // 2 + 1, FRAMES).eval()(rows), samples=SAMPLES)[0]


@pytest.mark.parametrize("frequency_hz", [110.0, 437.0, 1000.0, 3333.3])
def test_a_lasting_output_is_a_lasting_tone(frequency_hz: float) -> None:
    rows, place = output(), frequency_hz * N_FFT / RATE_HZ
    for row in range(math.floor(place) - 1, math.floor(place) + 3):
        rows[0, 0, row] = LOUD - abs(row - place) / 2
        rows[0, 1, row] = math.atanh((place - row) / 2)
    waveform = sound(rows)
    power = torch.fft.rfft(waveform * torch.hann_window(SAMPLES)).abs().square()
    highest = int(power.argmax())
    assert highest * RATE_HZ / SAMPLES == pytest.approx(frequency_hz, abs=0.7)
    assert power[highest - 3 : highest + 4].sum() > 0.999 * power.sum()
    middle, later = waveform[SAMPLES // 4 : SAMPLES // 2].std(), waveform[SAMPLES // 2 : -2048].std()
    assert later / middle == pytest.approx(1, abs=0.02)


def test_noise_is_as_loud_as_it_is_said_to_be() -> None:
    rows = output()
    rows[:, 2] = 0.0
    soft = sound(rows)
    rows[:, 2] = 0.5
    assert sound(rows).std() / soft.std() == pytest.approx(math.e, rel=1e-3)
    spectrum = torch.fft.rfft(soft).abs().square()[1:]
    quarters = [part.mean() for part in spectrum.chunk(4)]
    assert max(quarters) / min(quarters) < 1.1  # white
    rows[:, 2, :200] = SILENT
    lower = torch.fft.rfft(sound(rows)).abs().square()[: round(195 / 1024 * SAMPLES / 2)]
    assert lower.mean() < 1e-3 * spectrum.mean()


def test_a_gradient_reaches_level_frequency_and_noise() -> None:
    rows = (0.1 * torch.randn(2, 3, BANDS.rows(N_FFT // 2 + 1), FRAMES)).requires_grad_()
    head = SinesAndNoise(N_FFT // 2 + 1, FRAMES)
    inverse_stft(head(rows), samples=SAMPLES).square().sum().backward()
    assert rows.grad is not None
    assert (rows.grad.flatten(2).abs().sum(2) > 0).all()
