"""What is done with a trained model beyond coding and decoding: long pieces, squares, songs, variations, maps."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from midi_notes import notes
from own_domains import CountedMusic, ToldMusic
from PIL import Image
from symusic import Score

from musicae.data.dataset import load_dataset
from musicae.errors import DamagedFileError, MusicaeError
from musicae.inference.attribute_vectors import fit
from musicae.inference.coder import Coder
from musicae.inference.latent_map import flattened
from musicae.models import StepsAutoencoder
from musicae.models.steps import StepsConfig
from musicae.music.domain import MusicConfig
from musicae.starter import starter_file
from musicae.trained import TrainedModel

Run = Callable[[str], Path]
A, B = starter_file("a.mid"), starter_file("b.mid")


@pytest.fixture
def told(music: TrainedModel) -> TrainedModel:
    """An untrained model that is told letters; at random, it decodes each letter differently."""
    domain = ToldMusic(MusicConfig())
    sizes = {"latent_size": 8, "width": 32, "step_width": 16, "embedding": 8, "unrolled": 8}
    model = StepsAutoencoder(domain.spec, StepsConfig(**sizes))
    for embedding in (model.told_encoder, model.told_decoder):
        torch.nn.init.normal_(embedding.weight, std=5.0)
    return TrainedModel(model, domain, music.manifest, "cpu")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".musicae-cache"))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def repeated(source: Path, target: Path, times: int) -> Path:
    """Writes a file's notes `times` times, one after the other."""
    score = Score(str(source)).copy()
    length = -(-score.end() // (4 * score.tpq)) * 4 * score.tpq
    for track in score.tracks:
        once = [(note.time, note.duration, note.pitch, note.velocity) for note in track.notes]
        for time in range(1, times):
            for start, duration, pitch, velocity in once:
                track.notes.append(type(track.notes[0])(start + time * length, duration, pitch, velocity))
    score.dump_midi(str(target))
    return target


# Samples


def test_a_length_in_bars_gives_pieces_of_consecutive_windows(music, tmp_path):
    batch = music.sample(3, length=7, seed=1)
    assert batch.shape == (3, 4, *music.domain.spec.shape)
    assert music.remarks == ["7 bars become 8, a multiple of the model's 2"]
    whole = music.sample(3, length=7, seed=1, out=tmp_path / "out")
    assert whole == tmp_path / "out" / "samples.mid"
    pieces = [f"sample-{number:02d}.{kind}" for number in (1, 2, 3) for kind in ("mid", "png", "wav")]
    assert names(whole.parent) == sorted([*pieces, "samples.mid"])
    music.domain.write(batch[1], tmp_path / "second.mid")
    assert notes(whole.with_name("sample-02.mid")) == notes(tmp_path / "second.mid")
    assert 16 < max(end for _, end, _ in notes(tmp_path / "second.mid")) <= 32


def test_neighbouring_windows_of_a_piece_are_alike_and_distant_ones_are_not(music):
    pieces = music.sample(60, length=16, seed=2, temperature=0)
    same = (pieces[:, :, None] == pieces[:, None]).float().mean(dim=(0, 3, 4))  # (windows, windows)
    near, far = same.diagonal(1).mean(), same.diagonal(6).mean()
    assert near > far + 0.03


def test_one_window_of_a_length_is_a_sample(music):
    assert torch.equal(music.sample(2, length=2, seed=5)[:, 0], music.sample(2, seed=5))


def test_a_low_top_p_draws_what_is_most_probable(music):
    greedy = music.sample(4, seed=3, temperature=0)
    assert torch.equal(music.sample(4, seed=3, top_p=1e-6), greedy)
    assert not torch.equal(music.sample(4, seed=3), greedy)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": -0.1}, "temperature is a number of 0 or more, got -0.1"),
        ({"temperature": float("inf")}, "temperature is a number of 0 or more, got inf"),
        ({"top_p": 0.0}, "top_p is above 0 and at most 1, got 0"),
        ({"top_p": 1.5}, "top_p is above 0 and at most 1, got 1.5"),
        ({"length": 0}, "length is 1 bar or more, got 0"),
        ({"count": 900, "length": 1000}, "900 pieces of 500 windows are more than 10000"),
    ],
)
def test_bad_arguments_of_a_piece_are_named(music, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        music.sample(**settings)


def test_pictures_have_no_length_in_bars(image):
    with pytest.raises(MusicaeError, match="image has no bars to count a length in"):
        image.sample(length=4)


# What a model is told


def test_a_model_follows_what_it_is_told_and_keeps_the_code(told, tmp_path):
    a, b = (told.sample(3, seed=1, temperature=0, chords=letter) for letter in "ab")
    assert not torch.equal(a, b)
    changing = told.sample(3, seed=1, temperature=0, length=4, chords="ab")
    assert torch.equal(changing[:, 0], a)
    batch = told.sample(2, seed=2)
    z = told.encode(batch)
    assert torch.equal(told.reconstruct(batch, chords="b"), told.decode(z, chords="b"))
    assert not torch.equal(told.reconstruct(batch, chords="b"), told.reconstruct(batch))
    for letter in "ab":
        told.reconstruct(A, tmp_path / f"{letter}.mid", chords=letter)
    assert notes(tmp_path / "a.mid") != notes(tmp_path / "b.mid")


def test_a_path_is_told_at_each_end_what_its_file_says(told, tmp_path):
    told.interpolate(A, B, 4, out=tmp_path / "path")
    for step, file in (("step-01.mid", A), ("step-04.mid", B)):
        selected = told.domain.to_batch(torch.from_numpy(told.domain.select(file).example))
        told.domain.write(told.model.reconstruct(selected.target, condition=selected.condition), tmp_path / "end.mid")
        assert notes(tmp_path / "path" / step) == notes(tmp_path / "end.mid")


def test_a_model_that_is_told_nothing_says_which_would_follow_chords(music, image, tmp_path):
    for refused in (
        lambda: music.sample(chords="C F G Am"),
        lambda: music.reconstruct(A, tmp_path / "out.mid", chords="C"),
        lambda: image.sample(chords="C"),
    ):
        with pytest.raises(MusicaeError, match="chords=true"):
            refused()
    assert names(tmp_path) == []


# Paths


def test_a_path_between_identical_files_is_of_equal_steps_and_says_so(music, tmp_path):
    whole = music.interpolate(A, A, 3, out=tmp_path / "path")
    steps = [notes(whole.with_name(f"step-0{number}.mid")) for number in (1, 2, 3)]
    assert steps[0] == steps[1] == steps[2] != []
    assert "both ends are the same to the model, so every step is the same" in music.remarks
    music.interpolate(A, B, 3, out=tmp_path / "other")
    assert not any("the same" in remark for remark in music.remarks)


def test_a_shorter_result_leaves_nothing_of_a_longer_one_and_no_file_of_the_users(music, tmp_path):
    music.interpolate(A, B, 4, out=tmp_path)
    (tmp_path / "step-04.txt").write_text("my notes")
    (tmp_path / "step-2024.mid").write_bytes(A.read_bytes())  # not numbered as ours are
    (tmp_path / "mine.mid").write_bytes(B.read_bytes())
    music.interpolate(A, B, 2, out=tmp_path)
    steps = [name for name in names(tmp_path) if name.startswith("step")]
    assert steps == ["step-01.mid", "step-02.mid", "step-04.txt", "step-2024.mid"]
    music.sample(3, seed=0, out=tmp_path)
    music.sample(2, seed=0, length=4, out=tmp_path)  # pieces of several windows have no sound and picture in common
    assert not {"samples.wav", "samples.png", "sample-03.mid"} & set(names(tmp_path))
    assert {"samples.mid", "step-01.mid", "mine.mid"} <= set(names(tmp_path))


def test_a_square_has_the_reconstructions_in_its_corners(music, tmp_path):
    files = [tmp_path / f"{name}.mid" for name in "abcd"]
    for file, window in zip(files, music.sample(4, seed=8).split(1), strict=True):
        music.domain.write(window, file)
    whole = music.interpolate_corners(*files, 3, out=tmp_path / "out")
    columns = ["column-01.mid", "column-02.mid", "column-03.mid"]
    assert names(whole.parent) == sorted([*columns, "square.mid", "square.png", "square.wav"])
    music.interpolate(files[0], files[1], 3, spacing="uniform", out=tmp_path / "path")
    assert notes(whole.with_name("column-01.mid")) == notes(tmp_path / "path" / "interpolation.mid")
    music.interpolate(files[2], files[3], 3, spacing="uniform", out=tmp_path / "path")
    assert notes(whole.with_name("column-03.mid")) == notes(tmp_path / "path" / "interpolation.mid")
    in_a_row = [
        (start + 24 * number, end + 24 * number, pitch)
        for number, column in enumerate(columns)
        for start, end, pitch in notes(whole.with_name(column))
    ]
    assert notes(whole) == sorted(in_a_row)


def test_a_square_of_pictures_is_one_picture(image, tmp_path):
    sheet = image.sample(4, seed=0, out=tmp_path / "samples")
    files = [sheet.with_name(f"sample-0{number}.png") for number in (1, 2, 3, 4)]
    whole = image.interpolate_corners(*files, 4, out=tmp_path / "square")
    with Image.open(whole) as drawn:
        assert min(drawn.size) > 100
    with pytest.raises(ValueError, match="steps is between 2 and 31, got 32"):
        image.interpolate_corners(*files, 32)


def test_whole_songs_are_joined_window_by_window(music, tmp_path):
    longer = repeated(B, tmp_path / "longer.mid", times=3)
    steps = music.interpolate_songs(A, longer, 3, out=tmp_path / "path")
    assert [path.name for path in steps] == ["step-01.mid", "step-02.mid", "step-03.mid"] == names(tmp_path / "path")
    assert any(remark.startswith("a is shorter and repeated") for remark in music.remarks)
    music.reconstruct(longer, tmp_path / "end.mid")
    assert notes(steps[2]) == notes(tmp_path / "end.mid")
    music.reconstruct(A, tmp_path / "start.mid")
    start = [note for note in notes(tmp_path / "start.mid") if note[1] <= 8]
    assert [note for note in notes(steps[0]) if note[1] <= 8] == start != []
    assert notes(steps[1]) not in (notes(steps[0]), notes(steps[2]))
    ends = [max(end for _, end, _ in notes(path)) for path in steps]
    assert max(ends) - min(ends) <= 8


def test_whole_songs_that_are_equal_say_so_and_a_bad_one_leaves_nothing(music, tmp_path):
    steps = music.interpolate_songs(A, A, 2, out=tmp_path / "path")
    assert notes(steps[0]) == notes(steps[1]) != []
    assert music.remarks == ["both files are the same to the model, so every step is the same"]
    (tmp_path / "bad.mid").write_text("text")
    with pytest.raises(DamagedFileError, match=r"bad\.mid"):
        music.interpolate_songs(A, tmp_path / "bad.mid", 2, out=tmp_path / "none")
    assert names(tmp_path) == ["bad.mid", "path"]


# Variations


def test_variations_lie_as_far_from_the_file_as_was_asked(music, tmp_path):
    def shares(amount: float) -> list[float]:
        whole = music.vary(A, amount, 12, seed=1, out=tmp_path / f"{amount}")
        original = set(notes(whole.with_name("reconstruction.mid")))
        files = [whole.with_name(f"variation-{number:02d}.mid") for number in range(1, 13)]
        return [len(original & set(notes(file))) / len(original) for file in files]

    means = [float(np.mean(shares(amount))) for amount in (0.0, 0.15, 0.5, 1.0)]
    assert means[0] == 1
    assert means == sorted(means, reverse=True)
    assert means[1] > means[3] + 0.1


def test_a_variation_at_the_full_amount_is_a_sample_that_knows_nothing_of_the_file(music, tmp_path):
    for file in (A, B):
        music.vary(file, 1.0, 3, seed=4, out=tmp_path / file.stem)
    for number in (1, 2, 3):
        first, second = (notes(tmp_path / name / f"variation-0{number}.mid") for name in "ab")
        assert first == second != []


def test_variations_tell_their_distance(music, tmp_path):
    whole = music.vary(A, 0.25, 2, seed=0, out=tmp_path / "out", choice={"bar": 3})
    assert whole.name == "variations.mid"
    assert music.remarks[0].startswith("bars 3–4 of track ")
    assert "at amount 0.25" in music.remarks[0] and "against the reconstruction: accuracy" in music.remarks[0]
    assert len(names(tmp_path / "out")) == 6


@pytest.mark.parametrize("amount", [-0.1, 1.1])
def test_an_amount_out_of_range_is_refused(music, tmp_path, amount):
    with pytest.raises(ValueError, match="amount is between 0 and 1"):
        music.vary(A, amount, out=tmp_path / "out")
    assert names(tmp_path) == []


# Attributes


@pytest.fixture
def counted(music: TrainedModel, tmp_path: Path) -> TrainedModel:
    """The small melody model with attributes to count, and their vectors."""
    domain = CountedMusic(music.domain.config)
    folder = tmp_path / ".musicae-cache" / "vectors"
    folder.mkdir(parents=True)
    fit(Coder(music.model, domain, "reconstruct", music.device), load_dataset(domain, ())).save(folder)
    return TrainedModel(music.model, domain, music.manifest, "cpu", folder)


def test_a_file_is_measured_by_its_windows(counted, tmp_path):
    stored = torch.from_numpy(counted.domain.read(A).examples)
    expected = counted.domain.attributes(counted.domain.to_tensor(stored))
    each = counted.attributes(A, each_window=True)
    assert each.names == ("density", "height", "off_beat")
    assert each.windows == tuple(range(1, len(stored) + 1)) and set(each.files) == {"a.mid"}
    np.testing.assert_allclose(each.values, torch.stack(list(expected.values()), 1))
    table = counted.attributes(A, B)
    assert (table.files, table.windows[0]) == (("a.mid", "b.mid"), len(stored))
    np.testing.assert_allclose(table.values[0], each.values.mean(0))
    assert [line.split()[0] for line in table.text().splitlines()] == ["file", "a.mid", "b.mid"]
    rows = read_csv(table.write(tmp_path / "deep" / "table.csv"))
    assert list(rows[0]) == ["file", "windows", "density", "height", "off_beat"]
    assert float(rows[1]["height"]) == pytest.approx(table.values[1, 1])


def test_an_object_is_measured_as_its_file_is(counted):
    midi = pretty_midi.PrettyMIDI(str(A))
    np.testing.assert_array_equal(counted.attributes(midi).values, counted.attributes(A).values)


def test_a_shifted_file_has_more_or_less_of_its_attribute_and_says_so(counted, tmp_path):
    counts = {}
    for amount in (-1.0, 0.0, 1.0):
        out = counted.shift(A, "density", amount, tmp_path / f"{amount}.mid")
        counts[amount] = len(notes(out))
        assert counted.remarks[0].startswith("density: ") and counted.remarks[0].endswith(" shifted")
        assert counted.remarks[1].startswith("changes in standard deviations: density ")
        change = float(counted.remarks[1].split("density ")[1].split(",")[0])
        assert (change > 0.3, change == 0, change < -0.3) == (amount > 0, amount == 0, amount < 0)
    assert counts[-1.0] < counts[0.0] < counts[1.0]
    counted.reconstruct(A, tmp_path / "plain.mid")
    assert notes(tmp_path / "0.0.mid") == notes(tmp_path / "plain.mid")


def test_an_attribute_out_of_reach_is_said_to_be(counted, tmp_path):
    vectors = counted.attribute_vectors
    assert vectors is not None and counted.folder is not None
    weak = vectors.info["height"].model_copy(update={"effects": {**vectors.info["height"].effects, "height": 0.02}})
    vectors._replace(info={**vectors.info, "height": weak}).save(counted.folder)
    told = "this model hardly moves height: on its training data an amount of 1 changed it by 0.02"
    counted.shift(A, "height", 1.0, tmp_path / "out.mid")
    assert counted.remarks[2:] == [told]
    counted.shift(A, "density", 1.0, tmp_path / "out.mid")
    assert told not in counted.remarks


def test_an_attribute_that_went_the_other_way_is_said_to_have(counted, tmp_path):
    vectors = counted.attribute_vectors
    told = "density went the other way"
    counted.shift(A, "density", 1.0, tmp_path / "out.mid")
    assert not any(told in remark for remark in counted.remarks)
    vectors._replace(vectors={name: -vector for name, vector in vectors.vectors.items()}).save(counted.folder)
    counted.shift(A, "density", 1.0, tmp_path / "out.mid")
    assert any(told in remark for remark in counted.remarks)


def test_a_model_without_vectors_and_an_unknown_attribute_are_named(counted, tmp_path):
    with pytest.raises(MusicaeError, match=r"unknown attribute 'heigt'. Did you mean 'height'"):
        counted.shift(A, "heigt", 1.0, tmp_path / "out.mid")
    counted.folder = None
    with pytest.raises(MusicaeError, match="this model has no attribute vectors; train it anew"):
        counted.shift(A, "density", 1.0, tmp_path / "out.mid")
    assert names(tmp_path) == []


def test_what_comes_out_silent_is_written_and_told(counted, tmp_path):
    with torch.no_grad():
        bias = counted.model.head[-1].bias
        before = bias.clone()
        bias[0] += 1e6  # whatever the code, every step holds
    whole = counted.sample(2, seed=0, out=tmp_path / "samples")
    assert counted.remarks == ["sample-01.mid: silent", "sample-02.mid: silent"]
    assert notes(whole) == []
    counted.reconstruct(A, tmp_path / "out.mid")
    assert counted.remarks == ["out.mid: silent"]
    counted.interpolate_songs(A, B, 2, out=tmp_path / "songs")
    assert "step-02.mid: silent" in counted.remarks
    with torch.no_grad():
        bias.copy_(before)
    counted.reconstruct(A, tmp_path / "out.mid")
    assert counted.remarks == []


def test_a_map_is_coloured_by_attributes_and_labels(counted, tmp_path):
    table, picture = counted.embed(A, B, out=tmp_path / "map.csv", colour="density")
    expected = [*counted.attributes(A, B, each_window=True).values[:, 0]]
    assert [float(row["density"]) for row in read_csv(table)] == pytest.approx(expected)
    assert picture.stat().st_size > 1000
    table, _ = counted.embed(A, B, out=tmp_path / "map.csv", colour="last")
    assert {row["last"] for row in read_csv(table)} <= {"high", "low"}


# Tables and maps


def test_codes_are_brought_to_two_dimensions_as_scikit_learn_would():
    from sklearn.decomposition import PCA

    codes = np.random.default_rng(0).standard_normal((50, 6)) * [1, 2, 3, 4, 5, 6] + 7
    np.testing.assert_allclose(flattened(codes, "pca"), PCA(2, svd_solver="full").fit_transform(codes), atol=1e-9)
    np.testing.assert_allclose(flattened(codes, "latent"), codes[:, [5, 4]])
    assert flattened(codes, "tsne").shape == (50, 2)
    np.testing.assert_array_equal(flattened(codes, "tsne", 1), flattened(codes, "tsne", 1))


@pytest.mark.parametrize("points", [1, 2])
def test_a_map_of_few_or_equal_points_is_finite(points):
    for codes in (np.ones((points, 4)), np.arange(4.0 * points).reshape(points, 4)):
        for method in ("pca", "latent"):
            assert np.isfinite(flattened(codes, method)).all()
        with pytest.raises(MusicaeError, match="t-SNE needs at least 4 points"):
            flattened(codes, "tsne")


def test_a_folder_becomes_a_table_and_a_picture(music, tmp_path):
    for folder, source in (("one", A), ("two", B)):
        (tmp_path / "songs" / folder).mkdir(parents=True)
        (tmp_path / "songs" / folder / source.name).write_bytes(source.read_bytes())
    (tmp_path / "songs" / "bad.mid").write_text("text")
    table, picture = music.embed(tmp_path / "songs", out=tmp_path / "map.csv")
    rows = read_csv(table)
    assert list(rows[0]) == ["file", "window", "x", "y", "folder"]
    assert {(row["file"], row["folder"]) for row in rows} == {
        ("songs/one/a.mid", "songs/one"),
        ("songs/two/b.mid", "songs/two"),
    }
    assert [int(row["window"]) for row in rows if row["folder"] == "songs/one"][:3] == [1, 2, 3]
    assert len({(row["x"], row["y"]) for row in rows}) > 10  # a tune repeats itself
    assert len(music.remarks) == 1 and music.remarks[0].startswith("songs/bad.mid: left out: ")
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 500
    table, _ = music.embed(tmp_path / "songs", out=tmp_path / "files.csv", each_file=True, colour="file")
    assert [row["window"] for row in read_csv(table)] == ["0", "0"]


def test_a_map_without_windows_or_with_an_unknown_colour_is_refused(music, image, tmp_path):
    with pytest.raises(MusicaeError, match=r"unknown colour 'foldr'. Did you mean 'folder'"):
        music.embed(A, out=tmp_path / "map.csv", colour="foldr")
    with pytest.raises(MusicaeError, match="would be both table and picture"):
        music.embed(A, out=tmp_path / "map.png")
    with pytest.raises(MusicaeError, match="no music files in"):
        (tmp_path / "empty").mkdir()
        music.embed(tmp_path / "empty", out=tmp_path / "map.csv")
    with pytest.raises(MusicaeError, match="is no image file"):
        image.embed(A, out=tmp_path / "map.csv")
    assert names(tmp_path) == ["empty"]


def test_pictures_have_no_attributes_to_measure_or_to_shift(image, tmp_path):
    sheet = image.sample(1, seed=0, out=tmp_path / "samples").with_name("sample-01.png")
    for refused in (lambda: image.attributes(sheet), lambda: image.shift(sheet, "density", 1.0, tmp_path / "out.png")):
        with pytest.raises(MusicaeError, match="image knows no attributes; models of these domains do: "):
            refused()
    assert names(tmp_path) == ["samples"]


def test_many_pictures_are_a_sheet_and_a_few_a_row(image, tmp_path):
    sizes = {}
    for count in (4, 40):
        with Image.open(image.sample(count, seed=0, out=tmp_path / str(count))) as picture:
            sizes[count] = picture.size
    width, height = image.domain.spec.shape[2], image.domain.spec.shape[1]
    assert sizes[40] == (16 * width, 3 * height)
    assert sizes[4][0] > 100
