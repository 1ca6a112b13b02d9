"""A recording of the noise alone: measured at the file's level, of help where noise is steady; bad ones are named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

import musicae
from musicae.audio import stft as signal
from musicae.audio.noise_profile import held_to_noise, profile_power
from musicae.audio.sound import Sound
from musicae.cli import main
from musicae.music.piece import Piece
from musicae.starter import starter_file

RATE_HZ = 16_000


def si_sdr_db(estimate: np.ndarray, target: np.ndarray) -> float:
    scaled = target * (estimate @ target) / (target @ target)
    return float(10 * np.log10((scaled**2).sum() / ((estimate - scaled) ** 2).sum()))


def whine(seconds: float, seed: int) -> np.ndarray:
    """A motor: tones over hiss, as no training noise is."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * hz * time_s + generator.uniform(0, 6)) for hz in (660, 1_310, 1_970, 3_050))
    return 0.1 * tones + 0.03 * generator.standard_normal(len(time_s))


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (16_000, 2), (44_100, 2)])
@pytest.mark.parametrize("seconds", [0.2, 30.0])
def test_the_profile_is_the_mean_power_scaled_as_the_file(
    tmp_path: Path, rate_hz: int, channels: int, seconds: float
) -> None:
    hiss = 0.01 * np.random.default_rng(0).standard_normal((round(seconds * rate_hz), channels))
    soundfile.write(tmp_path / "noise.wav", hiss, rate_hz, subtype="FLOAT")
    power = profile_power(Sound.open(tmp_path / "noise.wav"), sample_rate_hz=RATE_HZ, n_fft=1024, gain=5.0)
    assert power.shape == (1, 513, 1)
    expected = 0.375 * 1024 * (0.05**2) * RATE_HZ / rate_hz
    assert float(power[:, 5:460].mean()) == pytest.approx(expected, rel=0.1)


def test_nothing_becomes_louder_and_no_noise_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(2, 2, 9, 30, generator=generator)
    estimate = spectrum * torch.rand(2, 1, 9, 30, generator=generator)
    noise = torch.rand(1, 9, 1, generator=generator)
    held = held_to_noise(estimate, spectrum, noise)
    assert (signal.magnitude(held) <= signal.magnitude(estimate) + 1e-6).all()
    torch.testing.assert_close(held_to_noise(estimate, spectrum, 0 * noise), estimate)
    assert not held_to_noise(0 * estimate, 0 * spectrum, noise).any()
    louder = signal.magnitude(held_to_noise(estimate, spectrum, 10 * noise)).mean()
    assert louder < 0.7 * signal.magnitude(held).mean()


@pytest.mark.parametrize("gain", [0.02, 1.0])
def test_a_profile_helps_against_a_noise_that_the_model_does_not_know(tmp_path: Path, gain: float) -> None:
    """At any level of the recordings: the profile is scaled as the file is."""
    tune = Piece.open(starter_file("b.mid")).render(RATE_HZ).samples[: 8 * RATE_HZ].astype(np.float64)
    noise, alone = whine(8.0, 0), whine(2.0, 1)
    scale = np.sqrt((tune**2).mean() / (noise**2).mean()) * 10 ** (-5 / 20)
    noisy = tune + scale * noise
    soundfile.write(tmp_path / "noisy.wav", gain * noisy, RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "noise.wav", gain * scale * alone, RATE_HZ, subtype="FLOAT")
    trained = musicae.load("denoise-48k", "cpu")
    scores = []
    for profile in (None, tmp_path / "noise.wav"):
        clean = trained.denoise(str(tmp_path / "noisy.wav"), noise_profile=profile)
        scores.append(si_sdr_db(clean.samples, tune))
    assert scores[1] > scores[0] + 2.0


def test_bad_profiles_are_one_sentence(tiny_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.wav", 0.1 * np.random.default_rng(0).standard_normal(8_000), 8_000)
    soundfile.write("silent.wav", np.zeros(8_000), 8_000)
    soundfile.write("short.wav", np.ones(100), 8_000)
    soundfile.write("nan.wav", np.full(8_000, np.nan), 8_000, subtype="FLOAT")
    Path("text.wav").write_text("not a sound", encoding="utf-8")
    for name, sentence, code in (
        ("gone.wav", "no such file: gone.wav", 2),
        ("silent.wav", "silent is silent; expected a recording of the noise alone", 2),
        ("short.wav", "short is too short to know the noise by", 2),
        ("text.wav", "text.wav is not a sound that can be read", 1),
        ("nan.wav", "not finite numbers", 1),
    ):
        command = ["denoise", "in.wav", "--noise-profile", name, "--model", str(tiny_run("audio"))]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == code, result.output
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
        assert sentence in result.stderr
    assert not list(tmp_path.glob("in-*"))
