"""Griffin-Lim finds a sound whose spectrum has the magnitudes asked for."""

import math

import torch

from musicae.audio import stft as signal
from musicae.audio.torchaudio_import import import_torchaudio

SAMPLES = 64 * 128


def chord() -> torch.Tensor:
    time_s = torch.arange(SAMPLES) / 16_000
    return 0.1 * sum(torch.sin(2 * math.pi * hz * time_s) for hz in (220.0, 277.2, 329.6))[None]


def distance(waveform: torch.Tensor, wanted: torch.Tensor) -> float:
    """Spectral convergence: the share of the magnitudes that is wrong."""
    found = signal.magnitude(signal.stft(waveform, n_fft=512))
    return float((found - wanted).norm() / wanted.norm())


def test_a_known_spectrum_comes_back_and_more_iterations_come_nearer() -> None:
    wanted = signal.magnitude(signal.stft(chord(), n_fft=512))

    errors = [
        distance(signal.griffin_lim(wanted, samples=SAMPLES, iterations=count), wanted) for count in (0, 8, 32, 100)
    ]

    assert errors[0] > 0.5
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.13
    assert errors[3] < 0.11


def test_it_comes_as_near_as_torchaudio_does() -> None:
    noise = 0.1 * torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0))
    wanted = signal.magnitude(signal.stft(chord() + noise, n_fft=512))
    functional = import_torchaudio().functional
    torch.manual_seed(0)
    theirs = functional.griffinlim(
        wanted,
        torch.hann_window(512),
        512,
        128,
        512,
        power=1.0,
        n_iter=32,
        momentum=0.99,
        length=SAMPLES,
        rand_init=True,
    )

    ours = signal.griffin_lim(wanted, samples=SAMPLES, iterations=32)

    assert distance(ours, wanted) < 1.1 * distance(theirs, wanted)


def test_from_its_own_phases_a_sound_is_there_at_once() -> None:
    spectrum = signal.stft(chord(), n_fft=512)

    same = signal.griffin_lim(signal.magnitude(spectrum), samples=SAMPLES, start=spectrum, iterations=1)

    assert torch.allclose(same, chord(), atol=1e-5)


def test_silence_stays_silence_and_a_seed_fixes_the_phases() -> None:
    silence = torch.zeros(1, 257, 65)
    wanted = signal.magnitude(signal.stft(chord(), n_fft=512))

    assert not signal.griffin_lim(silence, samples=SAMPLES, iterations=4).any()
    first, again, other = (signal.griffin_lim(wanted, samples=SAMPLES, iterations=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
