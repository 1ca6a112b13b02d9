"""Shards that several machines read, and the store that they make together."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tune_files import SCALE, write_tune, write_tunes

from musicae.cli import main
from musicae.data.files import prepare_store
from musicae.data.shards import Shard
from musicae.data.store import open_store
from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.domain import MusicDomain


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tunes, a damaged one, one in another time signature."""
    folder = write_tunes(tmp_path / "tunes", 20)
    (folder / "tune-003.mid").write_bytes(b"nothing")
    write_tune(folder / "tune-004.mid", SCALE + SCALE[:4], numerator=3)
    write_tune(folder / "tune-005.mid", SCALE + SCALE[:2] + (0, 62, 64, 65, 67, 69), numerator=4)
    return folder


@pytest.mark.parametrize("count", [1, 3, 20])
def test_merged_shards_are_the_store_of_all_files_to_the_byte(tmp_path, folder, count):
    whole = prepare_store(MusicDomain(), [folder], cache=tmp_path / "whole")
    cache = tmp_path / "cache"
    for shard in reversed(Shard.all_of(count)):
        part = prepare_store(MusicDomain(), [folder], cache=cache, shard=shard)
        assert len(part.files) == len(whole.files[shard.number - 1 :: count])
        assert prepare_store(MusicDomain(), [folder], cache=cache, shard=shard).files_read == 0
    assert len(list(cache.iterdir())) == count
    made = prepare_store(MusicDomain(), [folder], cache=cache, merge=count)
    assert made.store.name == whole.store.name
    assert contents(made.store) == contents(whole.store)
    assert prepare_store(MusicDomain(), [folder], cache=cache).files_read == 0


def test_a_shard_that_is_missing_or_damaged_is_named(tmp_path, folder):
    for number in (1, 3):
        part = prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache", shard=Shard(number, 4))
    with pytest.raises(MusicaeError, match=r"2 of 4 shards are not read yet.*: 2/4, 4/4\..*--shard 2/4"):
        prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache", merge=4)
    for number in (2, 4):
        prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache", shard=Shard(number, 4))
    (part.store / "owner.bin").write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"-3-of-4 is damaged: owner\.bin"):
        prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache", merge=4)
    write_tune(folder / "tune-006.mid", SCALE)
    with pytest.raises(MusicaeError, match=r"4 of 4 shards .* or other files were read"):
        prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache", merge=4)


@pytest.mark.parametrize("options", [{"shard": Shard(1, 21)}, {"merge": 21}])
def test_more_shards_than_files_are_refused(tmp_path, folder, options):
    with pytest.raises(MusicaeError, match="20 files can't be divided into 21 shards"):
        prepare_store(MusicDomain(), [folder], cache=tmp_path / "cache", **options)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(MusicaeError, match="expected NUMBER/COUNT"):
        Shard.parse(text)


def test_workers_that_run_the_command_read_the_shards_at_the_same_time(tmp_path, folder):
    command = [sys.executable, "-m", "musicae.cli", "prepare", str(folder), "--shard"]
    workers = [subprocess.Popen([*command, f"{number}/2"], stdout=subprocess.PIPE) for number in (1, 2)]
    said = [worker.communicate()[0].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert [text.splitlines()[0].split(":")[0] for text in said] == ["shard 1/2", "shard 2/2"]
    result = CliRunner().invoke(main, ["prepare", str(folder), "--merge", "2"])
    assert result.exit_code == 0, result.output
    merged = Path(result.output.splitlines()[-1].removeprefix("store: "))
    whole = prepare_store(MusicDomain(), [folder], cache=tmp_path / "whole")
    assert contents(merged) == contents(whole.store)
    assert open_store(merged).report.items == 19
