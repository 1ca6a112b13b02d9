"""`--report`: what was measured on a file and on its result, and a picture of both."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from PIL import Image

import musicae
from musicae.audio.report import report_lines
from musicae.cli import main
from musicae.errors import MusicaeError
from musicae.trained import load
from musicae.training.experiment import Experiment


def test_levels_floor_and_difference_are_those_of_the_files(tmp_path: Path) -> None:
    """Two seconds at −20 dBFS, then two of hiss at −60; the result lacks the hiss and is half as loud."""
    generator = np.random.default_rng(0)
    sound = np.concatenate((0.1 * generator.standard_normal(32_000), 0.001 * generator.standard_normal(32_000)))
    after = np.concatenate((0.5 * sound[:32_000], 0.01 * sound[32_000:]))
    for name, samples in (("in", sound), ("out", after)):
        soundfile.write(tmp_path / f"{name}.wav", np.stack((samples, -samples), 1), 16_000, subtype="FLOAT")
    lines = report_lines(tmp_path / "in.wav", tmp_path / "out.wav", 0.4)
    assert lines[0] == "sound: 4.00 s, 16000 Hz, 2 channels, WAV FLOAT -> WAV FLOAT"
    numbers = [[float(found) for found in re.findall(r"-?\d+\.\d+", line)] for line in lines]
    assert numbers[1] == pytest.approx([-23.0, -29.0], abs=0.2)
    assert numbers[2] == pytest.approx([-60.2, -100.2], abs=0.5)
    assert numbers[3] == pytest.approx([-29.0, 25.0], abs=0.2)
    assert lines[4] == "clipped samples before: 0"
    assert lines[5] == "time: 0.4 s, 0.100 of the duration"
    assert lines[6] == f"spectrograms: {tmp_path / 'out.png'} (all of it)"
    with Image.open(tmp_path / "out.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


@pytest.mark.parametrize(("subtype", "highest"), [("PCM_U8", 127 / 128), ("PCM_16", 32_767 / 32_768), ("FLOAT", 1.0)])
def test_clipped_samples_are_counted(tmp_path: Path, subtype: str, highest: float) -> None:
    sound = np.zeros(4_000)
    sound[100:107], sound[200:205] = highest, -1.0
    sound[300] = 0.95
    soundfile.write(tmp_path / "in.wav", sound, 8_000, subtype=subtype)
    assert "clipped samples before: 12" in report_lines(tmp_path / "in.wav", tmp_path / "in.wav", 1.0)


@pytest.mark.parametrize("frames", [1, 40, 8_000])
def test_silence_and_very_short_sounds_are_reported(tmp_path: Path, frames: int) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(frames), 8_000)
    lines = report_lines(tmp_path / "in.wav", tmp_path / "in.wav", 1.0)
    assert lines[1:4] == [
        "level: silence -> silence",
        "noise floor (quietest tenth): silence -> silence",
        "removed: silence, 0.0% of the power",
    ]


def test_a_long_sound_is_drawn_from_its_beginning(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", 0.1 * np.random.default_rng(0).standard_normal(61 * 4_000), 4_000)
    assert report_lines(tmp_path / "in.wav", tmp_path / "in.wav", 1.0)[-1].endswith("in.png (first 60 s)")


def test_the_command_prints_the_report_after_the_path(tiny_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.flac", 0.1 * np.random.default_rng(0).standard_normal(12_000), 8_000)
    result = CliRunner().invoke(main, ["denoise", "in.flac", "--report", "--model", str(tiny_run("audio"))])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "in-denoise.flac"
    assert [line.split(":")[0].split(" (")[0] for line in lines[1:]] == [
        "sound", "level", "noise floor", "removed", "clipped samples before", "time", "spectrograms"
    ]  # fmt: skip
    assert "FLAC PCM_16 -> FLAC PCM_16" in lines[1]
    assert sorted(path.name for path in tmp_path.glob("in-*")) == ["in-denoise.flac", "in-denoise.png"]


def test_an_older_picture_is_replaced_as_an_older_result_is(tiny_run, tmp_path: Path) -> None:
    trained = load(tiny_run("audio"), "cpu")
    soundfile.write(tmp_path / "in.wav", 0.1 * np.random.default_rng(0).standard_normal(4_000), 8_000)
    for name in ("out.wav", "out.png"):
        (tmp_path / name).write_text("old")

    trained.denoise(tmp_path / "in.wav", tmp_path / "out.wav", report=True)

    assert soundfile.info(tmp_path / "out.wav").frames == 4_000
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(tiny_run, tmp_path: Path) -> None:
    trained = load(tiny_run("audio"), "cpu")
    soundfile.write(tmp_path / "in.wav", np.zeros(4_000), 8_000)
    (tmp_path / "out.png").mkdir()

    with pytest.raises(MusicaeError, match=r"out\.png is a folder"):
        trained.denoise(tmp_path / "in.wav", tmp_path / "out.wav", report=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "out.png"]
    trained.denoise(tmp_path / "in.wav", tmp_path / "out.wav")
    assert (tmp_path / "out.wav").is_file()


def test_pictures_have_neither_report_nor_noise_profile(tmp_path: Path) -> None:
    settings = {"widths": (8,), "latent_size": 4, "steps": 1, "evaluate_every": 1, "precision": "no"}
    experiment = Experiment.resolve("image", task="denoise", settings=settings)
    trained = load(experiment.run(tmp_path / "run", experiment.read()), "cpu")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for asked, sentence in (
        ({"report": True}, "leave --report out"),
        ({"noise_profile": "x"}, "leave --noise-profile"),
    ):
        with pytest.raises(MusicaeError, match=sentence):
            trained.denoise(tmp_path / "a.png", tmp_path / "out.png", **asked)
    assert not (tmp_path / "out.png").exists()


def test_a_batch_has_neither(tiny_run) -> None:
    trained = musicae.load(tiny_run("audio"), "cpu")
    batch = torch.zeros(1, *trained.domain.spec.shape)
    for asked in ({"report": True}, {"noise_profile": "noise.wav"}):
        with pytest.raises(ValueError, match="go with a file"):
            trained.denoise(batch, **asked)
