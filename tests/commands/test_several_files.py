"""`denoise` of several files: into a folder, under their names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image

from musicae.cli import main

Run = Callable[[str], Path]


def write_noise(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(5600), 8000)
    return path


@pytest.fixture
def denoise(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        command = ["denoise", *map(str, arguments), "--model", str(tiny_run("audio"))]
        result = CliRunner().invoke(main, command)
        return result.exit_code, result.output

    return run


def test_several_files_go_into_a_folder_under_their_names(denoise, tmp_path: Path) -> None:
    files = [write_noise(tmp_path / f"{name}.wav") for name in ("one", "two")]
    code, output = denoise(*files, "--out", "clean", "--strength", "0.5")
    assert code == 0, output
    assert output.splitlines() == ["clean/one.wav", "clean/two.wav"]
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == ["one.wav", "two.wav"]
    before, after = (soundfile.read(path)[0] for path in ("one.wav", "clean/one.wav"))
    assert len(after) == len(before) and not np.array_equal(after, before)
    code, output = denoise(*files)
    assert output.splitlines() == ["output/files-denoise/one.wav", "output/files-denoise/two.wav"]


def test_a_folder_named_like_a_sound_is_refused(denoise, tmp_path: Path) -> None:
    files = [write_noise(tmp_path / f"{name}.wav") for name in ("one", "two")]
    code, output = denoise(*files, "--out", "both.wav")
    assert code == 2 and "go into a folder" in output
    assert not (tmp_path / "both.wav").exists()


def test_files_of_one_name_are_refused(denoise, tmp_path: Path) -> None:
    code, output = denoise(write_noise(tmp_path / "one.wav"), write_noise(tmp_path / "other" / "one.wav"))
    assert code == 2
    assert "several files are called one" in output


def test_a_file_in_the_place_of_the_folder_is_refused_and_stays(denoise, tmp_path: Path) -> None:
    files = [write_noise(tmp_path / f"{name}.wav") for name in ("one", "two")]
    Image.new("L", (8, 8)).save(tmp_path / "file.png")
    before = (tmp_path / "file.png").read_bytes()
    code, output = denoise(*files, "--out", "file.png")
    assert code == 2
    assert "file.png" in output
    assert (tmp_path / "file.png").read_bytes() == before


def test_a_damaged_file_is_said_and_the_others_are_restored(denoise, tmp_path: Path) -> None:
    good, bad = write_noise(tmp_path / "good.wav"), tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF and nothing more")
    code, output = denoise(bad, good, "--out", "clean")
    assert code == 1
    assert "bad.wav" in output and "1 of 2 files gave no result" in output
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == ["good.wav"]


def test_an_input_is_not_written_over_even_when_overwriting_is_asked_for(denoise, tmp_path: Path) -> None:
    file = write_noise(tmp_path / "one.wav")
    before = file.read_bytes()
    code, output = denoise(file, "--out", file, "--force")
    assert code == 2
    assert "is the input itself" in output
    assert file.read_bytes() == before
