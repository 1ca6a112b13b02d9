"""Starter music as a domain reads it, pieces put through functions, and the events of a piece."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from musicae.domain import Answers, Reading
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.midi import read_events
from musicae.music.piece import Piece
from musicae.music.starters import starter_pieces
from musicae.starter import starter_file


def common(**settings: Any) -> MusicDomain:
    """A domain of 4/4 alone, whose tensors are windows as they sound."""
    return MusicDomain(MusicConfig(time_signature="4/4", **settings))


def starter(domain: MusicDomain) -> Iterator[tuple[str, Reading]]:
    """Title of each starter piece, and what a domain reads in it."""
    for piece in _pieces(domain.config.part):
        yield piece.title, domain.examples(piece)


def starter_windows(domain: MusicDomain, count: int | None = None) -> np.ndarray:
    """The stored windows of all starter pieces."""
    return np.concatenate([reading.examples for _, reading in starter(domain)])[:count]


@lru_cache(maxsize=4)
def _pieces(part: str) -> tuple[Piece, ...]:
    """Converting the tunes takes seconds, and many tests read them."""
    return tuple(starter_pieces(MusicConfig(part=part), starter_file))


def map_piece(domain: MusicDomain, piece: Piece, function: Callable[[Tensor], Tensor]) -> Piece:
    """Puts a piece through a function of its windows."""
    return domain.assemble(piece, Answers(lambda: domain.windows(piece), lambda batch: function(batch.target)))


def events(piece: Piece, *, with_notes: bool = False) -> list[tuple[int, int, bytes]]:
    """`(chunk, tick, message)` of every event of a piece, read anew from its bytes; of notes where asked."""
    file = read_events(piece.to_bytes(), "test")
    return [
        (number, tick, message)
        for number, chunk in enumerate(file.tracks)
        for tick, message in zip(chunk.ticks.tolist(), chunk.messages, strict=True)
        if with_notes or message[0] & 0xE0 != 0x80
    ]
