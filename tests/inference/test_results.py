"""`Morph`: its media objects, what it draws and what it writes; on small grey squares and on rows of notes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tile_domain import SIDE, Tile, TileDomain
from torch import Tensor

from musicae.domain import Savable
from musicae.errors import MusicaeError
from musicae.inference.results import Morph, name_of, repeated_rows, square


class WatchedTiles(TileDomain):
    """Remembers what it composed and drew; a dark tile has a remark."""

    def __init__(self) -> None:
        super().__init__()
        self.composed: list[int] = []
        self.drawn: list[tuple[str, int]] = []

    def compose(self, tensor: Tensor, frame: Any = None) -> Tile:
        self.composed.append(len(tensor))
        tile = super().compose(tensor, frame)
        return tile if (tensor > 0).any() else tile.with_remarks("dark")

    def preview(self, rows: dict[str, Tensor], frame: Any = None, *, columns=()) -> dict[str, Savable]:
        self.drawn += [(label, len(row)) for label, row in rows.items()]
        self.columns = tuple(columns)
        return super().preview(rows, frame, columns=columns)


class StackedTiles(WatchedTiles):
    """Drawn one below the other, as piano rolls are."""

    stacks_rows = True


def shades(count: int, examples: int = 1) -> Tensor:
    """Parts of so many tiles each, `(count, examples, 1, 8, 8)`, each tile brighter than the one before."""
    brightness = torch.arange(1, count * examples + 1) / (count * examples)
    return brightness.view(count, examples, 1, 1, 1).expand(-1, -1, 1, SIDE, SIDE).clone()


def path_of(domain: TileDomain, count: int, **settings: Any) -> Morph:
    return Morph(domain, **{"name": "interpolation", "part": "step", "tensor": shades(count), **settings})


def test_a_path_is_drawn_between_its_originals_with_the_place_of_each_step() -> None:
    domain = WatchedTiles()
    ends = (torch.zeros(1, 1, SIDE, SIDE), torch.ones(1, 1, SIDE, SIDE))
    path = path_of(domain, 3, positions=(0.0, 0.25, 1.0), originals=ends)
    path.preview()
    assert domain.drawn == [("interpolation", 5)]
    assert domain.columns == ("original", "0.00", "0.25", "1.00", "original")
    stacked = StackedTiles()
    path_of(stacked, 3, positions=(0.0, 0.25, 1.0), originals=ends).preview()
    assert stacked.drawn == [("step 1, 0.00", 1), ("step 2, 0.25", 1), ("step 3, 1.00", 1)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".musicae-cache"))


# A sequence


def test_the_whole_is_composed_once() -> None:
    path = path_of(TileDomain(), 3)
    assert path.joined is path.joined


def test_parts_are_media_objects_in_order_and_the_tensor_is_theirs() -> None:
    morph = path_of(TileDomain(), 5)
    assert len(morph) == 5
    assert [int(tile.array[0, 0]) for tile in morph] == [51, 102, 153, 204, 255]
    assert int(morph[-1].array[0, 0]) == 255
    assert [int(tile.array[0, 0]) for tile in morph[1:3]] == [102, 153]
    assert torch.equal(morph.tensor, shades(5)[:, 0])
    with pytest.raises(IndexError):
        morph[5]
    assert repr(morph) == "<Morph 'interpolation': 5 × step>"


def test_parts_are_composed_when_they_are_looked_at_and_once() -> None:
    domain = WatchedTiles()
    morph = path_of(domain, 4)
    assert domain.composed == []
    assert morph[2] is morph[2]
    assert domain.composed == [1]
    assert morph.joined.array.shape == (SIDE, 4 * SIDE)


def test_parts_of_several_examples_keep_them() -> None:
    morph = path_of(TileDomain(), 2, tensor=shades(2, 3))
    assert morph.tensor.shape == (2, 3, 1, SIDE, SIDE)
    assert morph[0].array.shape == (SIDE, 3 * SIDE)
    assert morph.joined.array.shape == (SIDE, 6 * SIDE)


def test_whole_media_objects_have_no_tensor_and_no_row() -> None:
    tiles = [Tile(np.full((SIDE, SIDE), value, np.uint8)) for value in (1, 2)]
    morph = path_of(TileDomain(), 0, tensor=None, items=tiles)
    assert list(morph) == tiles
    assert morph.tensor is morph.joined is None
    assert morph.preview() == {}
    assert np.asarray(morph.plot())[0, 0] == 1


def test_nothing_is_no_result() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        Morph(TileDomain(), name="samples", part="sample")
    with pytest.raises(ValueError, match="at least one part"):
        path_of(TileDomain(), 0)


def test_parts_are_numbered_so_that_names_sort() -> None:
    assert path_of(TileDomain(), 3).names == ["step-01", "step-02", "step-03"]
    many = path_of(TileDomain(), 101).names
    assert many == sorted(many)
    assert [int(name.removeprefix("step-")) for name in many] == list(range(1, 102))
    named = path_of(TileDomain(), 3, part="variation", first="reconstruction")
    assert named.names == ["reconstruction", "variation-01", "variation-02"]


def test_what_parts_remark_is_said_with_their_names() -> None:
    tensor = shades(3)
    tensor[1] = 0
    morph = path_of(WatchedTiles(), 3, tensor=tensor, remarks=["from tile 1 to tile 2"])
    assert morph.remarks == ("from tile 1 to tile 2", "step-02: dark")


# What is drawn


def test_single_examples_side_by_side_are_one_row_and_stacked_ones_a_row_each() -> None:
    in_a_row, stacked = WatchedTiles(), StackedTiles()
    for domain in (in_a_row, stacked):
        path_of(domain, 3).preview()
    assert in_a_row.drawn == [("interpolation", 3)]
    assert stacked.drawn == [("step 1", 1), ("step 2", 1), ("step 3", 1)]


def test_of_very_many_stacked_parts_the_first_hundred_are_drawn_and_that_is_said() -> None:
    domain = StackedTiles()
    morph = path_of(domain, 101)
    assert morph.remarks == ("interpolation holds all 101 parts; its picture and its sound are of the first 100",)
    morph.preview()
    assert [label for label, _ in domain.drawn] == [f"step {number}" for number in range(1, 101)]
    assert path_of(StackedTiles(), 100).remarks == ()


def test_a_square_is_drawn_in_its_rows_and_its_parts_are_its_columns() -> None:
    domain = WatchedTiles()
    morph = square(domain, shades(2, 3), "grid", rows=["a", "b"], columns=["x", "y", "z"])
    assert morph.names == ["column-01", "column-02", "column-03"]
    assert morph.tensor.shape == (3, 2, 1, SIDE, SIDE)
    assert torch.equal(morph.tensor[2, 1], shades(2, 3)[1, 2])
    morph.preview()
    assert (domain.drawn, domain.columns) == ([("a", 3), ("b", 3)], ("x", "y", "z"))
    numbered = WatchedTiles()
    square(numbered, shades(2, 3), "square").preview()
    assert [label for label, _ in numbered.drawn] == ["row 1", "row 2"]


def test_a_notebook_shows_the_picture_of_all_parts() -> None:
    morph = path_of(TileDomain(), 3)
    assert isinstance(morph.plot(), Image.Image)
    assert morph._repr_html_().startswith("<img")
    assert "data:image/png;base64," in morph._repr_html_()


def test_parts_that_sound_have_a_player_in_a_notebook(tmp_path: Path) -> None:
    class Ringing(Tile):
        def player_html(self) -> str:
            return f"<audio>{self.array.shape[1] // SIDE}</audio>"

    class RingingTiles(TileDomain):
        def compose(self, tensor: Tensor, frame: Any = None) -> Tile:
            return Ringing(super().compose(tensor, frame).array)

    assert path_of(RingingTiles(), 3)._repr_html_().endswith("<audio>3</audio>")


# What is written


def test_each_part_the_whole_and_a_picture_are_written(tmp_path: Path) -> None:
    for domain in (TileDomain(), StackedTiles()):
        folder = tmp_path / type(domain).__name__ / "path"
        whole = path_of(domain, 3).save(folder)
        assert whole == folder / "interpolation.tile"
        steps = ["step-01.tile", "step-02.tile", "step-03.tile"]
        assert names(folder) == ["interpolation.png", "interpolation.tile", *steps]
        assert names(folder.parent) == ["path"]
        assert Tile.open(whole).array.shape == (SIDE, 3 * SIDE)
        assert Tile.open(folder / "step-02.tile").array[0, 0] == 170
    assert path_of(TileDomain(), 3).files(folder) == [*(folder / name for name in steps), whole]


def test_of_many_parts_side_by_side_no_second_picture_is_drawn(tmp_path: Path) -> None:
    path_of(TileDomain(), 16).save(tmp_path / "16")
    path_of(TileDomain(), 17).save(tmp_path / "17")
    assert "interpolation.png" in names(tmp_path / "16")
    assert "interpolation.png" not in names(tmp_path / "17")


def test_each_stacked_part_of_several_examples_has_its_own_picture(tmp_path: Path) -> None:
    path_of(StackedTiles(), 2, tensor=shades(2, 3)).save(tmp_path / "out")
    steps = [f"step-0{number}.{ending}" for number in (1, 2) for ending in ("png", "tile")]
    assert names(tmp_path / "out") == ["interpolation.tile", *steps]


def test_whole_media_objects_are_written_alone_and_their_folder_is_the_result(tmp_path: Path) -> None:
    tiles = [Tile(np.full((SIDE, SIDE), value, np.uint8)) for value in (1, 2)]
    morph = path_of(TileDomain(), 0, tensor=None, items=tiles)
    assert morph.save(tmp_path / "out") == tmp_path / "out"
    assert names(tmp_path / "out") == ["step-01.tile", "step-02.tile"]
    assert morph.files(tmp_path) == [tmp_path / "step-01.tile", tmp_path / "step-02.tile"]


def test_a_shorter_result_leaves_nothing_of_a_longer_one_and_no_file_of_the_users(tmp_path: Path) -> None:
    path_of(TileDomain(), 4).save(tmp_path)
    mine = ["step-04.txt", "step-2024.tile", "steps.tile", "mine.tile", "interpolation.txt"]  # none numbered as ours
    for name in mine:
        (tmp_path / name).write_text("mine")
    (tmp_path / "step-05").mkdir()
    path_of(TileDomain(), 2).save(tmp_path)
    ours = ["interpolation.png", "interpolation.tile", "step-01.tile", "step-02.tile"]
    assert names(tmp_path) == sorted([*ours, *mine, "step-05"])
    path_of(StackedTiles(), 2, tensor=shades(2, 3)).save(tmp_path)  # with a picture of each, and none of the whole
    assert "interpolation.png" not in names(tmp_path)
    assert {"step-02.png", "interpolation.tile", *mine} <= set(names(tmp_path))
    path_of(StackedTiles(), 2).save(tmp_path)
    assert not {"step-01.png", "step-02.png"} & set(names(tmp_path))


def test_nothing_is_written_when_a_part_or_the_picture_fails(tmp_path: Path) -> None:
    class Failing(TileDomain):
        def preview(self, rows: dict[str, Tensor], frame: Any = None, *, columns=()) -> dict[str, Savable]:
            raise OSError(28, "No space left on device")

    class Unsavable(Tile):
        def save(self, path: Path | str) -> Path:
            raise MusicaeError("this tile cannot be written")

    with pytest.raises(OSError, match="No space"):
        path_of(Failing(), 2).save(tmp_path / "path")
    items = [Tile(np.zeros((SIDE, SIDE), np.uint8)), Unsavable(np.zeros((SIDE, SIDE), np.uint8))]
    with pytest.raises(MusicaeError, match="cannot be written"):
        path_of(TileDomain(), 0, tensor=None, items=items).save(tmp_path / "path")
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "path").write_text("mine")
    with pytest.raises(MusicaeError, match="is a file; --out wants a folder"):
        path_of(TileDomain(), 2).save(tmp_path / "path")
    assert (tmp_path / "path").read_text() == "mine"


# What operations share


def test_a_source_is_called_by_its_own_name_its_files_or_its_types() -> None:
    assert name_of("music/a.mid") == name_of(Path("a.mid")) == "a"
    assert name_of(Tile(np.zeros((SIDE, SIDE), np.uint8), "one")) == "one"
    assert name_of(np.zeros(3)) == "ndarray"


def test_rows_begin_anew_until_there_are_enough() -> None:
    assert repeated_rows(torch.arange(3), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert repeated_rows(torch.arange(3), 2).tolist() == [0, 1]
