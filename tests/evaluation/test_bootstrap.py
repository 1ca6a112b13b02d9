"""Intervals of means, against the normal distribution and against groups that are not independent."""

import math

import numpy as np
import pytest

from musicae.evaluation.bootstrap import mean_intervals


def test_the_interval_of_many_examples_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, (4000, 1))
    found = mean_intervals(values)
    assert found is not None
    half = 1.96 * values.std() / math.sqrt(4000)
    assert found[0][0] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found[1][0] == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_examples_that_go_together_make_the_interval_wider() -> None:
    group = np.repeat(np.arange(40), 25)
    values = np.random.default_rng(1).normal(0, 1, 40)[group, None]  # all of a group are equal
    alone, together = mean_intervals(values), mean_intervals(values, group)
    assert alone is not None and together is not None
    assert (together[1] - together[0]) / (alone[1] - alone[0]) == pytest.approx(5, rel=0.2)  # √25


def test_groups_count_by_their_size() -> None:
    group = np.array([7] * 90 + [3] * 10)
    found = mean_intervals((group == 7).astype(float)[:, None], group)
    assert found is not None
    assert (found[0][0], found[1][0]) == (0.0, 1.0)
    both = mean_intervals(np.stack([np.ones(100), np.zeros(100)], axis=1), group)
    assert both is not None
    assert both[0].tolist() == both[1].tolist() == [1.0, 0.0]


def test_a_seed_fixes_the_interval_and_the_level_widens_it() -> None:
    values = np.random.default_rng(2).normal(size=(200, 2))
    one, again, other = (mean_intervals(values, seed=seed) for seed in (1, 1, 2))
    wide = mean_intervals(values, level=0.99, seed=1)
    assert one is not None and again is not None and other is not None and wide is not None
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert (wide[0] < one[0]).all() and (wide[1] > one[1]).all()


def test_many_groups_are_drawn_in_parts() -> None:
    values = np.random.default_rng(3).normal(size=(20_000, 1))
    found = mean_intervals(values)
    assert found is not None
    assert found[1][0] - found[0][0] == pytest.approx(2 * 1.96 / math.sqrt(20_000), rel=0.1)


def test_one_group_says_nothing_about_others() -> None:
    assert mean_intervals(np.ones((5, 1)), np.zeros(5)) is None
    assert mean_intervals(np.ones((1, 1))) is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a group for each of 5 examples"):
        mean_intervals(np.ones((5, 1)), np.zeros(4))
    with pytest.raises(ValueError, match="level is between 0 and 1"):
        mean_intervals(np.ones((5, 1)), level=95)
