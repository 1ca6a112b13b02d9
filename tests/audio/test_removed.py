"""What was removed from a sound: with what is left of it, it is the sound; it has the sound's format and peak."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from musicae.audio.loudness import true_peak
from musicae.audio.removed import removed
from musicae.audio.sound import Sound
from musicae.cli import main


def noise(frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((frames, channels))).astype(np.float32)


def test_what_is_left_and_what_was_removed_are_the_sound() -> None:
    before = Sound(noise(100_000), 44_100, name="take", subtype="FLOAT")
    after = Sound(0.25 * before.samples, 44_100, subtype="FLOAT")
    taken = removed(before, after)
    np.testing.assert_allclose(taken.samples + after.samples, before.samples, atol=1e-7)
    assert (taken.name, taken.sample_rate_hz, taken.channels, taken.subtype) == ("take", 44_100, 2, "FLOAT")


def test_what_was_removed_is_no_louder_than_the_sound() -> None:
    before = Sound(noise(20_000), 16_000, subtype="FLOAT")
    taken = removed(before, Sound(-before.samples, 16_000, subtype="FLOAT"))
    assert true_peak(taken.samples) <= true_peak(before.samples) * 10 ** (1 / 20) * 1.001


def test_other_rates_and_channels_are_refused() -> None:
    before = Sound(noise(1_000), 16_000)
    for other in (Sound(noise(1_000), 8_000), Sound(noise(1_000, 1), 16_000), Sound(noise(999), 16_000)):
        with pytest.raises(ValueError, match="of one rate, number of channels and length"):
            removed(before, other)


def test_the_command_writes_what_it_took_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", noise(30_000), 22_050, subtype="PCM_24")
    results = [CliRunner().invoke(main, ["denoise", "a.wav", *more]) for more in ([], ["--noise-only"])]
    assert [result.exit_code for result in results] == [0, 0], results
    left, taken, before = (
        soundfile.read(name, always_2d=True)[0] for name in ("output/a-denoise.wav", "output/a-noise.wav", "a.wav")
    )
    np.testing.assert_allclose(left + taken, before, atol=1e-5)
    assert soundfile.info("output/a-noise.wav").subtype == "PCM_24"


def test_pictures_have_no_noise_to_write(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    result = CliRunner().invoke(main, ["denoise", str(tmp_path / "a.png"), "--noise-only"])
    assert result.exit_code != 0
    assert not (tmp_path / "output").exists()
