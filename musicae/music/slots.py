"""Windows of several time signatures in one tensor: every bar has a slot as long as the longest bar.

What a short bar leaves of its slot doesn't exist: there each stream holds a *pad*, the symbol of its vocabulary's size
plus the number of the time signature. So a tensor says itself which time signature it is in, and the bars of all lie at
the same places, where a decoder decodes them in parallel. Stored windows are as they sound, one step after the other,
with zeros behind. Where there is one time signature the two are the same. This module knows numbers of steps alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Group(NamedTuple):
    """Rows of a batch that are in one time signature.

    Attributes:
        number: of the time signature.
        rows: int64 `(rows,)`, rising.
        tokens: `(rows, steps of that many bars, columns)`, as they sound.
    """

    number: int
    rows: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Slots:
    """Where the steps of a window lie.

    Attributes:
        bar_steps: 16ths in a bar of each time signature.
        bars: number of bars.
    """

    bar_steps: tuple[int, ...]
    bars: int

    @property
    def are_several(self) -> bool:
        """Whether there is more than one time signature."""
        return len(self.bar_steps) > 1

    @property
    def size(self) -> int:
        """Steps of a slot."""
        return max(self.bar_steps)

    @property
    def steps(self) -> int:
        """Steps of a tensor."""
        return self.bars * self.size

    def spread(self, tokens: Tensor, number: Tensor, vocabulary: Sequence[int]) -> Tensor:
        """Stored windows → slots.

        Args:
            tokens: int64 `(batch, steps, columns)`: streams, then values, of which none is padded.
            number: int64 `(batch,)`, of the time signature.
            vocabulary: number of symbols of each stream.

        Returns:
            int64 `(batch, steps, columns)`.
        """
        if not self.are_several:
            return tokens
        place, exists = (table[number] for table in _tables(self, tokens.device))
        spread = tokens.gather(1, place.unsqueeze(-1).expand_as(tokens))
        pads = torch.zeros_like(spread)
        for stream, size in enumerate(vocabulary):
            pads[..., stream] = size + number.unsqueeze(-1)
        return torch.where(exists.unsqueeze(-1), spread, pads)

    def joined(self, tensor: Tensor, vocabulary: Sequence[int]) -> Tensor:
        """Slots → stored windows: the inverse of `spread`, with the number of the time signature as the last column.

        Args:
            tensor: int64 `(batch, steps, columns)`, on the CPU.
            vocabulary: number of symbols of each stream.
        """
        if not self.are_several:
            return tensor
        stored = torch.zeros(*tensor.shape[:2], tensor.shape[2] + 1, dtype=torch.int64)
        for group in self.groups(tensor, vocabulary):
            stored[group.rows, : group.tokens.shape[1], :-1] = group.tokens
            stored[group.rows, :, -1] = group.number
        return stored

    def single_bars(self, stored: np.ndarray) -> np.ndarray:
        """Each bar of stored windows `(windows, steps, columns)`, with zeros behind short ones."""
        windows, _, columns = stored.shape
        if not self.are_several:
            return stored.reshape(windows * self.bars, self.size, columns)
        bars = np.zeros((windows, self.bars, self.size, columns), stored.dtype)
        for number, length in enumerate(self.bar_steps):
            rows = stored[:, 0, -1] == number
            own = stored[rows, : self.bars * length].reshape(-1, self.bars, length, columns)
            bars[rows, :, :length] = own
        return bars.reshape(-1, self.size, columns)

    def lengths(self, number: Tensor) -> Tensor:
        """Steps of a stored window in each time signature of `(batch,)`."""
        return self.bars * _lengths(self, number.device)[number]

    def numbers(self, tensor: Tensor, vocabulary: Sequence[int]) -> Tensor:
        """The time signature of each row of a tensor `(batch, steps, columns)`, int64 `(batch,)`."""
        last = tensor[:, self.size - 1, 0] - vocabulary[0]
        full = self.bar_steps.index(self.size)
        return torch.where(last >= 0, last, full) if self.are_several else torch.zeros_like(last)

    def check(self, tensor: Tensor, vocabulary: Sequence[int]) -> None:
        """Raises `ValueError` where a pad of a tensor `(batch, steps, columns)` stands elsewhere than behind a bar."""
        if not self.are_several:
            return
        numbers = self.numbers(tensor, vocabulary)
        if len(numbers) and not numbers.max() < len(self.bar_steps):
            raise ValueError(f"expected pads of {len(self.bar_steps)} time signatures")
        _, exists = (table[numbers] for table in _tables(self, tensor.device))
        for stream, size in enumerate(vocabulary):
            wanted = torch.where(exists, tensor[..., stream].clamp_max(size - 1), size + numbers.unsqueeze(1))
            if not torch.equal(tensor[..., stream], wanted):
                raise ValueError("expected every bar of a window in one time signature, with pads behind it alone")

    def groups(self, tensor: Tensor, vocabulary: Sequence[int], like: Tensor | None = None) -> Iterator[Group]:
        """Slots → what sounds, time signature after time signature.

        Args:
            tensor: int64 `(batch, steps, columns)`.
            vocabulary: number of symbols of each stream.
            like: a tensor whose time signatures count, where `tensor` holds answers to it. Answers in a shorter one, as
                between songs in two, are filled with 0.
        """
        if not self.are_several:
            yield Group(0, torch.arange(len(tensor), device=tensor.device), tensor)
            return
        numbers = self.numbers(tensor if like is None else like, vocabulary)
        for number, bar_steps in enumerate(self.bar_steps):
            rows = (numbers == number).nonzero()[:, 0]
            if len(rows):
                bars = tensor[rows].unflatten(1, (self.bars, self.size))[:, :, :bar_steps].flatten(1, 2)
                for stream, size in enumerate(vocabulary):
                    bars[..., stream].masked_fill_(bars[..., stream] >= size, 0)
                yield Group(number, rows, bars)


@lru_cache(maxsize=16)
def _lengths(slots: Slots, device: torch.device) -> Tensor:
    """Steps of a bar, int64 `(signatures,)`, kept on the device."""
    return torch.tensor(slots.bar_steps).to(device)


@lru_cache(maxsize=16)
def _tables(slots: Slots, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each time signature the stored place of every step, and whether it exists, `(signatures, steps)` each."""
    bar, step = torch.arange(slots.bars)[:, None], torch.arange(slots.size)[None]
    places, exists = [], []
    for length in slots.bar_steps:
        inside = (step < length).expand(slots.bars, -1)
        places.append(torch.where(inside, bar * length + step, 0).flatten())
        exists.append(inside.flatten())
    return torch.stack(places).to(device), torch.stack(exists).to(device)
