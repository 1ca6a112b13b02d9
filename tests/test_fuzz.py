"""Damaged files, drawn by chance, are read or refused by every reader; `fuzz.py` says what counts as neither."""

import json
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are read from Linux's /proc")
# As many as take a few tenths of a second each.
QUICK = {"midi": 25, "abc": 5, "sound": 12, "wav": 20, "picture": 30, "set": 8, "chords": 100}


@pytest.mark.parametrize("name", QUICK)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other numbers than those that `make soak` begins with."""
    if name in ("sound", "wav"):
        monkeypatch.setenv("PATH", "")
    found = list(fuzz.read_some(name, 10**6, QUICK[name], 0, tmp_path))
    assert len(found) == QUICK[name]
    assert [what for what in found if what[1] not in ("read", "refused")] == []
    assert {what for _, what in found} >= ({"read"} if name == "set" else {"read", "refused"})


@linux_only
def test_each_way_of_failing_is_seen_counted_and_kept(tmp_path: Path) -> None:
    command = [sys.executable, fuzz.__file__, "misbehaving", "--count", "8", "--hang-s", "0.1", "--keep", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["kinds"] == {"crash": 1, "hang": 2, "memory": 1, "raised KeyError": 1, "raised UserWarning": 1}
    assert (found["files"], found["read"], found["findings"]) == (8, 2, 6)
    assert (tmp_path / "misbehaving-1-a").read_bytes() == b"crash"


def test_a_number_and_a_seed_name_a_file() -> None:
    for name in ("midi", "wav", "chords"):
        files = fuzz.READERS[name].files()
        assert fuzz.file_of(name, 7, 0, files) == fuzz.file_of(name, 7, 0, files)
        assert fuzz.file_of(name, 7, 0, files) != fuzz.file_of(name, 7, 1, files)
    numbers = [fuzz.file_of("wav", number, 0, []) for number in range(100)]
    assert len(set(numbers)) == 100


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", fuzz.READERS)
def test_ten_minutes_of_damaged_files_give_no_crash_hang_or_bomb(name: str, tmp_path: Path) -> None:
    command = [sys.executable, fuzz.__file__, name, "--minutes", "10", "--keep", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(result.stdout)  # the counts
    assert result.returncode == 0, result.stdout + result.stderr
