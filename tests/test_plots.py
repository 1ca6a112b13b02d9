"""Plots are images of a sensible size, whatever they are given."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from musicae import plots, roll_panel
from musicae.errors import MusicaeError

DRUMS = ("kick", "snare", "hat")


def _melody(steps: int = 32, pitch: int = 64) -> np.ndarray:
    roll = np.zeros((128, steps), np.uint8)
    for start in range(0, steps, 4):
        roll[pitch + start % 12, start] = 2
        roll[pitch + start % 12, start + 1 : start + 3] = 1
    return roll


def _beat(steps: int = 32) -> np.ndarray:
    roll = np.zeros((3, steps), np.uint8)
    roll[0, ::8] = roll[1, 4::8] = roll[2, ::2] = 2
    return roll


def _count(image: Image.Image, colour: tuple[int, int, int] | np.ndarray) -> int:
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return int((np.abs(pixels - np.asarray(colour)).max(-1) < 6).sum())


def test_piano_rolls_show_onsets_darker_than_what_is_sustained():
    image = plots.piano_rolls({"a": [_melody()]})
    onsets, sustained = _count(image, roll_panel.ONSET), _count(image, roll_panel.SUSTAIN)
    assert onsets > 500
    # A note here is one step of onset and two of sustain.
    assert sustained / onsets == pytest.approx(2, abs=0.2)


def test_a_note_is_as_long_and_as_high_as_its_place_on_the_axes():
    roll = np.zeros((128, 32))
    roll[62, 8], roll[62, 9:16] = 2, 1
    panel = roll_panel.RollPanel.fitting([roll], (), rows=1, columns=1)
    pixels = panel.draw(roll, steps_per_bar=16, steps_per_beat=4)
    sounds = (pixels == roll_panel.ONSET).all(-1) | (pixels == roll_panel.SUSTAIN).all(-1)
    rows, columns = np.nonzero(sounds)
    assert (columns.min(), columns.max() + 1) == (panel.place(8), panel.place(16))
    assert panel.place(32) == panel.width
    middle = (rows.min() + rows.max()) / 2
    assert middle / panel.height * (panel.high - panel.low + 1) == pytest.approx(panel.high - 62 + 0.5, abs=0.1)


@pytest.mark.parametrize(("rows", "columns", "steps"), [(13, 1, 32), (2, 8, 32), (1, 1, 256), (1, 1, 16), (4, 3, 48)])
def test_piano_rolls_of_any_shape_fit_a_page(rows, columns, steps):
    width, height = plots.piano_rolls({f"row {row}": [_melody(steps)] * columns for row in range(rows)}).size
    assert 400 < width < 3000  # twice what is shown
    assert 200 < height < 2600


def test_the_longest_pieces_and_the_most_rows_stay_drawable():
    assert max(plots.piano_rolls({"a": [_melody(50_000)]}).size) < 20_000
    assert max(plots.piano_rolls({str(row): [_melody()] for row in range(100)}).size) < 20_000


def test_piano_rolls_share_a_pitch_axis_cropped_to_what_sounds():
    low, high = _melody(pitch=40), _melody(pitch=80)
    assert roll_panel.pitch_range([low, high]) == (39, 89)
    assert roll_panel.pitch_range([np.zeros((128, 16))]) == (60, 71)
    lowest = np.zeros((128, 16))
    lowest[0, 0] = 2
    assert roll_panel.pitch_range([lowest]) == (0, 11)
    assert roll_panel.pitch_range([lowest[::-1]]) == (116, 127)


def test_silence_is_drawn():
    assert _count(plots.piano_rolls({"silence": [np.zeros((128, 32))]}), roll_panel.ONSET) == 0


def test_drums_are_a_line_each_with_hits_on_them():
    panel = roll_panel.RollPanel.fitting([_beat()], DRUMS, rows=1, columns=1)
    assert [name for _, name in panel.ticks(18)] == list(DRUMS)
    pixels = panel.draw(_beat(), steps_per_bar=16, steps_per_beat=4)
    for (y, _), hits in zip(panel.ticks(18), _beat(), strict=True):
        at = [tuple(pixels[y, panel.place(step)]) == roll_panel.ONSET for step in range(32)]
        assert at == list(hits > 0)
    # As wide as high: a hit has no length.
    kick = (pixels[-panel.drum_height :, : panel.place(2)] == roll_panel.ONSET).all(-1)
    rows, columns = np.nonzero(kick)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    assert columns.max() < panel.place(1)


def test_drums_are_named_by_row_by_pitch_and_below_other_instruments():
    by_row = plots.piano_rolls({"a": [_beat()]}, row_names=DRUMS)
    general_midi = np.zeros((128, 32))
    general_midi[[36, 38, 42]] = _beat()
    by_pitch = plots.piano_rolls({"a": [general_midi]}, row_names={36: "kick", 38: "snare", 42: "hat"})
    assert np.array_equal(np.asarray(by_row), np.asarray(by_pitch))
    both = plots.piano_rolls({"a": [np.concatenate([_melody(), _beat()])]}, row_names=DRUMS)
    assert both.height > by_row.height + 100
    assert _count(both, roll_panel.SUSTAIN) > 500
    assert _count(both, roll_panel.ONSET) > _count(by_row, roll_panel.ONSET)


def test_columns_have_names_and_bars_numbers():
    plain = plots.piano_rolls({"a": [_melody()] * 2})
    named = plots.piano_rolls({"a": [_melody()] * 2}, column_names=["-1.28", "1.28"])
    assert named.height > plain.height
    later = plots.piano_rolls({"a": [_melody()] * 2}, first_bar=5)
    different = np.nonzero((np.asarray(later) != np.asarray(plain)).any((1, 2)))[0]
    assert different.min() > plain.height * 0.8


@pytest.mark.parametrize(
    ("shape", "names", "wanted"),
    [
        ((88, 32), (), r"\(128, steps\), got \(88, 32\)"),
        ((128, 32), DRUMS, r"\(3, steps\) or \(131, steps\), got \(128, 32\)"),
        ((3, 32), {36: "kick"}, r"\(128, steps\), got \(3, 32\)"),
        ((128,), (), r"got \(128,\)"),
    ],
)
def test_a_roll_of_another_shape_is_refused(shape, names, wanted):
    with pytest.raises(ValueError, match=wanted):
        plots.piano_rolls({"a": [np.zeros(shape)]}, row_names=names)


def test_image_rows_keep_colours():
    red = np.zeros((8, 8, 3))
    red[..., 0] = 1
    image = plots.image_rows({"red": [red] * 3, "grey": [np.full((8, 8), 0.5)] * 2})
    assert _count(image, (255, 0, 0)) / _count(image, (128, 128, 128)) == pytest.approx(1.5, rel=0.1)


def test_pixels_of_small_pictures_are_squares_of_one_size():
    checks = np.indices((28, 28)).sum(0) % 2
    pixels = np.asarray(plots.image_rows({"": [checks] * 3}).convert("L"))
    line = pixels[pixels.shape[0] // 2]
    black = np.flatnonzero(line < 10)
    lengths = [len(run) for run in np.split(black, np.flatnonzero(np.diff(black) > 1) + 1)]
    assert len(lengths) == 3 * 14
    assert len(set(lengths)) == 1


def test_image_rows_take_values_out_of_range_and_rows_of_other_sizes():
    odd = np.array([[np.nan, 2.0], [-1.0, 0.5]])
    image = plots.image_rows({"odd": [odd], "wide": [np.zeros((4, 400))], "tall": [np.zeros((400, 4))]})
    assert min(image.size) > 100
    assert max(plots.image_rows({"many": [odd] * 300}).size) < 20_000


@pytest.mark.parametrize("columns", [2, 40])
def test_columns_of_pictures_have_names_that_do_not_touch(columns):
    rows = {"0.5": [np.zeros((8, 8))] * columns}
    named = plots.image_rows(rows, column_names=["z1 = -1.28"] * columns)
    plain = plots.image_rows(rows)
    assert named.width == plain.width
    head = np.asarray(named.convert("L"))[: named.height - plain.height + 10] < 128
    assert head.any()
    used = np.flatnonzero(head.any(0))
    gaps = np.diff(used)
    assert len(np.flatnonzero(gaps > 10)) + 1 >= min(columns, 10)  # names, with paper between them


def test_spectrograms_share_one_scale_and_survive_silence():
    loud, silent = np.full((65, 40), -10.0), np.full((65, 40), -np.inf)
    loud[:32] = -60.0
    image = plots.spectrograms({"loud": [loud], "silent": [silent]}, sample_rate_hz=16_000, hop_samples=256)
    assert plots.spectrograms({"silent": [silent] * 4}, sample_rate_hz=8_000, hop_samples=128).size
    assert _count(image, np.array([0.988, 0.992, 0.749]) * 255) > 1000  # the scale's brightest, half of one picture
    assert _count(image, np.array([0.0, 0.0, 0.016]) * 255) > 1000


def test_a_spectrogram_of_nothing_but_silence_is_dark():
    image = plots.spectrograms({"before": [np.full((65, 40), -140.0)]}, sample_rate_hz=16_000, hop_samples=256)
    pixels = np.asarray(image.convert("L"))
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2] < 10


def test_a_map_of_numbers_has_a_scale_and_one_of_labels_a_legend():
    points = np.random.default_rng(0).standard_normal((300, 2))
    numbers = plots.scatter(points, np.linspace(0, 1, 300), title="", colour_label="density")
    labels = [f"folder {number % 20}" for number in range(300)]  # more than there are colours
    named = plots.scatter(points, labels, title="", colour_label="folder")
    lowest, highest = np.array([0.267, 0.005, 0.329]) * 255, np.array([0.993, 0.906, 0.144]) * 255
    assert min(_count(numbers, colour) for colour in (lowest, highest)) > 20
    assert _count(named, highest) == 0


@pytest.mark.parametrize("text", ["title", "x_label", "y_label"])
def test_a_map_says_what_it_shows(text):
    points = np.random.default_rng(0).standard_normal((30, 2))
    without = plots.scatter(points, ["a"] * 30, title="")
    said = plots.scatter(points, ["a"] * 30, **{"title": "", text: "first principal component"})
    assert (np.asarray(said) != np.asarray(without)).any(-1).sum() > 200


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((1, 2)),
        np.zeros((5, 2)),
        np.full((3, 2), [-2.1e-7, -4e-23]),
        np.array([[0.0, 0.0], [1e9, 1e-9]]),
    ],
)
def test_maps_of_few_or_equal_points_are_drawn(points, caplog):
    by_label = plots.scatter(points, ["one"] * len(points), title="file")
    assert by_label.size == plots.scatter(points, np.zeros(len(points)), title="density").size
    assert not caplog.records


def test_nothing_to_draw_is_an_error():
    for draw in (plots.image_rows, plots.piano_rolls):
        with pytest.raises(ValueError, match="at least one row"):
            draw({"empty": []})
    with pytest.raises(ValueError, match="at least one point"):
        plots.scatter(np.zeros((0, 2)), [], title="folder")


def test_labels_of_any_length_and_script_are_written():
    long, short = ({label: [_melody()]} for label in ("Ünïcödé ♯♭ 音 " * 40, "a"))
    assert plots.piano_rolls(long).width < plots.piano_rolls(short).width + 1200
    two_lines = plots.image_rows({"first line\nsecond": [np.zeros((8, 8))]})
    assert _count(two_lines, roll_panel.INK) > 50


def test_a_failed_write_leaves_the_old_picture_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    assert plots.save_png(plots.image_rows({"a": [np.zeros((4, 4))]}), path) == path
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    before = path.read_bytes()

    def full(self, target, **_):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(MusicaeError, match=r"a\.png cannot be written \(No space"):
        plots.save_png(Image.new("L", (4, 4)), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_the_louder_a_note_the_darker_its_onset():
    def lightness(value):
        roll = np.zeros((128, 4), np.uint8)
        panel = roll_panel.RollPanel.fitting([roll], (), rows=1, columns=1)
        empty = panel.draw(roll, steps_per_bar=4, steps_per_beat=4).astype(int)
        roll[64, 1] = value
        drawn = panel.draw(roll, steps_per_bar=4, steps_per_beat=4).astype(int)
        return drawn[(drawn != empty).any(2)].mean()

    by_velocity = [lightness(roll_panel.FIRST_VELOCITY + velocity) for velocity in (1, 40, 64, 100, 127)]
    assert by_velocity == sorted(by_velocity, reverse=True) and len(set(by_velocity)) == 5
    assert by_velocity[0] > lightness(2) > by_velocity[-1]


def test_rolls_and_pictures_are_drawn_without_matplotlib():
    code = (
        "import sys, numpy as np; from musicae import plots; "
        "plots.piano_rolls({'a': [np.ones((128, 16))]}); plots.image_rows({'a': [np.ones((8, 8))]}); "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_maps_need_no_pyplot():
    plots.scatter(np.zeros((3, 2)), ["a", "b", "c"], title="file")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
