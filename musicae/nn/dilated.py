"""Dilated causal convolutions over time, with the past they need as an explicit state.

Each layer is two matrix products over all frequencies at once, wide enough for a CPU, and looks back over a few
steps far apart; a stack with growing distances sees far with few layers (van den Oord et al., 2016, "WaveNet"; Luo
& Mesgarani, 2019, "Conv-TasNet"). In one piece or step by step it is the same computation, given the state.
"""

import torch
from torch import Tensor, nn


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
        """Steps that it looks back."""
        return (self.TAPS - 1) * self.dilation

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, width)` and `(batch, reach, width)` of the steps before → both for the steps after."""
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

    def start(self, batch: int) -> tuple[Tensor, ...]:
        """The state before the first step: silence."""
        like = next(self.parameters())
        return tuple(like.new_zeros(batch, layer.reach, self.width) for layer in self._layers())

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`(batch, time, width)` → the same, and the state after it."""
        after = []
        for layer, past in zip(self._layers(), state, strict=True):
            x, past = layer(x, past)
            after.append(past)
        return x, tuple(after)

    def _layers(self) -> list[DilatedLayer]:
        return [layer for layer in self.layers if isinstance(layer, DilatedLayer)]
