"""Sequence layers for `steps`: symbol embeddings and a causal stack that trains in parallel.

The causal stack is a dilated one (van den Oord et al., 2016, "WaveNet") written as matrix products
over shifted copies instead of convolutions, which is what CPUs and GPUs do fastest. `forward` sees
all steps at once; `step` continues from a memory and gives the same numbers one step at a time.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class SymbolEmbedding(nn.Module):
    """Sum of one embedding a stream, int64 `(..., streams)` → `(..., width)`.

    Args:
        vocabulary: symbols of each stream; each table has one more row, `start`, for "nothing yet".
        width: numbers an embedding has.
    """

    start: Tensor

    def __init__(self, vocabulary: Sequence[int], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size + 1, width) for size in vocabulary)
        for table in self.tables:
            nn.init.normal_(table.get_parameter("weight"), std=0.3)
        self.register_buffer("start", torch.tensor(list(vocabulary)), persistent=False)

    def forward(self, symbols: Tensor) -> Tensor:
        """int64 `(..., streams)` → `(..., width)`."""
        return torch.stack([table(symbols[..., index]) for index, table in enumerate(self.tables)]).sum(0)

    def previous(self, symbols: Tensor) -> Tensor:
        """Shifts right by one: what a causal decoder may see at each step.

        Args:
            symbols: int64 `(batch, steps, streams)`.
        """
        start = self.start.expand(symbols.shape[0], 1, -1)
        return torch.cat([start, symbols[:, :-1]], dim=1)


def replace_some(symbols: Tensor, share: float) -> Tensor:
    """Replaces a share of the steps by others drawn from the same batch, so frequencies stay.

    Args:
        symbols: int64 `(batch, steps, streams)`.
        share: of the steps, 0 to 1; draws come from torch's default generator.
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
        """`(batch, steps, width)` → the same; no step sees a later one."""
        now = self.norm(x)
        past = torch.nn.functional.pad(now, (0, 0, self.dilation, 0))[:, : now.shape[1]]
        return self._join(x, now, past)

    def step(self, x: Tensor, memory: list[Tensor]) -> Tensor:
        """One step, `(batch, width)` → the same; `memory` holds this layer's earlier steps and grows."""
        now = self.norm(x)
        past = memory[-self.dilation] if len(memory) >= self.dilation else torch.zeros_like(now)
        memory.append(now)
        return self._join(x, now, past)

    def _join(self, x: Tensor, now: Tensor, past: Tensor) -> Tensor:
        return x + self.out(self.activation(self.mix(torch.cat([now, past], dim=-1))))


class CausalStack(nn.Module):
    """Causal layers with dilations 1, 2, 4, …, enough to reach back over `reach` steps."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        dilations: list[int] = []
        while 1 + sum(dilations) < reach:
            dilations.append(2 ** len(dilations))
        self.layers = nn.ModuleList(CausalLayer(width, dilation) for dilation in dilations)

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
