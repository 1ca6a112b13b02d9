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
from musicae.audio.report import compare
from musicae.audio.sound import Sound
from musicae.cli import main


def test_levels_floor_and_difference_are_those_of_the_files(tmp_path: Path) -> None:
    """Two seconds at −20 dBFS, then two of hiss at −60; the result lacks the hiss and is half as loud."""
    generator = np.random.default_rng(0)
    sound = np.concatenate((0.1 * generator.standard_normal(32_000), 0.001 * generator.standard_normal(32_000)))
    after = np.concatenate((0.5 * sound[:32_000], 0.01 * sound[32_000:]))
    for name, samples in (("in", sound), ("out", after)):
        soundfile.write(tmp_path / f"{name}.wav", np.stack((samples, -samples), 1), 16_000, subtype="FLOAT")
    report = compare(Sound.open(tmp_path / "in.wav"), Sound.open(tmp_path / "out.wav"), 0.4)
    lines = report.lines
    assert lines[0] == "sound: 4.00 s, 16000 Hz, 2 channels, WAV FLOAT -> WAV FLOAT"
    numbers = [[float(found) for found in re.findall(r"-?\d+\.\d+", line)] for line in lines]
    assert numbers[1] == pytest.approx([-23.0, -29.0], abs=0.2)
    assert numbers[2] == pytest.approx([-60.2, -100.2], abs=0.5)
    assert numbers[3] == pytest.approx([-29.0, 25.0], abs=0.2)
    assert lines[4] == "clipped samples before: 0"
    assert lines[5] == "time: 0.4 s, 0.100 of the duration"
    assert np.asarray(report.plot().convert("L")).std() > 10
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in.wav", "out.wav"]


@pytest.mark.parametrize(("subtype", "highest"), [("PCM_U8", 127 / 128), ("PCM_16", 32_767 / 32_768), ("FLOAT", 1.0)])
def test_clipped_samples_are_counted(tmp_path: Path, subtype: str, highest: float) -> None:
    sound = np.zeros(4_000)
    sound[100:107], sound[200:205] = highest, -1.0
    sound[300] = 0.95
    soundfile.write(tmp_path / "in.wav", sound, 8_000, subtype=subtype)
    opened = Sound.open(tmp_path / "in.wav")
    assert "clipped samples before: 12" in compare(opened, opened, 1.0).lines


@pytest.mark.parametrize("frames", [1, 40, 8_000])
def test_silence_and_very_short_sounds_are_reported(frames: int) -> None:
    silence = Sound(np.zeros(frames), 8_000)
    report = compare(silence, silence, 1.0)
    lines = report.lines
    assert lines[1:4] == [
        "level: silence -> silence",
        "noise floor (quietest tenth): silence -> silence",
        "removed: silence, 0.0% of the power",
    ]
    assert report.plot().size[0] > 100


def test_a_long_sound_is_drawn_from_its_beginning() -> None:
    """Noise in the first minute, a tone at 1 kHz after it: only noise is drawn."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(60 * 4_000)
    tone = 0.9 * np.sin(2 * np.pi * 1_000 * np.arange(4_000) / 4_000)
    picture, hop_samples = Sound(np.concatenate((noise, tone)), 4_000).spectrogram_db()
    assert picture.shape[1] * hop_samples == pytest.approx(60 * 4_000, rel=0.01)
    assert picture.shape[1] <= 2_000
    assert picture.max() < -10


def test_sounds_of_different_rates_are_not_compared() -> None:
    with pytest.raises(ValueError, match="of one rate"):
        compare(Sound(np.zeros(10), 8_000), Sound(np.zeros(10), 16_000), 1.0)


def test_the_command_prints_the_report_after_the_path(tiny_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.flac", 0.1 * np.random.default_rng(0).standard_normal(12_000), 8_000)
    result = CliRunner().invoke(main, ["denoise", "in.flac", "--report", "--model", str(tiny_run("audio"))])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "output/in-denoise.flac"
    assert [line.split(":")[0].split(" (")[0] for line in lines[1:]] == [
        "sound", "level", "noise floor", "removed", "clipped samples before", "time", "spectrograms"
    ]  # fmt: skip
    assert "FLAC PCM_16 -> FLAC PCM_16" in lines[1]
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == ["in-denoise.flac", "in-denoise.png"]


def test_a_batch_has_no_noise_profile(tiny_run) -> None:
    trained = musicae.load(tiny_run("audio"), "cpu")
    batch = torch.zeros(1, *trained.domain.spec.shape)
    with pytest.raises(ValueError, match="goes with a sound"):
        trained.denoise(batch, noise_profile="noise.wav")


def test_a_picture_has_no_report_and_nothing_is_computed_for_one(image, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    options = ["--model", str(image.folder), "--report", "--out", str(tmp_path / "b.png")]
    refused = CliRunner().invoke(main, ["denoise", str(tmp_path / "a.png"), *options])
    assert refused.exit_code == 2
    assert "only a sound has a report" in refused.output
    assert not (tmp_path / "b.png").exists()
