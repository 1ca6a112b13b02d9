"""Bars to be filled in: which phrases around them are known, and that nothing else changes."""

import numpy as np
import pytest
from music_pieces import events

from musicae.errors import MusicaeError
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.gaps import extended, fill, find_gaps
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece

Q = 480
CONFIG = MusicConfig(bars=16)


def tune(bars: int, signature: tuple[int, int] = (4, 4), *, then: tuple[int, int] | None = None) -> Piece:
    """A note a quarter, and chords on another track; with `then` as many bars again in another time signature."""
    ticks = 4 * Q * signature[0] // signature[1]
    signatures, end = [(0, *signature)], bars * ticks
    if then is not None:
        signatures.append((end, *then))
        end += bars * 4 * Q * then[0] // then[1]
    start = np.arange(0, end, Q)
    line = Notes(start, start + Q, 60 + np.arange(len(start)) % 12, np.full(len(start), 80))
    chords = Notes(start, start + Q, np.full(len(start), 40), np.full(len(start), 50))
    tracks = [NewTrack("melody", 0, False, line), NewTrack("chords", 4, False, chords)]
    return Piece.new(tracks, time_signatures=signatures, end=end, name="tune")


def gaps(piece: Piece, first: int, last: int) -> list[tuple[int, int, int, int, str]]:
    return [
        (gap.start, gap.first, gap.last, gap.offset, "".join("?" if each else "k" for each in gap.unknown))
        for gap in find_gaps(piece, CONFIG, first, last, 8)
    ]


@pytest.mark.parametrize(
    ("bars", "first", "last", "wanted"),
    [
        (32, 17, 18, [(9, 17, 18, 8, "kkkk?kkk")]),  # both sides
        (32, 1, 2, [(1, 1, 2, 0, "?kkkkkkk")]),  # the beginning
        (32, 31, 32, [(17, 31, 32, 14, "kkkkkkk?")]),  # the end
        (32, 16, 16, [(8, 16, 16, 8, "kkkk?kkk")]),  # half a phrase
        (4, 3, 4, [(1, 3, 4, 2, "k???????")]),  # a short piece: what is past its end is unknown
        (4, 1, 4, [(1, 1, 4, 0, "????????")]),  # all of it
        (16, 1, 16, [(1, 1, 8, 0, "????????"), (1, 9, 16, 8, "kkkk????")]),
    ],
)
def test_the_phrases_around_a_gap_are_known(bars: int, first: int, last: int, wanted: list) -> None:
    assert gaps(tune(bars), first, last) == wanted


def test_of_several_codes_for_each_bar_those_of_the_gap_are_unknown() -> None:
    config = MusicConfig(bars=2)
    found = [tuple(gap) for gap in find_gaps(tune(8), config, 3, 4, 6)]
    known, unknown = (False,) * 3, (True,) * 3
    assert found == [(2, 3, 3, 1, known + unknown), (3, 4, 4, 1, known + unknown)]


def test_bars_of_two_quarters_are_read_in_pairs() -> None:
    assert gaps(tune(32, (2, 4)), 9, 12) == [(1, 9, 12, 4, "kk?kkkkk")]


def test_sections_are_filled_one_by_one() -> None:
    found = gaps(tune(8, then=(3, 4)), 7, 10)
    assert found == [(1, 7, 8, 6, "kkk?????"), (9, 9, 10, 0, "?kkk????")]


@pytest.mark.parametrize(("first", "last"), [(0, 2), (3, 2), (31, 33)])
def test_bars_that_are_not_there_are_refused(first: int, last: int) -> None:
    with pytest.raises(MusicaeError, match="choose 1 to 32"):
        gaps(tune(32), first, last)


def test_bars_in_another_time_signature_are_refused() -> None:
    with pytest.raises(MusicaeError, match=r"bar 9 of tune is in 5/4.*choose other bars"):
        gaps(tune(8, then=(5, 4)), 8, 9)


def test_only_the_gap_changes() -> None:
    piece, domain = tune(16), MusicDomain(CONFIG)
    (gap,) = find_gaps(piece, CONFIG, 5, 6, 8)
    window = np.zeros((1, 16 * 16, 1), np.int64)
    begin = gap.offset * 16
    window[0, begin : begin + 32 : 8, 0] = 50
    window[0, begin + 32 :, 0] = 20  # what follows the gap is left out
    filled = fill(piece, CONFIG, gap, window)
    inside = filled.notes(0).start // (4 * Q)
    new = (inside == 4) | (inside == 5)
    assert filled.notes(0).pitch[new].tolist() == [50 + 19] * 4
    before, after = piece.notes(0), filled.notes(0)
    kept = (before.start < 16 * Q) | (before.start >= 24 * Q)
    assert after.start[~new].tolist() == before.start[kept].tolist()
    assert after.pitch[~new].tolist() == before.pitch[kept].tolist()
    for ours, wanted in zip(filled.notes(1), piece.notes(1), strict=True):
        assert np.array_equal(ours, wanted)
    assert events(filled) == events(piece)
    assert filled.bars == piece.bars
    assert domain.config == CONFIG


def test_a_longer_piece_has_its_old_bars_and_silent_ones() -> None:
    piece = tune(8, (3, 4))
    longer = extended(piece, 4)
    assert longer.bars == 12
    assert longer.notes(0).start.tolist() == piece.notes(0).start.tolist()
    (gap,) = find_gaps(longer, CONFIG, 9, 12, 8)
    window = np.zeros((1, 16 * 12, 1), np.int64)
    window[0, gap.offset * 12, 0] = 33
    filled = fill(longer, CONFIG, gap, window)
    assert filled.bars == 12
    assert int(filled.notes(0).start[-1]) == 8 * 3 * Q
    with pytest.raises(ValueError, match="1 to 512"):
        extended(piece, 0)
    with pytest.raises(MusicaeError, match="no notes to go on from"):
        extended(Piece.new([], end=4 * Q), 4)
