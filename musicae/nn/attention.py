"""Attention among a few positions, such as the bars of a piece (Vaswani et al., 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); every position sees every other.

    Args:
        width: numbers a position has, a multiple of `heads`.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_query_key_value = nn.Linear(width, 3 * width)
        self.join_heads = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        for last in (self.join_heads, self.mlp[-1]):
            nn.init.normal_(last.get_parameter("weight"), std=0.1 / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, positions, width)` → the same."""
        joined = self.to_query_key_value(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = joined.permute(2, 0, 3, 1, 4)  # each (batch, heads, positions, width / heads)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.join_heads(mixed)
        return torch.add(x, self.mlp(x))


class AmongPositions(nn.Module):
    """Learned places added, then attention blocks. `(batch, positions, width)` → the same.

    With no blocks, or a single position, it changes nothing.
    """

    def __init__(self, positions: int, width: int, blocks: int, heads: int = 4) -> None:
        super().__init__()
        blocks = blocks if positions > 1 else 0
        self.blocks = nn.Sequential(*(AttentionBlock(width, heads) for _ in range(blocks)))
        self.places = nn.Parameter(0.02 * torch.randn(positions, width)) if blocks else None

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, positions, width)` → the same."""
        return x if self.places is None else self.blocks(x + self.places)
