"""Columns of values beside symbols, such as velocities: where they apply, and as numbers around 0."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from musicae.spec import ValueColumn


class ValueTables(NamedTuple):
    """Of each column its middle, spread and highest number, float `(columns,)` each."""

    middle: Tensor
    spread: Tensor
    most: Tensor


@lru_cache(maxsize=16)
def value_tables(columns: tuple[ValueColumn, ...], device: torch.device) -> ValueTables:
    """Kept on the device."""
    numbers = ([column.middle, column.spread, column.levels - 1] for column in columns)
    return ValueTables(*(row.to(device) for row in torch.tensor(list(numbers)).T))


@lru_cache(maxsize=16)
def _places(columns: tuple[ValueColumn, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Of each column its stream, bit as a power of two (0: none), least symbol, vocabulary, int64 `(columns,)` each."""
    rows = ([each.stream, 0 if each.bit is None else 1 << each.bit, each.least, each.vocabulary] for each in columns)
    return tuple(row.to(device) for row in torch.tensor(list(rows)).T)


def values_apply(columns: tuple[ValueColumn, ...], symbols: Tensor) -> Tensor:
    """Where symbols have values: int64 `(..., streams or more)` → bool `(..., values)`; see `ValueColumn.applies`."""
    stream, power, least, vocabulary = _places(columns, symbols.device)
    own = symbols[..., stream]
    # Without shifts of bits and choices of truth values, which few runtimes of exported graphs have.
    has_bit = own // power.clamp_min(1) % 2 == 1
    return (own < vocabulary) & ((power == 0) & (own >= least) | (power > 0) & has_bit)


def scaled_values(columns: tuple[ValueColumn, ...], symbols: Tensor) -> Tensor:
    """The last columns of `(..., columns)` around 0, and 0 where they don't apply, float `(..., values)`."""
    table = value_tables(columns, symbols.device)
    own = (symbols[..., symbols.shape[-1] - len(columns) :] - table.middle) / table.spread
    return torch.where(values_apply(columns, symbols), own, 0.0)
