"""`Bands`: rows for the frequencies of a spectrum, one each for low ones and one for several high ones.

The ear tells high frequencies apart by bands (Glasberg & Moore, 1990), and a network that sees them so takes hardly
longer for 24 kHz than for 8.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from musicae.precision import in_float32

PRESENT = 1e-6
"""Of the power of a sound's loudest cell; frequencies that never reach it count as empty."""
_LEAST = 4
"""Fewer frequencies than this at the end belong to the row below."""


@dataclass(frozen=True)
class Bands:
    """How rows are cut.

    Attributes:
        single: frequencies that are rows of their own, from the lowest.
        wider: `(count, width)`, upwards: so many rows of so many frequencies; the last kind goes on to the end.
    """

    single: int
    wider: tuple[tuple[int, int], ...]

    def rows(self, frequencies: int) -> int:
        """How many rows there are."""
        return len(_sizes(self, frequencies))

    @in_float32
    def means(self, power: Tensor) -> Tensor:
        """`(..., frequency, time)` → the mean of each row, `(..., rows, time)`."""
        above = _tables(self, power.shape[-2])[1].to(power)
        mean = torch.einsum("...ft,rf->...rt", power[..., self.single :, :], above)
        return torch.cat([power[..., : self.single, :], mean], dim=-2)

    def middles(self, frequencies: int) -> Tensor:
        """The mean of the numbers of each row's frequencies, `(rows,)`."""
        return self.means(torch.arange(float(frequencies), device="cpu")[:, None])[:, 0]

    def spread(self, rows: Tensor, frequencies: int) -> Tensor:
        """`(..., rows, time)` → to each frequency what its row has, `(..., frequency, time)`."""
        return rows.index_select(-2, _tables(self, frequencies)[0].to(rows.device))


EXTENSION = Bands(64, ((48, 4), (16, 8), (8, 16)))
"""Of a model that fills in a missing band. With windows of 32 ms: single frequencies to 2 kHz, 125 Hz to 8 kHz, 250 Hz
to 12 kHz, 500 Hz above."""
NOTES = Bands(384, ((64, 4), (128, 16)))
"""Of sound that is made of a code. With windows of 93 ms: single frequencies to 4.1 kHz, the highest note of a piano,
43 Hz to 6.9 kHz, 172 Hz above."""


def below_the_end(power: Tensor, share: float = 0.0) -> Tensor:
    """Which rows hold anything, or lie below one that does: `(batch, rows, time)` → bool `(batch, rows)`.

    Args:
        power: of rows, or of single frequencies.
        share: of the loudest cell's power, that a row has to exceed once.
    """
    loudest = power.amax(-1)
    holds = loudest > share * loudest.amax(-1, keepdim=True)
    return holds.flip(1).cumsum(1).flip(1) > 0


def _sizes(bands: Bands, frequencies: int) -> list[int]:
    """How many frequencies each row has."""
    sizes = [1] * min(bands.single, frequencies)
    for number, (count, width) in enumerate(bands.wider, start=1):
        whole = (frequencies - sum(sizes)) // width
        sizes += [width] * (whole if number == len(bands.wider) else min(count, whole))
    rest = frequencies - sum(sizes)
    if rest and rest < _LEAST and len(sizes) > bands.single:
        sizes[-1] += rest
    elif rest:
        sizes.append(rest)
    return sizes


@lru_cache(maxsize=8)
def _tables(bands: Bands, frequencies: int) -> tuple[Tensor, Tensor]:
    """The row of each frequency, int64, and weights of the means above the single ones, `(rows, frequencies)`."""
    sizes = _sizes(bands, frequencies)
    above = sizes[bands.single :]
    with torch.inference_mode(False):  # they outlive the call
        row = torch.tensor([number for number, size in enumerate(sizes) for _ in range(size)], device="cpu")
        means = torch.zeros(len(above), sum(above), device="cpu")
        start = 0
        for number, size in enumerate(above):
            means[number, start : start + size] = 1 / size
            start += size
    return row, means
