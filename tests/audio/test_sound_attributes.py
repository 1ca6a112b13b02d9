"""Brightness, loudness, pitch and noisiness are what the names say, of sounds whose are known."""

import math

import pytest
import torch

from musicae.audio import stft as signal
from musicae.audio.attributes import sound_attributes

RATE_HZ = 16_000
TIME_S = torch.arange(2 * RATE_HZ) / RATE_HZ


def measured(waveform: torch.Tensor, n_fft: int = 1024) -> dict[str, float]:
    linear = signal.magnitude(signal.stft(waveform[None], n_fft=n_fft))
    return {name: float(value) for name, value in sound_attributes(linear, sample_rate_hz=RATE_HZ).items()}


def tone(pitch: float, partials: int = 6, fall: float = 1.0) -> torch.Tensor:
    hz = 440 * 2 ** ((pitch - 69) / 12)
    return 0.1 * sum(torch.sin(2 * math.pi * hz * n * TIME_S + n) / n**fall for n in range(1, partials + 1))


@pytest.mark.parametrize("pitch", [40, 45.3, 57, 69, 76.5, 88])
@pytest.mark.parametrize("partials", [1, 6])
def test_the_pitch_of_a_tone_is_found_within_a_fifth_of_a_semitone(pitch: float, partials: int) -> None:
    assert measured(tone(pitch, partials))["pitch"] == pytest.approx(pitch, abs=0.2)


def test_noise_has_no_pitch_and_is_the_noisiest() -> None:
    noise = torch.randn(2 * RATE_HZ, generator=torch.Generator().manual_seed(0))

    found = measured(noise)

    assert math.isnan(found["pitch"])
    assert -1 < found["noisiness"] < 0
    assert measured(tone(60))["noisiness"] < -20


def test_brightness_rises_with_the_partials_by_octaves() -> None:
    dull, bright, octave = (
        measured(sound)["brightness"] for sound in (tone(57, 6, 2.0), tone(57, 6, 0.5), tone(69, 1))
    )

    assert dull < bright
    assert octave - measured(tone(57, 1))["brightness"] == pytest.approx(1.0, abs=0.05)


def test_twice_the_amplitude_is_six_decibels_louder_and_nothing_else() -> None:
    soft, loud = measured(tone(60)), measured(2 * tone(60))

    assert loud["loudness"] - soft["loudness"] == pytest.approx(6.02, abs=0.01)
    assert all(loud[name] == pytest.approx(soft[name], abs=0.01) for name in ("brightness", "pitch", "noisiness"))


def test_a_pause_does_not_change_what_is_heard() -> None:
    paused = tone(60)
    paused[RATE_HZ:] = 0

    assert measured(paused)["loudness"] == pytest.approx(measured(tone(60))["loudness"], abs=0.5)


def test_silence_has_nothing_to_measure() -> None:
    assert all(math.isnan(value) for value in measured(torch.zeros(2 * RATE_HZ)).values())
