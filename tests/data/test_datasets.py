"""Data sets: what counts as an item, which split it falls in, what is left out, and the store on disk."""

import gzip
import os
import struct
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from music_pieces import common
from PIL import Image
from symusic import Score
from tile_domain import TileDomain
from tiny_models import write_chords
from tune_files import SCALE, write_tune, write_tunes

from musicae.audio.domain import AudioDomain
from musicae.data.dataset import (
    SPLITS,
    DataSet,
    load_dataset,
    split_items,
    unseen,
)
from musicae.data.files import cache_folder, find_files
from musicae.errors import MusicaeError
from musicae.image.domain import ImageConfig, ImageDomain
from musicae.music.domain import MusicDomain
from musicae.starter import starter_items
from musicae.training.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]


def write_idx(path: Path, pictures: np.ndarray) -> None:
    header = struct.pack(">4I", 0x803, *pictures.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        file.write(header + pictures.astype(np.uint8).tobytes())


def split_of_tunes(dataset: DataSet, names: list[str]) -> dict[str, set[str]]:
    """Item name → the splits its examples lie in; every tune gives two windows (bars 1–2 and 2–3)."""
    assert len(dataset.examples) == 2 * len(names)
    split_of = {int(index): split for split in SPLITS for index in dataset.splits[split]}
    assert len(split_of) == len(dataset.examples)
    return {name: {split_of[2 * place], split_of[2 * place + 1]} for place, name in enumerate(names)}


# Items and splits


def test_the_windows_of_a_song_never_straddle_splits(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 60)
    names = [name for name, _ in find_files(common(), [folder])]
    splits = split_of_tunes(load_dataset(common(), [folder]), names)
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == set(SPLITS)


def test_every_item_is_in_one_split_and_a_tenth_is_held_out():
    names = [f"song-{number}" for number in range(4000)]
    dealt = split_items(names)
    assert sorted(name for split in SPLITS for name in dealt[split]) == sorted(names)
    assert len(dealt["validation"]) / 4000 == pytest.approx(0.05, abs=0.015)
    assert len(dealt["test"]) / 4000 == pytest.approx(0.05, abs=0.015)


def test_adding_a_file_moves_no_other(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 80)
    before_names = [name for name, _ in find_files(common(), [folder])]
    before = split_of_tunes(load_dataset(common(), [folder]), before_names)
    assert set.union(*before.values()) == set(SPLITS)
    write_tune(folder / "a-first-one.mid", SCALE + SCALE[:4])
    after_names = [name for name, _ in find_files(common(), [folder])]
    after = split_of_tunes(load_dataset(common(), [folder]), after_names)
    assert after_names[0] == "tunes/a-first-one.mid"
    assert {name: after[name] for name in before_names} == before


@pytest.mark.parametrize(("count", "filled"), [(2, 2), (3, 3), (4, 3), (7, 3)])
def test_no_split_of_a_small_set_is_left_empty_by_chance(count, filled):
    for trial in range(1500):
        dealt = split_items([f"{trial}/{number}" for number in range(count)])
        assert sum(map(len, dealt.values())) == count
        assert sum(len(names) > 0 for names in dealt.values()) == filled
        assert dealt["train"] and dealt["validation"]


def test_two_folders_may_hold_files_of_the_same_name(tmp_path):
    places = [write_tunes(tmp_path / where / "tunes", 1, first) for where, first in (("x", 0), ("y", 50))]
    for folder, name in zip(places, ("tune-000.mid", "tune-050.mid"), strict=True):
        (folder / name).rename(folder / "same.mid")
    files = find_files(common(), places)
    assert [name for name, _ in files] == ["tunes/same.mid", "tunes/same.mid (2)"]
    dataset = load_dataset(common(), places)
    assert dataset.report.items == 2
    assert len(dataset.splits["train"]) == len(dataset.splits["validation"]) == 2


def test_a_file_given_twice_is_read_once(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 3)
    files = find_files(common(), [folder, folder / "tune-001.mid", tmp_path / "tunes"])
    assert [name for name, _ in files] == ["tunes/tune-000.mid", "tunes/tune-001.mid", "tunes/tune-002.mid"]


def test_the_test_files_of_an_idx_set_are_the_test_split(tmp_path):
    generator = np.random.default_rng(0)
    train, test = generator.integers(0, 256, (30, 8, 8)), generator.integers(0, 256, (7, 8, 8))
    write_idx(tmp_path / "set" / "train-images-idx3-ubyte.gz", train)
    write_idx(tmp_path / "set" / "t10k-images-idx3-ubyte", test)
    dataset = load_dataset(ImageDomain(ImageConfig(size=8, channels=1)), [tmp_path / "set"])
    assert np.array_equal(dataset.examples[dataset.splits["test"]][:, 0], test)
    learned = np.concatenate([dataset.splits["train"], dataset.splits["validation"]])
    assert np.array_equal(dataset.examples[np.sort(learned)][:, 0], train)
    assert len(dataset.splits["validation"]) >= 1


def test_test_files_alone_can_be_scored_but_not_trained_on(tmp_path):
    write_idx(tmp_path / "set" / "t10k-images-idx3-ubyte", np.random.default_rng(0).integers(0, 256, (7, 8, 8)))
    experiment = Experiment.resolve("image", data=[tmp_path / "set"], settings={"steps": 10, "warmup_steps": 1})
    dataset = experiment.read()
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 0, "validation": 0, "test": 7}
    with pytest.raises(MusicaeError, match="only test files"):
        experiment.run(tmp_path / "run", dataset)
    assert not (tmp_path / "run").exists()


def test_unseen_drops_transposed_duplicates(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 60)
    domain = common()
    dataset = load_dataset(domain, [folder], split_by="names")
    assert len(unseen(domain, dataset, "test")) == len(dataset.splits["test"]) > 1
    names = [name for name, _ in find_files(domain, [folder])]
    trained_on = names[dataset.splits["train"][0] // 2]
    tested_on = names[dataset.splits["test"][0] // 2]
    score = Score(str(tmp_path / trained_on))
    score.shift_pitch(5).dump_midi(str(tmp_path / tested_on))
    dataset = load_dataset(domain, [folder], split_by="names")
    kept = unseen(domain, dataset, "test")
    assert set(dataset.splits["test"]) - set(kept) == set(dataset.splits["test"][:2])
    train_identity = domain.identity(dataset.examples[dataset.splits["train"]])
    assert not np.isin(domain.identity(dataset.examples[kept]), train_identity).any()


# What is left out


def test_a_damaged_file_is_counted_and_stops_nothing(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 4)
    (folder / "tune-001x.mid").write_text("this is no MIDI")
    report = load_dataset(common(), [folder]).report
    assert (report.items, report.examples) == (4, 8)
    assert list(report.damaged) == ["tunes/tune-001x.mid"]
    assert "does not start with a MIDI header" in report.damaged["tunes/tune-001x.mid"]


def test_reasons_are_counted_over_all_files(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 3)
    write_tune(folder / "waltz.mid", SCALE + SCALE[:4], numerator=3)
    write_tune(folder / "sparse.mid", [60, 0, 0, 0, 0, 0, 0, 62])
    skipped = load_dataset(common(), [folder]).report.skipped
    assert sum(count for reason, count in skipped.items() if "3/4" in reason) == 3
    assert sum(count for reason, count in skipped.items() if "fewer than 4" in reason) == 1


def test_a_folder_that_yields_nothing_gives_the_reasons_with_counts(tmp_path):
    folder = tmp_path / "tunes"
    for number in range(2):
        write_tune(folder / f"waltz-{number}.mid", SCALE + SCALE[:4], numerator=3)
    (folder / "bad.mid").write_bytes(b"nothing")
    with pytest.raises(
        MusicaeError, match=r"no usable music example\. Left out: 6 × time signature 3/4.*; 1 damaged file\."
    ):
        load_dataset(common(), [folder])


def test_a_folder_without_a_file_of_the_domain_says_what_was_expected(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(MusicaeError, match=r"no music files in .*; expected \.mid, "):
        load_dataset(common(), [tmp_path])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MusicaeError, match=r"no such file or folder: .*nowhere"):
        load_dataset(common(), [tmp_path / "nowhere"])


def test_a_picture_that_is_too_large_is_counted(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(generator.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    Image.new("1", (100_000, 1)).save(tmp_path / "wide.png")
    report = load_dataset(ImageDomain(ImageConfig(size=8, channels=1)), [tmp_path]).report
    assert report.items == 3
    assert [count for reason, count in report.skipped.items() if "larger than is decoded" in reason] == [1]


def test_starter_data_needs_no_files():
    counts = {}
    for domain in (ImageDomain(), common()):
        dataset = load_dataset(domain, [])
        assert all(len(dataset.splits[split]) for split in SPLITS)
        counts[domain.name] = dataset.report.items
    assert counts["image"] == 1797
    assert counts["music"] >= 40
    for part, least in (("drums", 10), ("trio", 40)):
        assert load_dataset(MusicDomain(MusicDomain.Config(part=part)), []).report.items >= least


def test_starter_sounds_are_tunes_on_instruments_that_differ():
    domain = AudioDomain(AudioDomain.Config(sample_rate_hz=8000))
    items = dict(islice(starter_items(domain), 2))
    assert list(items) == ["1 Ah! vous dirai-je, maman", "2 Frère Jacques"]
    assert [reading.parts[0] for reading in items.values()] == ["piano", "violin"]
    for reading in items.values():
        assert len(reading.examples) >= 8
        assert np.abs(reading.examples).max(1).min() > 0


def test_a_domain_without_starter_data_says_so():
    with pytest.raises(MusicaeError, match="no starter data for tile; give files"):
        load_dataset(TileDomain(), [])


def test_a_checkout_keeps_its_stores_in_its_own_data_folder(monkeypatch):
    monkeypatch.delenv("MUSICAE_CACHE")
    assert cache_folder() == ROOT / "data" / "cache"


def test_sounds_keep_to_their_file(tmp_path):
    folder = write_chords(tmp_path / "chords", count=6, duration_s=4.0)
    domain = AudioDomain(AudioDomain.Config(sample_rate_hz=8000, n_fft=256, chunk_s=0.6))
    dataset = load_dataset(domain, [folder])
    per_file = len(dataset.examples) // 6
    assert per_file > 1
    files = [set(dataset.splits[split] // per_file) for split in SPLITS]
    assert all(files)
    assert sum(map(len, files)) == 6


@pytest.mark.skipif(os.name != "posix", reason="other systems' file names are text")
def test_file_names_need_not_be_text(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 3)
    os.rename(folder / "tune-001.mid", os.path.join(os.fsencode(folder), b"tune-\xff.mid"))
    assert load_dataset(common(), [folder]).report.items == 3
