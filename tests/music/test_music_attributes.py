"""Attributes of melodies, each against a window whose value is plain to see."""

import time

import numpy as np
import pytest

from musicae.music.attributes import ATTRIBUTES, best_key, measure
from musicae.music.tokens import HOLD, NOTE_OFF, PITCH_OFFSET

C4 = 60 - PITCH_OFFSET


def window(notes: dict[int, int], steps: int = 32) -> np.ndarray:
    """Step → semitones above C4; each note holds until the next."""
    tokens = np.zeros(steps, dtype=np.uint8)
    for step, above in notes.items():
        tokens[step] = C4 + above
    return tokens


QUARTERS = window(dict.fromkeys(range(0, 32, 4), 0))
SCALE = window({4 * index: above for index, above in enumerate((0, 2, 4, 5, 7, 9, 11, 12))})
CHROMATIC = window({2 * index: index for index in range(16)})
OFFBEATS = window(dict.fromkeys(range(2, 32, 4), 0))
UNEVEN = window({0: 0, 1: 0, 4: 0, 9: 0, 16: 0, 31: 0})
SILENT = np.zeros(32, dtype=np.uint8)
ALL = np.stack([QUARTERS, SCALE, CHROMATIC, OFFBEATS, UNEVEN, SILENT])


def values(name: str) -> dict[str, float]:
    measured = measure(ALL, True, 16, 4)[name]
    return dict(zip(("quarters", "scale", "chromatic", "offbeats", "uneven", "silent"), measured.tolist(), strict=True))


def test_every_attribute_is_measured_and_described():
    assert set(measure(ALL, True, 16, 4)) == set(ATTRIBUTES) and len(ATTRIBUTES) == 6
    assert set(measure(ALL, False, 16, 4)) == {name for name, row in ATTRIBUTES.items() if not row.needs_pitch}
    for column in measure(ALL, True, 16, 4).values():
        assert column.dtype == np.float64 and column.shape == (6,) and np.isfinite(column).all()


def test_density_counts_onsets_a_quarter():
    assert values("density") == {
        "quarters": 1.0, "scale": 1.0, "chromatic": 2.0, "offbeats": 1.0, "uneven": 0.75, "silent": 0.0
    }  # fmt: skip


def test_range_and_interval_are_in_semitones():
    assert values("range") == {
        "quarters": 0.0, "scale": 12.0, "chromatic": 15.0, "offbeats": 0.0, "uneven": 0.0, "silent": 0.0
    }  # fmt: skip
    interval = values("average_interval")
    assert interval["scale"] == pytest.approx(12 / 7) and interval["chromatic"] == 1.0 and interval["silent"] == 0.0


def test_diatonicity_is_the_share_of_time_inside_one_major_scale():
    found = values("diatonicity")
    assert found["scale"] == found["quarters"] == found["silent"] == 1.0
    assert found["chromatic"] == pytest.approx(10 / 16)  # C to Eb an octave up, in C# major: ten of sixteen eighths


def test_notes_off_the_beat_are_syncopated_and_quarters_are_not():
    found = values("syncopation")
    assert found["quarters"] == found["scale"] == found["chromatic"] == found["silent"] == 0.0
    # Six are held over a beat (weight 2 against 1), one over the bar (3), the last over nothing.
    assert found["offbeats"] == pytest.approx((6 * 1 + 1 * 2) / (3 * 8))


def test_syncopation_follows_the_metre():
    hemiola = window({0: 0, 4: 0, 8: 0, 12: 0, 16: 0, 20: 0}, 24)[None]
    assert measure(hemiola, True, 12, 4)["syncopation"][0] == 0.0
    assert measure(hemiola, True, 12, 6)["syncopation"][0] > 0.0


def test_equal_times_are_regular_and_different_ones_are_not():
    found = values("regularity")
    assert found["quarters"] == found["offbeats"] == found["silent"] == 1.0
    assert found["uneven"] == pytest.approx(0.0)  # 1, 3, 5, 7 and 15 steps: all different


def test_the_key_is_the_major_scale_that_fits():
    up_a_tone = np.where(SCALE >= 2, SCALE + 2, SCALE).astype(np.uint8)
    stopped = SCALE.copy()
    stopped[30] = NOTE_OFF
    assert best_key(np.stack([SCALE, up_a_tone, stopped, SILENT])) == ["C major", "D major", "C major", "none"]


def test_a_hundred_thousand_windows_take_seconds():
    many = np.random.default_rng(0).integers(0, 90, (100_000, 32)).astype(np.uint8)
    many[np.random.default_rng(1).random(many.shape) < 0.6] = HOLD
    started = time.process_time()
    measure(many, True, 16, 4)
    assert time.process_time() - started < 20
