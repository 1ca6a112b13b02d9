"""A missing upper band is filled in; what is there stays."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicae.audio import stft as signal
from musicae.nn.correction import CORRECTIONS
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

RATE_HZ = 16_000
SETTINGS = {
    "n_fft": 256, "chunk_s": 0.5, "widths": (8, 12), "latent_size": 8, "steps": 60, "evaluate_every": 60,
    "batch_size": 8, "learning_rate": 5e-3, "ema_decay": 0.9, "precision": "no",
}  # fmt: skip


def bright(seconds: float, seed: int) -> np.ndarray:
    """Bursts of a tone with many partials and of noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 200 * n * time_s) / n for n in range(1, 39))
    sound: np.ndarray = 0.1 * (tone + 0.3 * rng.standard_normal(len(time_s))) * (np.sin(20 * time_s) > 0)
    return sound


@pytest.fixture(scope="module")
def extender(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    folder = tmp_path_factory.mktemp("band")
    (folder / "sounds").mkdir()
    for number in range(6):
        soundfile.write(folder / "sounds" / f"{number}.wav", bright(2.0, number), RATE_HZ)
    experiment = Experiment.resolve("audio", task="upscale", data=[folder / "sounds"], settings=SETTINGS)
    return load(experiment.run(folder / "run", experiment.read()), "cpu")


def band_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return float(10 * np.log10(power[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].sum() + 1e-12))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_8_khz_becomes_one_of_16_with_an_upper_band(
    extender: TrainedModel, tmp_path: Path, channels: int
) -> None:
    import soxr

    wide = bright(3.0, 9)
    low = np.repeat(soxr.resample(wide, RATE_HZ, 8_000)[:, None], channels, 1)
    soundfile.write(tmp_path / "low.flac", low, 8_000)

    result, rate_hz = soundfile.read(
        extender.upscale(tmp_path / "low.flac").save(tmp_path / "high.flac"), always_2d=True
    )

    assert rate_hz == RATE_HZ
    assert result.shape == (2 * len(low), channels)
    plain = soxr.resample(low, 8_000, RATE_HZ)
    assert band_db(plain[:, 0], 4_500, 8_000) < band_db(wide, 4_500, 8_000) - 30
    assert band_db(result[:, 0], 4_500, 8_000) == pytest.approx(band_db(wide, 4_500, 8_000), abs=6)
    assert band_db(result[:, 0] - plain[:, 0], 0, 3_000) < band_db(plain[:, 0], 0, 3_000) - 30


def test_a_file_that_is_wide_already_keeps_what_it_has(extender: TrainedModel, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "wide.wav", bright(2.0, 3), RATE_HZ)

    upscaled = extender.upscale(tmp_path / "wide.wav")
    result, rate_hz = upscaled.samples, upscaled.sample_rate_hz

    original, _ = soundfile.read(tmp_path / "wide.wav")
    assert rate_hz == RATE_HZ
    assert result.shape == original.shape
    assert band_db(result - original, 0, 3_000) < band_db(original, 0, 3_000) - 40
    assert band_db(result, 4_500, 8_000) > band_db(original, 4_500, 8_000) - 1
    assert "already" in upscaled.remarks[0]


def test_silence_stays_silence(extender: TrainedModel, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 8_000)

    upscaled = extender.upscale(tmp_path / "silence.wav")
    result = upscaled.samples

    assert (len(result), upscaled.sample_rate_hz) == (16_000, RATE_HZ)
    assert not result.any()


def test_nothing_is_turned_down_and_the_lower_band_is_untouched() -> None:
    correction = CORRECTIONS["extend"](2)
    corrupted = torch.randn(2, 2, 129, 20, generator=torch.Generator().manual_seed(0))

    filled = correction.apply_to(corrupted, torch.randn(2, 1, 129, 20))

    assert torch.equal(filled[:, :, :52], corrupted[:, :, :52])  # below 85% of the cutoff
    assert (signal.magnitude(filled) >= signal.magnitude(corrupted) - 1e-5).all()
    assert (signal.magnitude(filled) > signal.magnitude(corrupted) + 1e-3).any()


def test_a_steady_tone_is_copied_up_as_a_steady_tone() -> None:
    """Frame by frame, the phases of the copy go on as those of a tone do."""
    time_s = torch.arange(64 * 64) / RATE_HZ
    spectrum = signal.stft(torch.sin(2 * torch.pi * 1_000 * time_s)[None], n_fft=256)
    loud = torch.full((1, 1, *spectrum.shape[2:]), -3.0)
    loud[:, :, 129 // 2 :] = 1.0

    filled = CORRECTIONS["extend"](2).apply_to(spectrum, loud)

    samples = signal.inverse_stft(filled, samples=64 * 64)[0]
    resynthesised = signal.magnitude(signal.stft(samples[None], n_fft=256))
    wanted = signal.magnitude(filled)
    # A spectrum that belongs to a sound comes back as it was; with random phases this is about 0.5.
    upper = slice(70, 120)
    error = (resynthesised - wanted)[:, upper, 8:-8].norm() / wanted[:, upper, 8:-8].norm()
    assert error < 0.35
