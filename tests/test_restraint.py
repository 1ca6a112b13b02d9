"""How far a denoiser may go, and several files at once."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from PIL import Image

from musicae.audio import stft as signal
from musicae.cli import main
from musicae.errors import MusicaeError
from musicae.inference.transforming import Restraint
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment


@pytest.fixture
def audio(tiny_run) -> TrainedModel:
    return load(tiny_run("audio"), "cpu")


def write_noise(path: Path, seconds: float = 1.5) -> np.ndarray:
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(8000 * seconds)).astype(np.float32)
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    return samples


def test_strength_goes_from_the_file_itself_to_all_that_the_model_does(audio: TrainedModel, tmp_path: Path) -> None:
    given = write_noise(tmp_path / "in.wav")
    heard = {}
    for strength in (0.0, 0.5, 1.0):
        out = audio.denoise(tmp_path / "in.wav", tmp_path / f"{strength}.wav", strength=strength)
        heard[strength] = soundfile.read(out, dtype="float32")[0]
    np.testing.assert_allclose(heard[0.0], given, atol=1e-5)
    np.testing.assert_allclose(heard[0.5], (given + heard[1.0]) / 2, atol=1e-4)
    assert np.abs(heard[1.0] - given).max() > 0.01


def test_nothing_is_turned_down_by_more_than_is_allowed(audio: TrainedModel, tmp_path: Path) -> None:
    write_noise(tmp_path / "in.wav")
    spectrum = audio.read(tmp_path / "in.wav")
    before = signal.magnitude(spectrum)
    free, held = (signal.magnitude(audio.denoise(spectrum, max_attenuation_db=limit)) for limit in (None, 2.0))
    heard = before > 1e-4
    assert (20 * torch.log10(held / before))[heard].min() > -2.001
    assert (20 * torch.log10(free / before))[heard].min() < -3
    above = heard & (free > before * 10 ** (-2 / 20))
    assert torch.allclose(held[above], free[above])


def test_pictures_are_held_back_too_and_notes_and_decibels_of_pictures_are_refused(music, tmp_path: Path) -> None:
    settings = {"widths": (8,), "latent_size": 4, "steps": 3, "evaluate_every": 3, "precision": "no"}
    experiment = Experiment.resolve("image", task="denoise", settings=settings)
    trained = load(experiment.run(tmp_path / "run", experiment.read()), "cpu")
    batch = torch.rand(2, 1, 8, 8)
    assert torch.equal(trained.denoise(batch, strength=0.0), batch)
    torch.testing.assert_close(trained.denoise(batch, strength=0.25), torch.lerp(batch, trained.denoise(batch), 0.25))
    with pytest.raises(MusicaeError, match="only sound is turned down"):
        trained.denoise(batch, max_attenuation_db=6.0)
    with pytest.raises(MusicaeError, match="repaired or left"):
        Restraint(strength=0.5).check(music.domain.spec)
    for wrong in (Restraint(strength=1.5), Restraint(strength=-0.1), Restraint(max_attenuation_db=-1.0)):
        with pytest.raises(ValueError, match=r"strength is between|0 dB or more"):
            wrong.check(trained.domain.spec)
    with pytest.raises(ValueError, match="0 dB or more"):
        Restraint(max_attenuation_db=math.nan).check(trained.domain.spec)


def test_several_files_go_into_a_folder_under_their_names(tiny_run, tmp_path: Path) -> None:
    model = ["--model", str(tiny_run("audio"))]
    for name in ("one", "two"):
        write_noise(tmp_path / f"{name}.wav", 0.7)
    files = [str(tmp_path / f"{name}.wav") for name in ("one", "two")]
    clean = tmp_path / "clean"
    result = CliRunner().invoke(main, ["denoise", *files, *model, "--out", str(clean), "--strength", "0.5"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [str(clean / "one.wav"), str(clean / "two.wav")]
    assert sorted(path.name for path in clean.iterdir()) == ["one.wav", "two.wav"]
    result = CliRunner().invoke(main, ["denoise", files[0], *model, "--out", str(clean)])
    assert result.output.splitlines() == [str(clean / "one.wav")]
    (tmp_path / "other").mkdir()
    write_noise(tmp_path / "other" / "one.wav", 0.7)
    result = CliRunner().invoke(main, ["denoise", files[0], str(tmp_path / "other" / "one.wav"), *model])
    assert result.exit_code == 2
    assert "several files are called one" in result.output
    Image.new("L", (8, 8)).save(tmp_path / "file.png")
    result = CliRunner().invoke(main, ["denoise", *files, *model, "--out", str(tmp_path / "file.png")])
    assert "is a file; --out wants a folder" in result.output
