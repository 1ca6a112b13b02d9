"""The speed table: what is compared does the same work, and the table says what was measured."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from musicae.music.domain import MusicDomain

BENCHMARKS = Path(__file__).resolve().parent.parent / "experiments"


@pytest.fixture
def music(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("music")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Two sets of a few starter tunes, as MIDI."""
    domain = MusicDomain()
    folder = tmp_path / "sets"
    for number, (title, reading) in zip(range(12), domain.starter(), strict=False):
        windows = domain.to_tensor(torch.from_numpy(reading.examples[::2].copy()))
        domain.write(windows, folder / ("nottingham", "pop909")[number % 2] / f"{title.replace('/', ' ')}.mid")
    return folder


def test_pretty_midi_gives_the_windows_that_are_compared(music: ModuleType, sets: Path) -> None:
    domain, compared = MusicDomain(), 0
    for path in sorted(sets.rglob("*.mid")):
        ours, theirs = domain.read(path).examples[..., 0], music.read_with_pretty_midi(path)
        assert np.array_equal(ours, theirs), path.name
        compared += len(ours)
    assert compared > 50


def test_a_damaged_file_gives_pretty_midi_no_windows(music: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "broken.mid").write_bytes(b"MThd\0\0\0\6\0\1\0")
    assert music.read_with_pretty_midi(tmp_path / "broken.mid").shape == (0, 32)


def test_reading_counts_what_it_read(music: ModuleType, sets: Path) -> None:
    found = music.reading(sets, rounds=1, copies=2)
    assert found["files"] == 12
    assert found["windows"] == found["pretty_midi_windows"] > 50
    assert found["times_pretty_midi"] == pytest.approx(found["pretty_midi_s"] / found["one_process_s"])
    assert found["two_processes_times_one"] == pytest.approx(
        found["copies_one_process_s"] / found["copies_two_processes_s"]
    )


def test_training_times_both_models(music: ModuleType, sets: Path) -> None:
    found = music.training(sets, rounds=1, updates=1)
    assert min(found["steps_windows_per_s"], found["musicvae_windows_per_s"]) > 0
    assert found["times_musicvae"] == pytest.approx(found["steps_windows_per_s"] / found["musicvae_windows_per_s"])


def test_the_acts_take_turns_and_their_medians_count(music: ModuleType) -> None:
    seconds, order = {"a": iter([3.0, 1.0, 2.0]), "b": iter([9.0, 9.0, 5.0])}, []

    def act(name: str) -> float:
        order.append(name)
        return next(seconds[name])

    found = music.medians(3, {"a": lambda: act("a"), "b": lambda: act("b")})
    assert found == {"a": 2.0, "b": 9.0}
    assert order == ["a", "b"] * 3


def test_the_command_adds_to_its_results_and_prints_the_table(music: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "music.json"
    out.write_text(json.dumps({"interpolate": {"cold_s": 3.21}, "training": {"failed": ["no reason"]}}))
    done = CliRunner().invoke(music.main, ["--only", "sampling", "--rounds", "1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    results = json.loads(out.read_text())
    assert results["interpolate"] == {"cold_s": 3.21}
    assert results["sampling"]["draws"] == 1000
    assert results["sampling"]["sixteen_bar_s"] > results["sampling"]["one_sixteen_bar_s"] > 0
    assert {"threads", "cores", "load"} == set(results["sampling"]["machine"])
    rows = done.output.splitlines()[-5:]
    assert rows == music.table(results).splitlines()
    assert rows[-1] == "| `interpolate` from a cold start | 3.2 s | 5 s |"


def test_data_that_is_missing_is_asked_for(music: ModuleType) -> None:
    done = CliRunner().invoke(music.main, ["--only", "reading"])
    assert done.exit_code == 2
    assert "reading and training need --sets" in done.output


def test_the_readme_quotes_the_speeds_as_they_were_written(music: ModuleType) -> None:
    results = json.loads(music.RESULTS.read_text())
    assert set(results) == set(music.PARTS)
    assert all(part["rounds"] >= 5 for part in results.values())
    assert music.table(results) in (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
