"""Sound made of a code: files rebuilt, sampled, morphed, varied, shifted and mapped by a tiny spectrogram VAE."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from tiny_models import write_chords

from musicae.audio import stft as signal
from musicae.audio.config import AudioConfig
from musicae.audio.domain import AudioDomain
from musicae.cli import main
from musicae.data.dataset import DataSet
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment
from musicae.training.fit_prior import fit_prior

RATE_HZ, LATENT_SIZE = 8_000, 4
SETTINGS = {
    "sample_rate_hz": RATE_HZ, "n_fft": 256, "chunk_s": 0.6, "widths": (8, 12, 16), "latent_size": LATENT_SIZE,
    "moment_size": 2, "steps": 150, "evaluate_every": 150, "batch_size": 8, "learning_rate": 5e-3, "beta": 0.01,
    "precision": "no", "log_with": (),
}  # fmt: skip


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataSet]:
    """A run's folder, and what it learned from."""
    folder = tmp_path_factory.mktemp("vae")
    chords = write_chords(folder / "chords", count=12)
    experiment = Experiment.resolve("audio", data=[chords], settings=SETTINGS)
    assert experiment.manifest.model == "spectrogram"
    dataset = experiment.read()
    return experiment.run(folder / "run", dataset), dataset


@pytest.fixture(scope="module")
def run(learned: tuple[Path, DataSet]) -> Path:
    return learned[0]


@pytest.fixture(scope="module")
def vae(run: Path) -> TrainedModel:
    return load(run, "cpu")


@pytest.fixture
def chords(tmp_path: Path) -> list[Path]:
    return sorted(write_chords(tmp_path / "in", count=2).iterdir())


def read(path: Path) -> tuple[np.ndarray, int]:
    return soundfile.read(path, dtype="float32")


def test_a_file_is_rebuilt_with_its_length_rate_and_level(
    vae: TrainedModel, chords: list[Path], tmp_path: Path
) -> None:
    samples, _ = read(chords[0])
    soundfile.write(tmp_path / "stereo.wav", np.stack((samples, 0.5 * samples), 1), RATE_HZ)

    result = vae.reconstruct(tmp_path / "stereo.wav")
    rebuilt = result.samples

    assert result.sample_rate_hz == RATE_HZ
    assert rebuilt.shape == (len(samples), 2)
    level = np.sqrt((rebuilt**2).mean(0)) / np.sqrt((samples**2).mean())
    assert level[0] == pytest.approx(1.0, rel=0.4)
    assert level[1] == pytest.approx(0.5, rel=0.4)


def test_the_prior_is_fitted_once_on_what_was_learned_and_draws_are_like_it(learned: tuple[Path, DataSet]) -> None:
    best, dataset = learned
    trained = load(best, "cpu")
    assert trained.manifest.metrics["prior_fitted"] == 1
    assert "kl_bits" not in trained.manifest.metrics
    batch = trained.domain.tensor(torch.from_numpy(dataset.examples[dataset.splits["train"]])).target
    base = trained.network.latent.to_base(trained.encode(batch)).detach()
    assert float(base[:, :LATENT_SIZE].square().mean().sqrt()) == pytest.approx(1, abs=0.35)

    assert fit_prior(trained.network, trained.domain, trained.manifest, dataset) is trained.manifest


def test_silence_is_rebuilt_as_silence(vae: TrainedModel, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)

    rebuilt = vae.reconstruct(tmp_path / "silence.wav").samples

    assert len(rebuilt) == RATE_HZ
    assert not rebuilt.any()


def test_a_path_has_a_sound_for_each_step_and_one_with_all(
    vae: TrainedModel, chords: list[Path], tmp_path: Path
) -> None:
    morph = vae.interpolate(*chords, steps=3)
    whole = morph.save(tmp_path / "path")

    steps = [read(tmp_path / "path" / f"step-0{number}.wav")[0] for number in (1, 2, 3)]
    assert len(read(whole)[0]) == sum(map(len, steps))
    assert all(np.abs(step).max() > 0.01 for step in steps)
    assert (tmp_path / "path" / "interpolation.png").is_file()


def test_one_sound_morphs_into_another(vae: TrainedModel, chords: list[Path]) -> None:
    start, end = (vae.network.reconstruct(vae.tensor(chord)).detach() for chord in chords)
    frames = vae.domain.form.morph_over_time(torch.cat([start, (start + end) / 2, end]))
    assert torch.equal(frames[0, :, :, 0], start[0, :, :, 0])
    assert torch.equal(frames[0, :, :, -1], end[0, :, :, -1])
    assert len(vae.morph(*chords).samples) == vae.domain.config.chunk_samples


def test_a_short_sound_morphs_all_the_way(vae: TrainedModel, chords: list[Path], tmp_path: Path) -> None:
    samples, _ = read(chords[0])
    soundfile.write(tmp_path / "short.wav", samples[: RATE_HZ // 5], RATE_HZ)

    assert vae.morph(tmp_path / "short.wav", chords[1]).frames == vae.domain.config.chunk_samples


def test_the_command_line_morphs(run: Path, chords: list[Path], tmp_path: Path) -> None:
    command = ["interpolate", *map(str, chords), "--model", str(run), "--morph", "--out", str(tmp_path / "x.wav")]
    result = CliRunner().invoke(main, command)

    assert result.exit_code == 0, result.output
    assert (tmp_path / "x.wav").is_file()
    refused = CliRunner().invoke(main, [*command, "--whole"])
    assert refused.exit_code == 2
    assert "--morph" in refused.output


def test_draws_and_variations_are_sounds(vae: TrainedModel, chords: list[Path], tmp_path: Path) -> None:
    vae.sample(2, seed=0).save(tmp_path / "samples")
    vae.vary(chords[0], 0.5, 2, seed=0).save(tmp_path / "varied")

    drawn = sorted((tmp_path / "samples").glob("sample-*.wav"))
    assert len(drawn) == 2
    assert all(np.isfinite(read(path)[0]).all() and read(path)[0].any() for path in drawn)
    assert len(sorted((tmp_path / "varied").glob("variation-*.wav"))) == 2


def test_attributes_have_directions_and_a_louder_sound_is_louder(vae: TrainedModel, chords: list[Path]) -> None:
    vectors = vae.attribute_vectors
    assert vectors is not None
    assert "loudness" in vectors.info
    batch = vae.tensor(chords[0])

    softer, louder = (vae.shift(batch, "loudness", amount) for amount in (-1.5, 1.5))

    levels = [float(vae.domain.attributes(part)["loudness"]) for part in (softer, louder)]
    assert levels[0] < levels[1]


def test_a_map_is_coloured_by_sub_folder(vae: TrainedModel, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_chords(tmp_path / "sounds" / name, count=2)

    vae.embed(tmp_path / "sounds").save(tmp_path / "map.csv")

    rows = list(csv.DictReader((tmp_path / "map.csv").read_text().splitlines()))
    assert {row["folder"] for row in rows} == {"sounds/one", "sounds/two"}
    assert (tmp_path / "map.png").is_file()


def test_augmentation_shifts_frequencies_by_a_semitone_at_most() -> None:
    domain = AudioDomain(AudioConfig(representation="magnitude", chunk_s=1.0))
    time_s = torch.arange(domain.config.chunk_samples) / 16_000
    tone = 0.1 * torch.sin(2 * torch.pi * 1_000 * time_s).repeat(64, 1)

    pitch = domain.attributes(domain.tensor(tone, torch.Generator().manual_seed(0)).target)["pitch"]

    plain = domain.attributes(domain.tensor(tone).target)["pitch"][0]
    # A pure tone is now and then measured an octave lower.
    assert (pitch - plain).abs().sort().values[-4] < 1.0
    assert (pitch - plain).abs().mean() > 0.3


def test_phases_of_the_file_make_an_untouched_magnitude_the_file_itself() -> None:
    form = AudioDomain(AudioConfig(representation="magnitude", chunk_s=1.0)).form
    noise = 0.1 * torch.randn(2, form.config.chunk_samples, generator=torch.Generator().manual_seed(0))
    spectrum = signal.stft(noise, n_fft=form.config.n_fft)

    same = form.spectrum_of(form.of_spectrum(spectrum), spectrum)

    assert torch.allclose(same, spectrum, atol=1e-3)
    assert not torch.equal(same, spectrum)
