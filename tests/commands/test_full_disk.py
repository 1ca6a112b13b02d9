"""On a full disk a command says so in one sentence, and leaves nothing half-written."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from musicae.cli import main
from musicae.starter import starter_file

A, B, NOISY = (str(starter_file(name)) for name in ("a.mid", "b.mid", "noisy.wav"))
COMMANDS = {
    "a folder": ["interpolate", A, B, "--steps", "3", "--out"],
    "rendered.wav": ["render", A, "--out"],
    "cleaned.flac": ["denoise", NOISY, "--out"],
}
"""Name of the result → the command that writes it."""


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of which 2 KB are free."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here, which needs root")
    try:
        space = os.statvfs(folder)
        (folder / "other").write_bytes(bytes(space.f_bavail * space.f_bsize - 4096))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def check_refused(arguments: list[str], disk: Path) -> None:
    before = sorted(disk.rglob("*"))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "space" in sentence
    assert str(disk) in sentence
    assert [path for path in sorted(disk.rglob("*")) if path not in before and not path.is_dir()] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_result_that_does_not_fit_is_not_half_written(name: str, full_disk: Path) -> None:
    check_refused([*COMMANDS[name], str(full_disk / "out" / name)], full_disk)


def test_a_store_that_does_not_fit_is_not_half_written(full_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICAE_CACHE", str(full_disk / "cache"))
    check_refused(["prepare", "--domain", "music", A, B, str(starter_file("tunes.abc"))], full_disk)
