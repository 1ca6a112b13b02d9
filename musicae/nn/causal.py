"""Causal layers: no step depends on a later one. They take a whole sequence, or go on step by step.

Dilated convolutions (van den Oord et al., 2016, "WaveNet") are written as matrix products over shifted copies, which a
CPU computes fast. `CausalStack` is for symbols, decoded one at a time from a growing memory; `DilatedStack` is for the
frames of a sound (Luo & Mesgarani, 2019, "Conv-TasNet"), and the past that it needs is an explicit state.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.nn.values import scaled_values
from musicae.spec import TensorSpec


class SymbolEmbedding(nn.Module):
    """The sum of one embedding for each stream, and of the values, int64 `(..., columns)` → `(..., width)`.

    Args:
        spec: of the steps; each stream's table has one more row than symbols and pads for "nothing yet", see `start`.
        width: size of an embedding.
    """

    def __init__(self, spec: TensorSpec, width: int) -> None:
        super().__init__()
        self.sizes = spec.symbols[: len(spec.vocabulary)]
        self.columns = spec.values
        self.tables = nn.ModuleList(nn.Embedding(size + 1, width) for size in self.sizes)
        for table in self.tables:
            nn.init.normal_(table.get_parameter("weight"), std=0.3)
        if self.columns:
            self.values = nn.Linear(len(self.columns), width, bias=False)
            nn.init.normal_(self.values.weight, std=0.3)

    def start(self, rows: int, device: torch.device) -> Tensor:
        """The symbols before the first step, "nothing yet", int64 `(rows, columns)`."""
        first = (*self.sizes, *(0 for _ in self.columns))
        return torch.stack([torch.full((rows,), symbol, device=device) for symbol in first], 1)

    def forward(self, symbols: Tensor) -> Tensor:
        """int64 `(..., columns)` → `(..., width)`."""
        embedded = torch.stack([table(symbols[..., index]) for index, table in enumerate(self.tables)]).sum(0)
        return embedded + self.values(scaled_values(self.columns, symbols)) if self.columns else embedded

    def previous(self, symbols: Tensor) -> Tensor:
        """Shifts right by one, so that each step has the symbols before it, which a causal decoder may see.

        Args:
            symbols: int64 `(batch, steps, columns)`.

        Returns:
            The same shape; the first step is `start`.
        """
        start = self.start(symbols.shape[0], symbols.device)
        return torch.cat([start.unsqueeze(1), symbols[:, :-1]], dim=1)


def word_dropout(symbols: Tensor, share: float) -> Tensor:
    """Replaces a share of the steps by others drawn from the same batch, so frequencies stay (Bowman et al., 2016).

    Args:
        symbols: int64 `(batch, steps, columns)`.
        share: share of the steps, 0 to 1; draws come from torch's default generator.
    """
    other = symbols.flatten(0, 1)[torch.randperm(symbols.shape[0] * symbols.shape[1], device=symbols.device)]
    chosen = torch.rand(symbols.shape[:2], device=symbols.device) < share
    return torch.where(chosen.unsqueeze(-1), other.view_as(symbols), symbols)


class CausalLayer(nn.Module):
    """x + W₂·act(W₁·[norm(x_t), norm(x_{t - dilation})])."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(2 * width, width)
        self.activation = nn.GELU()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, steps, width)` → the same; no step depends on a later one."""
        now = self.norm(x)
        past = F.pad(now, (0, 0, self.dilation, 0))[:, : now.shape[1]]
        return self.join(x, now, past)

    def step(self, x: Tensor, memory: list[Tensor]) -> Tensor:
        """One step, `(batch, width)` → the same; `memory` holds this layer's earlier steps and grows."""
        now = self.norm(x)
        past = memory[-self.dilation] if len(memory) >= self.dilation else torch.zeros_like(now)
        memory.append(now)
        return self.join(x, now, past)

    def join(self, x: Tensor, now: Tensor, past: Tensor) -> Tensor:
        """A step, the norm of it, and that of the step `dilation` before, zeros if there is none → the output."""
        return x + self.out(self.activation(self.mix(torch.cat([now, past], dim=-1))))


def layers_for(reach: int) -> int:
    """How many layers of dilations 1, 2, 4, … look back over `reach` steps, the present one counted."""
    return max(0, reach - 1).bit_length()


class CausalStack(nn.Module):
    """Causal layers with dilations 1, 2, 4, …: as many as it takes to look back over `reach` steps."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CausalLayer(width, 2**layer) for layer in range(layers_for(reach)))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, steps, width)` → the same."""
        for layer in self.layers:
            x = layer(x)
        return x

    def start(self) -> list[list[Tensor]]:
        """An empty memory for `step`."""
        return [[] for _ in self.layers]

    def step(self, x: Tensor, memory: list[list[Tensor]]) -> Tensor:
        """`(batch, width)` → the same, appending to `memory`."""
        for layer, past in zip(self.layers, memory, strict=True):
            x = cast(CausalLayer, layer).step(x, past)
        return x


class DilatedLayer(nn.Module):
    """x + W₂·act(W₁·[norm(x_t), norm(x_{t - d}), norm(x_{t - 2d})]), d the dilation."""

    TAPS = 3

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(self.TAPS * width, width)
        self.activation = nn.GELU()
        self.out = nn.Linear(width, width)

    @property
    def reach(self) -> int:
        """Number of steps that it looks back."""
        return (self.TAPS - 1) * self.dilation

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, width)` and the `(batch, reach, width)` before → output and next state, same shapes."""
        time, dilation = x.shape[1], self.dilation
        seen = torch.cat((past, self.norm(x)), dim=1)  # (batch, reach + time, width)
        taps = [seen[:, tap * dilation : tap * dilation + time] for tap in range(self.TAPS)]
        return x + self.out(self.activation(self.mix(torch.cat(taps, dim=-1)))), seen[:, time:]


class DilatedStack(nn.Module):
    """Dilated layers, each looking back twice as far as the one before it."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(DilatedLayer(width, 2**number) for number in range(layers))

    @property
    def reaches(self) -> list[int]:
        """Number of steps that each layer looks back."""
        return [layer.reach for layer in self._layers()]

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`(batch, time, width)` → the same, and the state after it."""
        after = []
        for layer, past in zip(self._layers(), state, strict=True):
            x, past = layer(x, past)
            after.append(past)
        return x, tuple(after)

    def _layers(self) -> list[DilatedLayer]:
        return [layer for layer in self.layers if isinstance(layer, DilatedLayer)]


def running_sum(values: Tensor, before: Tensor, decay: float) -> Tensor:
    """Sums s_t = values_t + decay · s_{t-1}, in about log₂(time) passes over the whole.

    Args:
        values: `(..., time)`.
        before: `(...)`, the sum before the first value.
        decay: share of the past that is left after each step, in 0…1.

    Returns:
        `(..., time)`; the last sum is `before` for the values that follow.
    """
    sums, reach, time = values, 1, values.shape[-1]
    while reach < time:  # each of `sums` covers `reach` values; adding the one `reach` before it doubles that
        sums = sums + decay**reach * F.pad(sums[..., :-reach], (reach, 0))
        reach *= 2
    ages = torch.arange(1, time + 1, device=values.device, dtype=values.dtype)
    return sums + before[..., None] * decay**ages
