"""The store on disk: written once, gone on with after an interruption, shared by processes; and duplicates in it."""

import errno
import io
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from symusic import Score
from tune_files import SCALE, interrupted_store, write_tune, write_tunes

from musicae.data.dataset import SPLITS, load_dataset, unseen
from musicae.data.files import ReadingProgress, find_files, prepare_store
from musicae.data.reading import BLOCK_FILES, Block
from musicae.data.store import StoreWriter
from musicae.errors import MusicaeError
from musicae.music.domain import MusicConfig, MusicDomain


def test_the_store_is_memory_mapped_and_used_again(tmp_path):
    folder, cache = write_tunes(tmp_path / "tunes", 5), tmp_path / "cache"
    first = load_dataset(MusicDomain(), [folder], cache=cache)
    assert isinstance(first.examples, np.memmap)
    assert not first.examples.flags.writeable
    store = cache / first.fingerprint
    written = {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    second = load_dataset(MusicDomain(), [folder], cache=cache)
    assert {path.name: path.stat().st_mtime_ns for path in store.iterdir()} == written
    assert np.array_equal(first.examples, second.examples)
    assert second.report == first.report
    assert all(np.array_equal(first.splits[split], second.splits[split]) for split in SPLITS)


def test_the_examples_are_those_of_the_files(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 5)
    domain = MusicDomain()
    read = np.concatenate([domain.read(path).examples for _, path in find_files(domain, [folder])])
    assert np.array_equal(load_dataset(domain, [folder]).examples, read)


def test_nothing_is_left_of_a_reading_that_fails(tmp_path):
    folder, cache = write_tunes(tmp_path / "tunes", 2), tmp_path / "cache"
    (tmp_path / "speech.wav").write_bytes(b"RIFF")
    with pytest.raises(MusicaeError, match="not a score"):
        load_dataset(MusicDomain(), [folder, tmp_path / "speech.wav"], cache=cache)
    assert list(cache.iterdir()) == []


def test_nothing_is_left_of_a_reading_that_is_interrupted(tmp_path, monkeypatch):
    folder, cache = write_tunes(tmp_path / "tunes", 3), tmp_path / "cache"
    read, calls = MusicDomain.read, []

    def interrupted_at_2(self, path):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read(self, path)

    monkeypatch.setattr(MusicDomain, "read", interrupted_at_2)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(MusicDomain(), [folder], cache=cache)
    assert list(cache.iterdir()) == []
    assert load_dataset(MusicDomain(), [folder], cache=cache).report.items == 3


def test_a_store_that_another_process_finished_first_is_used(tmp_path, monkeypatch):
    folder, cache = write_tunes(tmp_path / "tunes", 3), tmp_path / "cache"
    other = load_dataset(MusicDomain(), [folder], cache=tmp_path / "other")
    read = MusicDomain.read

    def slow(self, path):
        if not (cache / other.fingerprint).exists():
            shutil.copytree(tmp_path / "other" / other.fingerprint, cache / other.fingerprint)
        return read(self, path)

    monkeypatch.setattr(MusicDomain, "read", slow)
    dataset = load_dataset(MusicDomain(), [folder], cache=cache)
    assert np.array_equal(dataset.examples, other.examples)
    assert [path.name for path in cache.iterdir()] == [dataset.fingerprint]


@pytest.mark.parametrize("torn", [False, True])
def test_a_reading_that_was_interrupted_goes_on_and_gives_the_same_store(tmp_path, torn):
    folder = write_tunes(tmp_path / "tunes", 150)
    (folder / "tune-007.mid").write_bytes(b"nothing")
    write_tune(folder / "tune-008.mid", SCALE + SCALE[:4], numerator=3)
    left = interrupted_store(folder, tmp_path / "cache", 140)
    if torn:  # killed while it wrote
        for name in ("examples.bin", "owner.bin", "journal.jsonl"):
            with (left / name).open("ab") as file:
                file.write(b"{12345" * 10_000)
    resumed = prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache")
    assert 10 <= resumed.files_read <= 150 - BLOCK_FILES
    whole = prepare_store(MusicDomain(), [folder], cache=tmp_path / "other")
    assert whole.files_read == 150
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [resumed.store.name]
    written = [{path.name: path.read_bytes() for path in made.store.iterdir()} for made in (resumed, whole)]
    assert written[0] == written[1]


def test_a_journal_that_promises_more_than_is_there_is_not_believed(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 100)
    left = interrupted_store(folder, tmp_path / "cache", 90)
    os.truncate(left / "examples.bin", 100)
    assert prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache").files_read == 100


def test_of_two_that_read_the_same_data_one_waits(tmp_path, monkeypatch):
    folder, cache, reads = write_tunes(tmp_path / "tunes", 10), tmp_path / "cache", []
    read = MusicDomain.read

    def slow(self, path):
        reads.append(path)
        time.sleep(0.02)
        return read(self, path)

    monkeypatch.setattr(MusicDomain, "read", slow)
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda _: prepare_store(MusicDomain(), [folder], cache=cache), range(2)))
    assert made[0].store == made[1].store
    assert sorted(one.files_read for one in made) == [0, 10]
    assert len(reads) == 10
    assert len(list(cache.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such locks")
def test_where_folders_cannot_be_locked_each_reading_has_its_own(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    folder, cache = write_tunes(tmp_path / "tunes", 3), tmp_path / "cache"
    dataset = load_dataset(MusicDomain(), [folder], cache=cache)
    assert dataset.report.items == 3
    assert [path.name for path in cache.iterdir()] == [dataset.fingerprint]


def test_examples_of_another_shape_are_refused(tmp_path):
    with StoreWriter(tmp_path) as writer:
        for length in (3, 4):
            block = Block(1, np.zeros((2, length), np.uint8), np.zeros(2, np.uint64), np.zeros(2, np.int64), ["a"])
            if length == 3:
                writer.write(block)
                continue
            with pytest.raises(ValueError, match=r"shape=\(3,\).*shape=\(4,\)"):
                writer.write(block)


# Duplicates


def test_duplicates_are_counted_and_only_the_training_split_can_be_rid_of_them(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 40)
    for number in range(40):
        score = Score(str(folder / "tune-000.mid"))
        score.shift_pitch(number % 5).dump_midi(str(folder / f"copy-{number:02d}.mid"))
    domain = MusicDomain()
    dataset = load_dataset(domain, [folder])
    assert dataset.report.duplicates == 80
    identity = domain.identity(dataset.examples)
    assert np.array_equal(dataset.identity, identity)
    unique = load_dataset(domain, [folder], unique=True)
    train, kept = dataset.splits["train"], unique.splits["train"]
    assert len(kept) < len(train) - 40
    assert len(np.unique(identity[kept])) == len(kept) == len(np.unique(identity[train]))
    firsts = {value: index for index, value in reversed(list(zip(train, identity[train], strict=True)))}
    assert sorted(firsts.values()) == kept.tolist()
    for split in ("validation", "test"):
        assert np.array_equal(unique.splits[split], dataset.splits[split])
    assert unique.fingerprint == dataset.fingerprint
    assert unique.report == dataset.report


def test_unseen_needs_no_examples_where_identities_are_stored(tmp_path):
    domain = MusicDomain()
    dataset = load_dataset(domain, [write_tunes(tmp_path / "tunes", 60)])
    computed = unseen(domain, replace(dataset, identity=None), "test")
    assert np.array_equal(unseen(domain, replace(dataset, examples=np.zeros(0)), "test"), computed)


# Progress


@pytest.mark.parametrize(
    ("terminal", "moment_s", "seen"), [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)]
)
def test_progress_is_drawn_on_a_terminal_after_a_moment(terminal, moment_s, seen, monkeypatch):
    monkeypatch.setattr("musicae.data.files._BAR_DELAY_S", moment_s)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120)
    with ReadingProgress(1000, 200, console) as progress:
        progress.show(700, 12345)
    assert ("files/s, 12,345 examples" in screen.getvalue()) is seen
    assert ("700/1000" in screen.getvalue()) is seen
    assert bool(screen.getvalue()) is seen


def test_the_fingerprint_changes_with_a_file_and_with_a_setting(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 3)
    fingerprints = [load_dataset(MusicDomain(), [folder]).fingerprint for _ in range(2)]
    assert fingerprints[0] == fingerprints[1]
    fingerprints[1:] = [load_dataset(MusicDomain(MusicConfig(min_notes=5)), [folder]).fingerprint]
    os.utime(folder / "tune-001.mid", ns=(0, 1))
    fingerprints.append(load_dataset(MusicDomain(), [folder]).fingerprint)
    write_tune(folder / "tune-003.mid", SCALE + SCALE[:4])
    fingerprints.append(load_dataset(MusicDomain(), [folder]).fingerprint)
    (folder / "tune-003.mid").rename(folder / "renamed.mid")
    fingerprints.append(load_dataset(MusicDomain(), [folder]).fingerprint)
    assert len(set(fingerprints)) == 5
