"""What scores without a model, against windows written out by hand."""

import numpy as np
import pytest

from musicae.music.statistics import always, bar_before, most_frequent


def test_the_most_frequent_token_is_each_streams_own() -> None:
    tokens = np.array([[[5, 0], [5, 3], [0, 3]], [[5, 3], [0, 0], [7, 3]]])  # (2, 3, 2)
    assert most_frequent(tokens, (90, 90)).tolist() == [5, 3]


def test_of_equally_frequent_tokens_the_lowest_is_taken() -> None:
    assert most_frequent(np.array([[[9], [4], [4], [9]]]), (90,)).tolist() == [4]


def test_pads_are_no_tokens() -> None:
    assert most_frequent(np.array([[[9], [4], [4], [90], [90], [90]]]), (90,)).tolist() == [4]


def test_always_says_the_same_in_the_shape_and_type_of_the_music() -> None:
    tokens = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    held = always(np.array([4, 1]), tokens)
    assert held.dtype == np.uint8
    assert held.tolist() == [[[4, 1]] * 3] * 2
    held[0, 0, 0] = 9
    assert held[1, 0, 0] == 4


def test_every_bar_is_the_bar_before_and_the_first_is_the_most_frequent() -> None:
    bars = [[1, 2], [3, 4], [5, 6]]
    tokens = np.array(bars).reshape(1, 6, 1)
    assert bar_before(np.array([8]), tokens, 2)[0, :, 0].tolist() == [8, 8, 1, 2, 3, 4]


def test_a_single_bar_has_none_before_it() -> None:
    assert bar_before(np.array([8]), np.array([[[1], [2]]]), 2)[0, :, 0].tolist() == [8, 8]


def test_windows_that_are_no_whole_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="windows of 5 steps are no whole bars of 2"):
        bar_before(np.array([0]), np.zeros((1, 5, 1), np.int64), 2)
