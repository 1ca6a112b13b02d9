"""Maps of media objects: two dimensions, colours, the table and the picture."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from own_domains import CountedMusic
from PIL import Image
from sklearn.decomposition import PCA

import musicae
from musicae.errors import MusicaeError
from musicae.inference.embed import LatentMap, check_map, reduced
from musicae.music.piece import Piece
from musicae.starter import starter_file
from musicae.trained import TrainedModel

A, B = starter_file("a.mid"), starter_file("b.mid")


@pytest.fixture
def counted(music: TrainedModel) -> TrainedModel:
    """The small melody model with attributes that are easy to count."""
    return TrainedModel(music.network, CountedMusic(music.domain.config), music.manifest, "cpu")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".musicae-cache"))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# Two dimensions


def test_codes_are_brought_to_two_dimensions_as_scikit_learn_would() -> None:
    codes = np.random.default_rng(0).standard_normal((50, 6)) * [1, 2, 3, 4, 5, 6] + 7
    np.testing.assert_allclose(reduced(codes, "pca"), PCA(2, svd_solver="full").fit_transform(codes), atol=1e-9)
    np.testing.assert_allclose(reduced(codes, "latent"), codes[:, [5, 4]])
    assert reduced(codes, "tsne").shape == (50, 2)
    np.testing.assert_array_equal(reduced(codes, "tsne", 1), reduced(codes, "tsne", 1))


@pytest.mark.parametrize("points", [1, 2])
def test_a_map_of_few_or_equal_points_is_finite(points: int) -> None:
    for codes in (np.ones((points, 4)), np.arange(4.0 * points).reshape(points, 4), np.ones((points, 1))):
        for method in ("pca", "latent"):
            assert reduced(codes, method).shape == (points, 2)
            assert np.isfinite(reduced(codes, method)).all()
        with pytest.raises(MusicaeError, match="t-SNE needs at least 4 points"):
            reduced(codes, "tsne")


# Maps of media objects


def test_a_folder_becomes_a_table_and_a_picture(music: TrainedModel, tmp_path: Path) -> None:
    for folder, source in (("one", A), ("two", B)):
        (tmp_path / "songs" / folder).mkdir(parents=True)
        (tmp_path / "songs" / folder / source.name).write_bytes(source.read_bytes())
    (tmp_path / "songs" / "bad.mid").write_text("text")
    found = music.embed(tmp_path / "songs")
    table, picture = found.save(tmp_path / "maps" / "map.csv")
    assert names(tmp_path / "maps") == ["map.csv", "map.png"]
    rows = read_csv(table)
    assert list(rows[0]) == ["file", "window", "x", "y", "folder"]
    assert {(row["file"], row["folder"]) for row in rows} == {
        ("songs/one/a.mid", "songs/one"),
        ("songs/two/b.mid", "songs/two"),
    }
    assert [int(row["window"]) for row in rows if row["folder"] == "songs/one"][:3] == [1, 2, 3]
    assert len({(row["x"], row["y"]) for row in rows}) > 10  # a tune repeats itself
    np.testing.assert_allclose([[float(row["x"]), float(row["y"])] for row in rows], found.points)
    assert len(found.remarks) == 1 and found.remarks[0].startswith("songs/bad.mid: left out: ")
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 500
    each = music.embed(tmp_path / "songs", each_file=True, colour="file")
    assert (each.windows, each.colours) == ([0, 0], ["songs/one/a.mid", "songs/two/b.mid"])


def codes(music: TrainedModel, source: Path) -> np.ndarray:
    """Of all windows, `(windows, numbers)`, where the prior is a standard normal."""
    batch = music.domain.tensor(torch.from_numpy(music.domain.read(source).examples))
    return music.pipeline.encode(batch).base.flatten(1).numpy()


def test_points_are_the_codes_of_the_windows(music: TrainedModel) -> None:
    expected = reduced(codes(music, A), "pca")
    for source in (A, Piece.open(A), A.read_bytes()):
        np.testing.assert_allclose(music.embed(source).points, expected, atol=1e-5)


def test_a_point_for_each_file_is_the_mean_of_its_codes(music: TrainedModel) -> None:
    means = np.stack([codes(music, source).mean(0) for source in (A, B)])
    found = music.embed(A, B, each_file=True, method="latent")
    np.testing.assert_allclose(found.points, reduced(means, "latent"), atol=1e-5)


def test_a_map_is_coloured_by_attributes_and_labels(counted: TrainedModel, tmp_path: Path) -> None:
    found = counted.embed(A, B, colour="density")
    np.testing.assert_allclose(found.colours, counted.attributes(A, B, each_window=True).values[:, 0])
    table, picture = found.save(tmp_path / "map.csv")
    assert [float(row["density"]) for row in read_csv(table)] == pytest.approx(list(found.colours))
    assert picture.stat().st_size > 1000
    assert set(counted.embed(A, B, colour="last").colours) <= {"high", "low"}
    means = counted.embed(A, B, colour="density", each_file=True).colours
    np.testing.assert_allclose(means, counted.attributes(A, B).values[:, 0])


def test_pictures_with_classes_are_coloured_by_them(tmp_path: Path) -> None:
    settings = {"width": 16, "latent_size": 2, "steps": 2, "evaluate_every": 2, "precision": "no", "log_with": ()}
    random = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "data" / ("cats", "dogs")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{number}.png")
    trained = musicae.train("image", data=tmp_path / "data", model="mlp", out=tmp_path / "run", labels=True, **settings)
    found = trained.embed(tmp_path / "data")
    assert found.colour == "label"
    assert found.colours == [file.split("/")[1] for file in found.files]
    each = trained.embed(tmp_path / "data", each_file=True, colour="label")
    assert set(each.colours) == {"cats", "dogs"}


def test_a_notebook_shows_the_map() -> None:
    points = np.random.default_rng(0).standard_normal((12, 2))
    for colours in (["a", "b"] * 6, np.arange(12.0)):
        found = LatentMap(["x.mid"] * 12, list(range(1, 13)), points, colours, "file")
        assert min(found.plot().size) > 300
        assert found._repr_html_().startswith("<img")


# What is refused


def test_a_map_without_windows_or_with_an_unknown_name_is_refused(
    music: TrainedModel, image: TrainedModel, tmp_path: Path
) -> None:
    with pytest.raises(MusicaeError, match=r"unknown colour 'foldr'. Did you mean 'folder'"):
        music.embed(A, colour="foldr")
    with pytest.raises(ValueError, match=r"unknown method 'umap'"):
        music.embed(A, method="umap")
    with pytest.raises(MusicaeError, match="t-SNE needs at least 4 points"):
        music.embed(A, method="tsne", each_file=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MusicaeError, match="no music files in"):
        music.embed(tmp_path / "empty")
    with pytest.raises(MusicaeError, match="is no image file"):
        image.embed(A)
    with pytest.raises(ValueError, match="at least one file, folder or media object"):
        image.embed()
    assert names(tmp_path) == ["empty"]


def test_table_and_picture_need_a_name_each(music: TrainedModel, tmp_path: Path) -> None:
    found = music.embed(A)
    for refused in (found.save, check_map):
        with pytest.raises(MusicaeError, match="would be both table and picture"):
            refused(tmp_path / "map.png")
    (tmp_path / "map.csv").mkdir()
    with pytest.raises(MusicaeError, match="is a folder"):
        found.save(tmp_path / "map.csv")
    assert names(tmp_path) == ["map.csv"]
