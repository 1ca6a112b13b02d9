"""Bars of a piece that a model fills in, with the bars around them as context, and bars behind its end.

A model that fills in bars has several codes for a window: one for every phrase of so many bars, or several for each
bar, which is a phrase then. Of a window around a gap the phrases that the gap touches are unknown, and so are those
past the section's end; the others are known.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from musicae.errors import MusicaeError
from musicae.music.assembly import Place, assemble_piece
from musicae.music.config import MusicConfig, in_words
from musicae.music.midi import time_signature_message
from musicae.music.piece import Piece
from musicae.music.windows import read_part

MOST_BARS = 512
"""Most bars that are added to a piece or filled in."""


class Gap(NamedTuple):
    """Bars to be filled in, and the window around them.

    Attributes:
        start: bar of the piece where the window begins, 1-based.
        first, last: the gap's bars of the piece.
        offset: bars of the model from the window's start to the gap's.
        unknown: of each code of the window whether it is to be drawn.
    """

    start: int
    first: int
    last: int
    offset: int
    unknown: tuple[bool, ...]


def find_gaps(piece: Piece, config: MusicConfig, first: int, last: int, codes: int) -> Iterator[Gap]:
    """Stretches of at most half a window that together are some bars; each is filled before the next one is.

    Args:
        piece: any.
        config: of the model.
        first, last: bars of the piece.
        codes: of a window of the model; a multiple or a divisor of its bars.

    Raises:
        MusicaeError: no such bars, too many, or bars in a time signature that the model doesn't read.
    """
    part = read_part(piece.with_bars(None), config)
    if not 1 <= first <= last <= part.bars:
        raise MusicaeError(f"{piece.label} has no bars {first} to {last}; choose 1 to {part.bars}.")
    if last - first >= MOST_BARS:
        raise MusicaeError(f"bars {first} to {last} are more than {MOST_BARS} at a time; choose fewer.")
    phrase_bars = max(1, config.bars // codes)
    phrases = config.bars // phrase_bars
    codes_each = codes // phrases
    for line in part.lines:
        own_first, own_last = line.section.first_bar, line.section.first_bar + line.section.bars - 1
        begin, end = max(first, own_first), min(last, own_last)
        if begin > end:
            continue
        if not line.is_read:
            raise MusicaeError(
                f"bar {begin} of {piece.label} is in {line.section.time_signature}; this model reads "
                f"{in_words(config.signatures)}; choose other bars."
            )
        if phrase_bars * line.ratio.file % line.ratio.model:
            raise MusicaeError(
                f"bar {begin} of {piece.label} is in {line.section.time_signature}, whose bars are no whole phrases of "
                "this model; choose other bars."
            )
        size = line.file_bars(phrase_bars)
        for start in range(begin, end + 1, size * max(1, phrases // 2)):
            stop = min(end, start + size * max(1, phrases // 2) - 1)
            asked = -(-(stop - start + 1) // size)
            ahead = (start - own_first) // size
            behind = (own_last - stop) // size if stop == end else 0  # what is yet to be filled in is not known
            after = min(behind, (phrases - asked) // 2)
            before = min(ahead, phrases - asked - after)
            after = min(behind, phrases - asked - before)
            known = (True,) * before + (False,) * asked + (True,) * after
            unknown = [not each for each in known] + [True] * (phrases - len(known))
            of_codes = tuple(each for each in unknown for _ in range(codes_each))
            yield Gap(start - before * size, start, stop, before * phrase_bars, of_codes)


def fill(piece: Piece, config: MusicConfig, gap: Gap, window: np.ndarray) -> Piece:
    """A piece with a gap filled in; all else stays as it is.

    Args:
        piece: of which the gap was found.
        config: of the model.
        gap: its bars.
        window: `(1, steps, columns)`, decoded, as it sounds.
    """
    stretch = piece.with_bars(gap.first, gap.last)
    part = read_part(stretch, config)
    number, line = next((number, line) for number, line in enumerate(part.lines) if line.is_read)
    own = window[:, gap.offset * line.steps_per_bar :]
    answer = np.pad(own, ((0, 0), (0, window.shape[1] - own.shape[1]), (0, 0)))
    return assemble_piece(stretch, part, config, [(Place(number, 0), answer)])


def extended(piece: Piece, bars: int) -> Piece:
    """A piece with silent bars behind its last one, in its last time signature.

    Raises:
        MusicaeError: the piece is empty.
        ValueError: not 1 to `MOST_BARS` bars.
    """
    if not isinstance(bars, int) or not 1 <= bars <= MOST_BARS:
        raise ValueError(f"bars to add are 1 to {MOST_BARS}, got {bars}")
    if not piece.note_count:
        raise MusicaeError(f"{piece.label} has no notes to go on from; choose another file.")
    last = piece.sections[-1]
    end = piece.bar_tick(piece.bars + 1) + bars * last.bar_ticks(piece.ticks_per_quarter)
    return piece.with_event(end, time_signature_message(last.numerator, last.denominator))
