"""`prepare`: what is reported of a folder that is read into the store."""

from pathlib import Path

import pytest
from symusic import Score
from tune_files import SCALE, write_tune, write_tunes

from musicae.data.dataset import load_dataset
from musicae.data.prepare import prepare_lines
from musicae.errors import MusicaeError
from musicae.music.domain import MusicDomain


def test_the_report_counts_what_was_read_and_every_reason(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 20)
    Score(str(folder / "tune-000.mid")).shift_pitch(3).dump_midi(str(folder / "zz.mid"))
    write_tune(folder / "odd.mid", SCALE + SCALE[:2], numerator=5)
    (folder / "bad.mid").write_bytes(b"nothing")
    lines = list(prepare_lines("music", [folder]))
    report = "\n".join(lines)
    assert lines[0] == "42 examples of 21 items in 23 files"
    assert sum(int(part.split()[0]) for part in lines[1].split(", ")) == 42
    assert lines[2] == "  2 are duplicates of earlier ones, 4.8%"
    assert " × time signature 5/4 (this model reads 4/4" in report
    assert "  1 damaged file\n    tunes/bad.mid: " in report
    assert "read 23 files in " in report
    assert " files/s, " in report
    assert " by this process: " in report
    assert (Path(lines[-1].removeprefix("store: ")) / "report.json").is_file()


def test_the_store_is_the_one_that_training_opens_and_the_second_time_it_is_there(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 4)
    first, second = (list(prepare_lines("music", [folder], {"bars": 1})) for _ in range(2))
    assert first[:2] == second[:2]
    assert first[-1] == second[-1]
    assert "all of it was read by an earlier call" in second
    config = MusicDomain.Config(bars=1)
    assert Path(first[-1]).name == load_dataset(MusicDomain(config), [folder]).fingerprint


def test_what_is_left_without_duplicates_is_reported_where_it_is_asked_for(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 2)
    for number in range(30):
        write_tune(folder / f"same-{number}.mid", SCALE + SCALE[:4])
    without = [line for line in prepare_lines("music", [folder], unique=True) if "without the duplicates" in line]
    assert len(without) == 1
    unique = load_dataset(MusicDomain(), [folder], unique=True)
    assert without[0].split()[0] == str(len(unique.splits["train"]))
    assert not any("without the duplicates" in line for line in prepare_lines("music", [folder]))


def test_of_many_damaged_files_the_first_are_named(tmp_path):
    folder = write_tunes(tmp_path / "tunes", 2)
    for number in range(12):
        (folder / f"bad-{number:02d}.mid").write_bytes(b"nothing")
    lines = list(prepare_lines("music", [folder]))
    assert "  12 damaged files" in lines
    assert sum(line.startswith("    tunes/bad-") for line in lines) == 10
    assert "    … and 2 more in the store's report.json" in lines


def test_unknown_names_and_a_missing_folder_are_refused(tmp_path):
    write_tunes(tmp_path, 2)
    with pytest.raises(MusicaeError, match="unknown domain 'musik'"):
        list(prepare_lines("musik", [tmp_path]))
    with pytest.raises(MusicaeError, match="unknown music setting 'bar'"):
        list(prepare_lines("music", [tmp_path], {"bar": 2}))
    with pytest.raises(MusicaeError, match="no such file or folder"):
        list(prepare_lines("music", [tmp_path / "nowhere"]))
    with pytest.raises(ValueError, match="0 or more"):
        list(prepare_lines("music", [tmp_path], processes=-1))
