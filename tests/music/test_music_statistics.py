"""What windows are made up of, against windows written out by hand, torch.distributions, and known keys."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from musicae.music.config import PARTS
from musicae.music.statistics import (
    divergence_bits,
    drum_statistics,
    in_one_scale,
    line_statistics,
    part_statistics,
)
from musicae.music.tokens import NOTE_OFF, PITCH_OFFSET


def line(*events: int) -> np.ndarray:
    """MIDI pitches, 0 for a hold and 1 for a note-off → tokens."""
    return np.array([event - PITCH_OFFSET if event > NOTE_OFF else event for event in events])


# Lines


def test_bars_whose_rhythm_came_before_are_counted() -> None:
    quarters, half, silent = (60, 0, 62, 0), (64, 0, 0, 0), (0, 0, 0, 0)
    windows = np.stack(
        [
            line(*quarters, *half, *quarters, *half),  # two of three
            line(*quarters, *half, *silent, *silent),  # none of one; silent bars don't count
            line(*half, *silent, *silent, *silent),
            line(*half, *half, *half, *quarters),
        ]
    )
    found = line_statistics(windows, bar_steps=4).shares["rhythm_repeated"]
    np.testing.assert_allclose(found, [2 / 3, 0, np.nan, 2 / 3])
    assert "rhythm_repeated" not in line_statistics(windows[:, :4], bar_steps=4).shares


def test_bars_are_alike_where_the_same_sounds() -> None:
    held, other = (60, 0, 0, 0), (60, 0, 62, 0)
    windows = np.stack(
        [
            line(*held, 0, 0, 0, 0, *other, *other),  # the note goes on into the second bar
            line(*held, *[62, 0, 0, 0], *[64, 0, 0, 0], *[65, 0, 0, 0]),
            line(*[0] * 16),
            line(*[60, 1, 0, 0], *[60, 0, 1, 0], *[0, 0, 0, 0], *[0, 0, 0, 0]),
        ]
    )
    found = line_statistics(windows, bar_steps=4).shares["self_similarity"]
    np.testing.assert_allclose(found, [(1 + 4 * 0.5 + 1) / 6, 0, 1, 4.25 / 6])


def test_a_line_is_counted_note_by_note() -> None:
    # C4 for 2 steps, a rest of 2, E4 for 3, G3 to the end.
    found = line_statistics(np.stack([line(60, 0, 1, 0, 64, 0, 0, 55)]), bar_steps=4).histograms
    assert found["pitch_class"][0].nonzero()[0].tolist() == [0, 4, 7]
    assert found["pitch_class"].sum() == 3
    assert (found["interval"][0].nonzero()[0] - 12).tolist() == [-9, 4]
    assert {index + 1: count for index, count in enumerate(found["duration"][0]) if count} == {1: 1, 2: 1, 3: 1}
    assert found["density"][0].tolist() == [0, 1, 1, 0, 0]  # one bar with one onset, one with two


def test_the_last_note_of_a_window_lasts_to_its_end_and_the_next_window_starts_anew() -> None:
    found = line_statistics(np.stack([line(60, 0, 0, 0), line(0, 72, 0, 0)]), bar_steps=4).histograms
    assert found["duration"].nonzero() == pytest.approx(np.array([[0, 1], [3, 2]]))
    assert found["interval"].sum() == 0


def test_wide_intervals_and_long_notes_are_counted_at_the_ends() -> None:
    tokens = np.stack([line(30, *[0] * 19, 90, *[0] * 11)])
    found = line_statistics(tokens, bar_steps=16).histograms
    assert found["interval"][0, -1] == 1
    assert found["duration"][0].nonzero()[0].tolist() == [11, 15]


def test_notes_are_all_counted() -> None:
    random = np.random.default_rng(0)
    tokens = np.where(random.random((50, 32)) < 0.3, random.integers(0, 90, (50, 32)), 0)
    found = line_statistics(tokens, bar_steps=16).histograms
    onsets = (tokens >= 2).sum(1)
    for name in ("pitch_class", "duration"):
        assert found[name].sum(1).tolist() == onsets.tolist()
    assert found["interval"].sum(1).tolist() == np.maximum(onsets - 1, 0).tolist()
    assert (found["density"] @ np.arange(17)).tolist() == onsets.tolist()


def test_silence_has_no_scale_and_counts_as_silent() -> None:
    found = line_statistics(np.stack([line(0, 1, 0, 0), line(60, 0, 0, 0)]), bar_steps=4)
    assert found.shares["silent"].tolist() == [1, 0]
    assert np.isnan(found.shares["in_scale"]).tolist() == [True, False]
    assert found.histograms["density"][0].tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("tonic", range(12))
def test_every_major_and_minor_key_is_a_scale(tonic: int) -> None:
    for degrees in ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)):
        present = np.zeros((1, 12), dtype=bool)
        present[0, [(tonic + degree) % 12 for degree in degrees]] = True
        assert in_one_scale(present).tolist() == [True]
        present[0, (tonic + 1) % 12] = True  # neither has the note a semitone above its tonic
        assert in_one_scale(present).tolist() == [False]


def test_a_note_outside_the_key_takes_a_window_out_of_its_scale() -> None:
    inside, outside = line(60, 62, 64, 65, 67, 69, 71, 72), line(60, 62, 64, 65, 66, 67, 69, 71)
    assert line_statistics(np.stack([inside, outside]), 8).shares["in_scale"].tolist() == [1, 0]


# Drums and parts


def test_drums_are_counted_kind_by_kind() -> None:
    kick_and_hat, snare = 0b101, 0b010
    found = drum_statistics(np.array([[kick_and_hat, 0, snare, 0], [0, 0, 0, 0]]), bar_steps=4)
    assert found.histograms["drum"].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0, 0], [0] * 9]
    assert found.histograms["density"].tolist() == [[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert found.shares["silent"].tolist() == [0, 1]


def test_a_part_of_one_stream_has_plain_names_and_a_trio_names_its_streams() -> None:
    windows = np.zeros((2, 32, 3), np.uint16)
    alone = part_statistics(windows[..., :1], PARTS["melody"], 16)
    assert set(alone.histograms) == {"pitch_class", "interval", "duration", "density"}
    trio = part_statistics(windows, PARTS["trio"], 16)
    of_lines = [
        f"{name}_{line}"
        for name in ("in_scale", "silent", "rhythm_repeated", "self_similarity")
        for line in ("melody", "bass")
    ]
    assert set(trio.shares) == {*of_lines, "silent_drums"}
    assert len(trio.histograms) == 4 + 4 + 2


# Distances


def test_the_divergence_is_that_of_the_distributions() -> None:
    random = np.random.default_rng(1)
    for _ in range(5):
        counts = random.integers(1, 20, (2, 12))
        p, q = (Categorical(torch.tensor(each / each.sum())) for each in counts)
        middle = Categorical((p.probs + q.probs) / 2)
        expected = float(kl_divergence(p, middle) + kl_divergence(q, middle)) / 2 / math.log(2)
        assert divergence_bits(*counts) == pytest.approx(expected, rel=1e-9)
        assert divergence_bits(*counts) == pytest.approx(divergence_bits(*counts[::-1]))


def test_the_divergence_is_nothing_for_equal_shapes_and_one_bit_for_disjoint_ones() -> None:
    counts = np.array([1, 2, 0, 5])
    assert divergence_bits(counts, 7 * counts) == pytest.approx(0, abs=1e-12)
    assert divergence_bits(np.array([3, 0]), np.array([0, 9])) == pytest.approx(1)


def test_an_empty_histogram_is_at_no_distance() -> None:
    assert np.isnan(divergence_bits(np.zeros(3), np.ones(3)))
    with pytest.raises(ValueError, match="differ in shape"):
        divergence_bits(np.ones(3), np.ones(4))


def test_windows_that_are_no_whole_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="windows of 6 steps are no whole bars of 4"):
        line_statistics(np.zeros((1, 6), np.int64), 4)
