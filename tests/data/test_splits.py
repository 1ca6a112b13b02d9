"""The split goes by content: whatever files are called and wherever they are. Older runs keep their split by names."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tile_domain import TileDomain
from tune_files import SCALE, write_tune, write_tunes

from musicae.data.arrays import InMemory
from musicae.data.dataset import SPLITS, DataSet, load_dataset, split_items, split_of_run
from musicae.data.files import find_files
from musicae.errors import MusicaeError
from musicae.image.domain import ImageConfig, ImageDomain
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.training.experiment import Experiment


def split_of_each(dataset: DataSet, names: list[str]) -> dict[str, str]:
    """File name → the split of all its examples; the files give equally many."""
    per_file = len(dataset.examples) // len(names)
    found = {}
    for split in SPLITS:
        found |= {names[index // per_file]: split for index in dataset.splits[split]}
    assert len(found) == len(names)
    assert sum(len(rows) for rows in dataset.splits.values()) == len(dataset.examples) == per_file * len(names)
    return found


def read(folder: Path, config: MusicConfig | None = None, **options) -> tuple[dict[str, str], DataSet]:
    """The split of each file by its name alone, and the data set."""
    domain = MusicDomain(config or MusicConfig())
    dataset = load_dataset(domain, [folder], **options)
    return split_of_each(dataset, [Path(name).name for name, _ in find_files(domain, [folder])]), dataset


def test_a_file_that_is_renamed_moved_or_copied_stays_in_its_split(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 60)
    before, dataset = read(folder)
    assert set(before.values()) == set(SPLITS)
    assert before != read(folder, split_by="names")[0]
    moved = tmp_path / "elsewhere" / "deep" / "renamed"
    moved.mkdir(parents=True)
    for path in folder.iterdir():
        shutil.copyfile(path, moved / f"x{path.name[::-1]}.mid")
    after, renamed = read(moved)
    assert after == {f"x{name[::-1]}.mid": split for name, split in before.items()}
    assert renamed.content == dataset.content
    assert renamed.fingerprint != dataset.fingerprint


def test_copies_are_in_the_split_of_the_original(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 40)
    before, dataset = read(folder)
    for path in sorted(folder.iterdir()):
        shutil.copyfile(path, folder / f"copy-of-{path.name}")
    after, doubled = read(folder)
    assert after == before | {f"copy-of-{name}": split for name, split in before.items()}
    assert doubled.content != dataset.content


def test_copies_of_one_song_are_too_few_to_train_on(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 1)
    shutil.copyfile(folder / "tune-000.mid", folder / "again.mid")
    with pytest.raises(MusicaeError, match="at least two that differ"):
        Experiment.resolve("music", data=[folder]).read()
    write_tune(folder / "another.mid", SCALE + SCALE[:4])
    assert len(Experiment.resolve("music", data=[folder]).read().splits["validation"]) > 0


def test_the_settings_move_no_song(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 60)
    before, two_bars = read(folder)
    after, one_bar = read(folder, MusicConfig(bars=1))
    assert after == before
    assert one_bar.content == two_bars.content


def test_a_changed_byte_changes_the_content(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 3)
    _, before = read(folder)
    os.utime(folder / "tune-001.mid", ns=(0, 1))
    _, touched = read(folder)
    assert (touched.content, touched.fingerprint == before.fingerprint) == (before.content, False)
    write_tune(folder / "tune-001.mid", SCALE + SCALE[:4])
    assert read(folder)[1].content != before.content


def test_the_pictures_of_one_file_are_split_each_and_keep_it(tmp_path):
    from test_datasets import write_idx

    generator = np.random.default_rng(0)
    domain = ImageDomain(ImageConfig(size=8, channels=1))
    write_idx(tmp_path / "a" / "train-images-idx3-ubyte", generator.integers(0, 256, (200, 8, 8)))
    write_idx(tmp_path / "a" / "t10k-images-idx3-ubyte", generator.integers(0, 256, (7, 8, 8)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, second = (load_dataset(domain, [tmp_path / name]) for name in "ab")
    assert 2 <= len(first.splits["validation"]) <= 25
    assert len(first.splits["test"]) == 7
    assert all(np.array_equal(first.splits[split], second.splits[split]) for split in SPLITS)


def test_rows_of_an_array_may_change_places():
    array = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    order = np.random.default_rng(1).permutation(300)
    before, after = (InMemory(rows).read(TileDomain()) for rows in (array, array[order]))
    for split in SPLITS:
        assert set(order[after.splits[split]]) == set(before.splits[split])
        assert len(before.splits[split]) > 0
    assert before.content == after.content
    names = InMemory(array).read(TileDomain(), split_by="names")
    assert not np.array_equal(names.splits["test"], before.splits["test"])


def test_a_run_of_an_earlier_version_keeps_its_split_by_names(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 60)
    experiment = Experiment.resolve("music", data=[folder])
    assert split_of_run(experiment.manifest.data) == "content"
    names = [name for name, _ in find_files(MusicDomain(), [folder])]
    by_name = {name: split for split, chosen in split_items(names).items() for name in chosen}
    data = {key: value for key, value in experiment.manifest.data.items() if key != "split"}
    older = replace(experiment, manifest=experiment.manifest.model_copy(update={"data": data}))
    assert split_of_each(older.read(), names) == by_name
    assert split_of_each(experiment.read(), names) != by_name


@pytest.mark.parametrize(
    ("data", "split_by"), [({}, "names"), ({"split": "names"}, "names"), ({"split": "content"}, "content")]
)
def test_the_manifest_says_how_the_data_were_split(data, split_by):
    assert split_of_run(data) == split_by
