"""Pictures are PNGs of a sensible size, whatever they are given."""

import sys

import numpy as np
import pytest
from PIL import Image

from musicae import plots
from musicae.errors import MusicaeError


def _melody(steps: int = 32, pitch: int = 64) -> np.ndarray:
    roll = np.zeros((128, steps), np.uint8)
    for start in range(0, steps, 4):
        roll[pitch + start % 12, start] = 2
        roll[pitch + start % 12, start + 1 : start + 3] = 1
    return roll


def _pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def _count(pixels: np.ndarray, colour: np.ndarray) -> int:
    return int((np.abs(pixels / 255 - colour).max(-1) < 0.02).sum())


def test_piano_rolls_show_onsets_darker_than_what_is_sustained(tmp_path):
    plots.piano_rolls({"a": [_melody()]}, tmp_path / "a.png")
    pixels = _pixels(tmp_path / "a.png")
    onsets, sustained = _count(pixels, plots._ONSET), _count(pixels, plots._SUSTAIN)
    assert onsets > 500
    # A note here is one step of onset and two of sustain.
    assert sustained / onsets == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize(("rows", "columns", "steps"), [(13, 1, 32), (2, 8, 32), (1, 1, 256), (1, 1, 16), (4, 3, 48)])
def test_piano_rolls_of_any_shape_fit_a_page(tmp_path, rows, columns, steps):
    path = tmp_path / "rolls.png"
    plots.piano_rolls({f"row {row}": [_melody(steps)] * columns for row in range(rows)}, path)
    height, width, _ = _pixels(path).shape
    assert 200 < width < 2600
    assert 100 < height < 2600


def test_piano_rolls_share_a_pitch_axis_cropped_to_what_sounds():
    low, high = _melody(pitch=40), _melody(pitch=80)
    assert plots._pitch_range({"low": [low], "high": [high]}) == (39, 89)
    assert plots._pitch_range({"silent": [np.zeros((128, 16))]}) == (60, 71)
    lowest = np.zeros((128, 16))
    lowest[0, 0] = 2
    assert plots._pitch_range({"lowest": [lowest]}) == (0, 11)
    assert plots._pitch_range({"highest": [lowest[::-1]]}) == (116, 127)


def test_piano_rolls_of_silence_and_of_drums_are_drawn(tmp_path):
    drums = np.zeros((128, 32))
    drums[36, ::8] = drums[38, 4::8] = drums[42, ::2] = 2
    plots.piano_rolls({"silence": [np.zeros((128, 32))], "drums": [drums]}, tmp_path / "both.png")
    assert _count(_pixels(tmp_path / "both.png"), plots._ONSET) > 100


def test_a_roll_without_128_pitches_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\(128, steps\), got \(88, 32\)"):
        plots.piano_rolls({"a": [np.zeros((88, 32))]}, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_image_rows_keep_colours(tmp_path):
    red = np.zeros((8, 8, 3))
    red[..., 0] = 1
    plots.image_rows({"red": [red] * 3, "grey": [np.full((8, 8), 0.5)] * 2}, tmp_path / "rows.png")
    pixels = _pixels(tmp_path / "rows.png")
    assert _count(pixels, np.array([1.0, 0, 0])) / _count(pixels, np.full(3, 0.5)) == pytest.approx(1.5, rel=0.1)


def test_image_rows_take_values_out_of_range_and_rows_of_other_sizes(tmp_path):
    odd = np.array([[np.nan, 2.0], [-1.0, 0.5]])
    plots.image_rows({"odd": [odd], "wide": [np.zeros((4, 400))], "tall": [np.zeros((400, 4))]}, tmp_path / "a.png")
    assert _pixels(tmp_path / "a.png").size


def test_spectrograms_share_one_scale_and_survive_silence(tmp_path):
    loud, silent = np.full((65, 40), -10.0), np.full((65, 40), -np.inf)
    loud[:32] = -60.0
    plots.spectrograms({"loud": [loud], "silent": [silent]}, tmp_path / "a.png", sample_rate_hz=16_000, hop_samples=256)
    plots.spectrograms({"silent": [silent] * 4}, tmp_path / "b.png", sample_rate_hz=8_000, hop_samples=128)
    pixels = _pixels(tmp_path / "a.png")
    assert _count(pixels, np.array([0.988, 0.992, 0.749])) > 1000  # the scale's brightest, half of one picture
    assert _count(pixels, np.array([0.0, 0.0, 0.016])) > 1000


def test_a_spectrogram_of_nothing_but_silence_is_dark(tmp_path):
    silent = np.full((65, 40), -140.0)
    plots.spectrograms({"before": [silent]}, tmp_path / "a.png", sample_rate_hz=16_000, hop_samples=256)
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2] < 10


def test_a_map_of_numbers_has_a_scale_and_one_of_labels_a_legend(tmp_path):
    points = np.random.default_rng(0).standard_normal((300, 2))
    plots.scatter(points, np.linspace(0, 1, 300), tmp_path / "numbers.png", title="density")
    labels = [f"folder {number % 20}" for number in range(300)]  # more than there are colours
    plots.scatter(points, labels, tmp_path / "labels.png", title="folder")
    lowest, highest = np.array([0.267, 0.005, 0.329]), np.array([0.993, 0.906, 0.144])
    numbers = _pixels(tmp_path / "numbers.png")
    assert min(_count(numbers, colour) for colour in (lowest, highest)) > 20
    assert _count(_pixels(tmp_path / "labels.png"), highest) == 0


@pytest.mark.parametrize("points", [np.zeros((1, 2)), np.zeros((5, 2)), np.array([[0.0, 0.0], [1e9, 1e-9]])])
def test_maps_of_few_or_equal_points_are_drawn(tmp_path, points):
    plots.scatter(points, ["one"] * len(points), tmp_path / "a.png", title="file")
    plots.scatter(points, np.zeros(len(points)), tmp_path / "b.png", title="density")
    assert _pixels(tmp_path / "a.png").shape == _pixels(tmp_path / "b.png").shape


def test_nothing_to_draw_is_an_error(tmp_path):
    for draw in (plots.image_rows, plots.piano_rolls):
        with pytest.raises(ValueError, match="at least one row"):
            draw({"empty": []}, tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least one point"):
        plots.scatter(np.zeros((0, 2)), [], tmp_path / "a.png", title="folder")


def test_a_failed_drawing_leaves_the_old_picture_and_no_other_file(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "a.png"
    plots.image_rows({"a": [np.zeros((4, 4))]}, path)
    before = path.read_bytes()

    def full(self, target, **_):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(MusicaeError, match=r"a\.png cannot be written \(No space"):
        plots.image_rows({"a": [np.ones((4, 4))]}, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_drawing_needs_no_pyplot(tmp_path):
    plots.image_rows({"a": [np.zeros((4, 4))]}, tmp_path / "a.png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
