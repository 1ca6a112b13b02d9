"""Attributes of media objects, measured: rows of files and of windows, text and CSV."""

import csv
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from own_domains import CountedMusic

from musicae.errors import DamagedFileError, MusicaeError
from musicae.inference.attribute_table import AttributeTable, measure, write_csv
from musicae.music.domain import MusicDomain
from musicae.music.piece import Piece
from musicae.starter import starter_file
from musicae.trained import TrainedModel

A, B = starter_file("a.mid"), starter_file("b.mid")


@pytest.fixture
def domain() -> CountedMusic:
    return CountedMusic()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_is_measured_by_its_windows(domain: CountedMusic, tmp_path: Path) -> None:
    stored = torch.from_numpy(domain.read(A).examples)
    expected = domain.attributes(domain.tensor(stored).target)
    each = measure(domain, [A], each_window=True)
    assert each.names == ("density", "height", "off_beat")
    assert each.windows == tuple(range(1, len(stored) + 1)) and set(each.files) == {"a.mid"}
    np.testing.assert_allclose(each.values, torch.stack(list(expected.values()), 1))
    table = measure(domain, [A, B])
    assert (table.files, table.windows[0]) == (("a.mid", "b.mid"), len(stored))
    np.testing.assert_allclose(table.values[0], each.values.mean(0))
    assert [line.split()[0] for line in table.text().splitlines()] == ["file", "a.mid", "b.mid"]
    rows = read_csv(table.save(tmp_path / "deep" / "table.csv"))
    assert list(rows[0]) == ["file", "windows", "density", "height", "off_beat"]
    assert float(rows[1]["height"]) == pytest.approx(table.values[1, 1])
    assert list(read_csv(each.save(tmp_path / "each.csv"))[0])[:2] == ["file", "window"]


def test_an_object_is_measured_as_its_file_is(domain: CountedMusic) -> None:
    expected = measure(domain, [A]).values
    for source in (pretty_midi.PrettyMIDI(str(A)), Piece.open(A), A.read_bytes()):
        np.testing.assert_array_equal(measure(domain, [source]).values, expected)


def test_objects_are_numbered_by_their_places(domain: CountedMusic) -> None:
    table = measure(domain, [Piece.open(A), Piece.open(B)])
    assert table.files == ("a 1", "b 2")


def test_a_table_on_the_screen_is_in_columns() -> None:
    table = AttributeTable(("pitch",), ("a.mid", "longer.mid"), (3, 12), np.array([[0.123456], [120.0]]))
    assert table.text().splitlines() == [
        "file        windows   pitch",
        "a.mid             3  0.1235",
        "longer.mid       12     120",
    ]


def test_what_is_left_out_is_said_and_nothing_left_is_an_error(domain: CountedMusic, tmp_path: Path) -> None:
    (tmp_path / "tunes").mkdir()
    (tmp_path / "tunes" / "bad.mid").write_text("text")
    with pytest.raises(DamagedFileError, match=r"bad\.mid"):
        measure(domain, [tmp_path / "tunes"])
    (tmp_path / "tunes" / "a.mid").write_bytes(A.read_bytes())
    table = measure(domain, [tmp_path / "tunes"])
    assert table.files == ("tunes/a.mid",)
    assert len(table.remarks) == 1 and table.remarks[0].startswith("tunes/bad.mid: left out: ")
    waltzes = CountedMusic(MusicDomain.Config(time_signature="3/4"))
    with pytest.raises(MusicaeError, match=r"no window to measure in 1 file\. Left out: "):
        measure(waltzes, [A])
    with pytest.raises(ValueError, match="at least one file, folder or media object"):
        measure(domain, [])
    (tmp_path / "deep").mkdir()
    with pytest.raises(MusicaeError, match="no music files in"):
        measure(domain, [tmp_path / "deep"])
    with pytest.raises(MusicaeError, match="no such file"):
        measure(domain, [tmp_path / "missing.mid"])
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(MusicaeError, match="is no music file"):
        measure(domain, [tmp_path / "a.png"])


def test_pictures_have_no_attributes_to_measure(image: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="image has no attributes; models of these domains have: music, audio"):
        image.attributes(np.zeros((8, 8), np.uint8))


def test_a_model_measures_what_its_domain_does(music: TrainedModel) -> None:
    table = music.attributes(A, B, each_window=True)
    expected = measure(music.domain, [A, B], each_window=True)
    assert table.names == expected.names
    np.testing.assert_array_equal(table.values, expected.values)


def test_a_table_replaces_a_file_and_no_folder(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "table.csv", [["a", "b"], [1, "x,y"]])
    assert path.read_text() == 'a,b\n1,"x,y"\n'
    write_csv(path, [["c"]])
    assert path.read_text() == "c\n"
    with pytest.raises(MusicaeError, match="is a folder"):
        write_csv(tmp_path, [["c"]])
