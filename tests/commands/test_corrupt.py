"""`corrupt`: a picture made worse, in one way, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from musicae.cli import main
from musicae.starter import starter_file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["corrupt", *arguments])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    y, x = np.mgrid[:60, :90]
    pixels = np.stack([x * 2, y * 4, 255 - x * 2], -1).astype(np.uint8)
    alpha = np.where(x < 45, 255, 128).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([pixels, alpha])).save(path)
    return path


def made(picture: Path, *options: str) -> Image.Image:
    target = picture.with_name("made.png")
    done = run(str(picture), *options, "--out", str(target), "--force")
    assert done.exit_code == 0, done.output
    return Image.open(target)


def test_noise_is_as_strong_as_it_was_asked_for_and_a_seed_fixes_it(tmp_path: Path):
    Image.new("L", (100, 100), 128).save(tmp_path / "grey.png")
    noisy = np.asarray(made(tmp_path / "grey.png", "--noise", "0.1", "--seed", "1")).astype(float)
    assert noisy.std() == pytest.approx(25.5, rel=0.05)
    again = np.asarray(made(tmp_path / "grey.png", "--noise", "0.1", "--seed", "1")).astype(float)
    assert (noisy == again).all()
    assert (noisy != np.asarray(made(tmp_path / "grey.png", "--noise", "0.1"))).any()


@pytest.mark.parametrize("way", ["noise", "speckle", "salt-and-pepper", "blocks"])
def test_the_size_and_what_is_transparent_stay(picture: Path, way: str):
    result = made(picture, f"--{way}", "0.3")
    assert (result.size, result.mode) == ((90, 60), "RGBA")
    before, after = (np.asarray(image) for image in (Image.open(picture), result))
    assert (before[..., 3] == after[..., 3]).all()
    assert (before != after).any()


def test_a_smaller_picture_and_a_compressed_one_are_pillows(tmp_path: Path):
    y, x = np.mgrid[:60, :90]
    original = Image.fromarray(np.stack([x * 2, y * 4, 255 - x * 2], -1).astype(np.uint8))
    original.save(tmp_path / "a.png")
    small = made(tmp_path / "a.png", "--scale", "3")
    wanted = original.resize((30, 20), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(wanted)).max() <= 2
    original.save(tmp_path / "a.jpg", quality=20)
    compressed = made(tmp_path / "a.png", "--quality", "20")
    np.testing.assert_array_equal(np.asarray(compressed), np.asarray(Image.open(tmp_path / "a.jpg")))


@pytest.mark.parametrize(
    ("options", "said"),
    [([], "Choose one of"), (["--noise", "1", "--scale", "2"], "Choose one of"), (["--noise", "-1"], "-1")],
)
def test_one_way_has_to_be_chosen(picture: Path, options: list[str], said: str):
    done = run(str(picture), *options)
    assert done.exit_code == 2
    assert said in done.output


def test_what_is_no_picture_is_refused():
    done = run(str(starter_file("a.mid")), "--noise", "0.1")
    assert done.exit_code == 2
    assert "is no image file" in done.output
