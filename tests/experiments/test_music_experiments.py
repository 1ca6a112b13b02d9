"""Measurements of music: what is compared does the same work, and what samples hold is counted right."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from music_pieces import common

from musicae.music.chords import parse_chord
from musicae.starter import starter_items


@pytest.fixture
def music(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("music")


@pytest.fixture
def music_samples(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("music_samples")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Two sets of a few starter tunes, as MIDI."""
    domain = common()
    folder = tmp_path / "sets"
    for number, (title, reading) in zip(range(12), starter_items(domain), strict=False):
        windows = domain.tensor(torch.from_numpy(reading.examples[::2].copy())).target
        place = folder / ("nottingham", "pop909")[number % 2] / f"{title.replace('/', ' ')}.mid"
        domain.compose(windows).save(place)
    return folder


def test_pretty_midi_gives_the_windows_that_are_compared(music: ModuleType, sets: Path) -> None:
    domain, compared = common(), 0
    for path in sorted(sets.rglob("*.mid")):
        ours, theirs = domain.read(path).examples[..., 0], music.read_with_pretty_midi(path)
        assert np.array_equal(ours, theirs), path.name
        compared += len(ours)
    assert compared > 50


def test_a_damaged_file_gives_pretty_midi_no_windows(music: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "broken.mid").write_bytes(b"MThd\0\0\0\6\0\1\0")
    assert music.read_with_pretty_midi(tmp_path / "broken.mid").shape == (0, 32)


def test_reading_counts_what_it_read(music: ModuleType, sets: Path) -> None:
    found = music.reading(sets, sets, rounds=1, copies=2)
    assert found["files"] == 12
    assert found["windows"] == found["pretty_midi_windows"] > 50
    assert found["times_pretty_midi"] == pytest.approx(found["pretty_midi_s"] / found["one_process_s"])
    assert found["two_processes_times_one"] == pytest.approx(
        found["copies_one_process_s"] / found["copies_two_processes_s"]
    )


def test_training_times_both_models(music: ModuleType, sets: Path) -> None:
    found = music.training(sets, sets, rounds=1, updates=1)
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


def test_sampling_times_the_models_that_are_there(music: ModuleType, tmp_path: Path) -> None:
    found = music.sampling(tmp_path, tmp_path, rounds=1, draws=20)
    assert found["draws"] == 20
    assert found["sixteen_bar_s"] > found["one_sixteen_bar_s"] > 0
    assert found["sixteen_times_two"] == pytest.approx(found["sixteen_bar_s"] / found["two_bar_s"])
    assert {"threads", "cores", "load"} == set(found["machine"])


def test_the_longest_silence_is_found(music_samples: ModuleType) -> None:
    rate_hz = 1_000
    mono = np.ones(5 * rate_hz, np.float32)
    mono[500:1_000], mono[2_000:3_500] = 0, 1e-4
    assert music_samples.longest_silence_s(mono, rate_hz) == pytest.approx(1.5, abs=0.05)
    assert music_samples.longest_silence_s(np.ones(rate_hz, np.float32), rate_hz) == 0


def test_notes_are_counted_as_tones_of_the_chord_at_their_step(music_samples: ModuleType) -> None:
    onset = {pitch: music_samples.FIRST_ONSET + pitch - music_samples.LOWEST_PITCH for pitch in (60, 61, 64, 67)}
    c_major = parse_chord("C")
    tokens = np.array([[onset[60], 0, onset[61], onset[64], 1, onset[67]]])
    classes = np.full(tokens.shape, c_major)
    assert music_samples.in_chord(tokens, classes) == 0.75
    classes[0, 2] = music_samples.NO_CHORD  # the C sharp counts no more
    assert music_samples.in_chord(tokens, classes) == 1.0


def test_what_samples_hold_is_measured(music_samples: ModuleType, tmp_path: Path) -> None:
    found = music_samples.listen("melody-2bar", tmp_path, count=3, seed=0)
    assert found["files"] == 3
    assert 21 <= found["lowest_pitch"] <= found["highest_pitch"] <= 108
    assert found["onsets_on_sixteenth"] == 1.0
    assert found["onsets_on_bar"] <= found["onsets_on_quarter"] <= found["onsets_on_eighth"] <= 1.0
    assert 0 < found["peak"] <= 1
    assert found["seconds"] > 3 * 4
