"""Layers for how notes are played: values (velocity, offset) in the light of the notes that they belong to.

The notes of a window are known to both sides. So a code says of the values only what the notes don't, and the same
code plays other notes in the same manner, as in *Learning to Groove with Inverse Sequence Transformations* (Gillick
et al., 2019, section 4.4). All values of a window are decoded at once. Steps are joined by matrix products along the
steps (Tolstikhin et al., 2021, "MLP-Mixer"), which suit a CPU.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from musicae.nn.causal import SymbolEmbedding
from musicae.nn.layers import Dropout
from musicae.nn.values import values_apply
from musicae.spec import TensorSpec

_NARROW = 16
"""Numbers of a step that the code is computed from, and that it is decoded to."""


class MixerBlock(nn.Module):
    """x + MLP along the steps, then x + MLP along the numbers of each step; `(batch, steps, width)` → the same."""

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.along = nn.Sequential(nn.Linear(steps, 2 * steps), nn.GELU(), nn.Linear(2 * steps, steps))
        self.across = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        for last in (self.along[-1], self.across[-1]):
            nn.init.normal_(last.get_parameter("weight"), std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, steps, width)` → the same."""
        x = x + self.along(self.norm(x).mT).mT
        return torch.add(x, self.across(x))


def mixer(steps: int, width: int, blocks: int) -> nn.Sequential:
    """So many blocks, one after the other."""
    return nn.Sequential(*(MixerBlock(steps, width) for _ in range(blocks)))


def without_values(spec: TensorSpec) -> TensorSpec:
    """The spec of the notes alone."""
    return replace(spec, shape=(spec.shape[0], len(spec.vocabulary)), likelihood="categorical", values=())


class FeelEncoder(nn.Module):
    """Notes and values, int64 `(batch, steps, columns)` → `(batch, outputs)`."""

    def __init__(self, spec: TensorSpec, width: int, layers: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = SymbolEmbedding(spec, width)
        self.steps = mixer(spec.shape[0], width, layers)
        self.narrow = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _NARROW), nn.GELU(), Dropout(dropout))
        self.code = nn.Linear(spec.shape[0] * _NARROW, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, steps, columns)` → `(batch, outputs)`."""
        return self.code(self.narrow(self.steps(self.embedding(x))).flatten(1))


class FeelDecoder(nn.Module):
    """A code `(batch, size)` and notes `(batch, steps, streams)` → parameters of the values."""

    def __init__(self, spec: TensorSpec, size: int, width: int, layers: int) -> None:
        super().__init__()
        self.columns = spec.values
        self.embedding = SymbolEmbedding(without_values(spec), width)
        self.there = nn.Linear(len(spec.values), width, bias=False)
        self.code = nn.Linear(size, spec.shape[0] * _NARROW)
        self.from_code = nn.Linear(_NARROW, width)
        self.steps = mixer(spec.shape[0], width, layers)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * len(spec.values)))

    def forward(self, z: Tensor, symbols: Tensor) -> Tensor:
        """`(batch, steps, 2 · values)`, as `CategoricalWithValues.play` takes them."""
        there = values_apply(self.columns, symbols)
        notes = self.embedding(symbols) + self.there(there.to(z.dtype))
        played = self.from_code(self.code(z).unflatten(1, (symbols.shape[1], -1)))
        return self.head(self.steps(notes + played))
