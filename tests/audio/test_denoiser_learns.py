"""A small denoiser, trained for seconds, beats the Wiener filter on sounds it never learned; and leaves clean sound."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicae.audio import stft as signal
from musicae.evaluation.evaluate import evaluate_files
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

RATE_HZ = 8_000
SETTINGS = {
    "sample_rate_hz": RATE_HZ, "n_fft": 256, "chunk_s": 1.0, "widths": (12, 24, 32), "latent_size": 32,
    "steps": 200, "evaluate_every": 200, "evaluate_examples": 16, "batch_size": 8, "learning_rate": 5e-3,
    "ema_decay": 0.97, "precision": "no", "log_with": (),
}  # fmt: skip


def write_melodies(folder: Path, count: int, seed: int) -> Path:
    """Plucked tones of a few partials, one after the other, with rests."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    time_s = np.arange(RATE_HZ // 4) / RATE_HZ
    for number in range(count):
        notes = []
        for _ in range(16):
            hz = 110 * 2 ** (rng.integers(0, 30) / 12)
            tone = sum(np.sin(2 * np.pi * hz * n * time_s) / n for n in range(1, 6) if hz * n < 3_600)
            notes.append(tone * np.exp(-6 * time_s) * (rng.random() > 0.2))
        soundfile.write(folder / f"melody {number}.wav", 0.2 * np.concatenate(notes), RATE_HZ)
    return folder


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path]:
    folder = tmp_path_factory.mktemp("denoiser")
    melodies = write_melodies(folder / "melodies", 40, seed=1)
    experiment = Experiment.resolve("audio", task="denoise", data=[melodies], settings=SETTINGS)
    return load(experiment.run(folder / "run", experiment.read()), "cpu"), melodies


def test_it_beats_the_wiener_filter_by_a_margin(denoiser: tuple[TrainedModel, Path]) -> None:
    trained, melodies = denoiser

    scores = evaluate_files(trained, [melodies], settings={"snr_db_low": 5, "snr_db_high": 5})

    assert scores["examples"] >= 8
    assert scores["si_sdr_gain_db"] > scores["si_sdr_gain_db_wiener"] + 2
    assert scores["si_sdr_gain_db"] < scores["si_sdr_gain_db_oracle_mask"]
    assert scores["beats_wiener"] > 0.6


def test_it_leaves_clean_sound_nearly_as_it_is(denoiser: tuple[TrainedModel, Path], tmp_path: Path) -> None:
    trained, _ = denoiser
    source = next(write_melodies(tmp_path / "new", 1, seed=2).iterdir())

    result = trained.denoise(source)

    kept, clean = result.samples, soundfile.read(source, dtype="float32")[0]
    assert result.sample_rate_hz == RATE_HZ
    ratio_db = signal.si_sdr_db(torch.from_numpy(kept)[None], torch.from_numpy(clean)[None])
    assert float(ratio_db) > 15
