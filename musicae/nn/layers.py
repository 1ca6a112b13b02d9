"""Dense residual layers and attention: few and wide matrix products, which a CPU with few cores computes best.

Where several processes share a batch, the random numbers of a layer are those of the whole batch, of which each process
takes the rows of its own examples (`Share`, `draw_rows`). So a loss doesn't depend on the number of processes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_MOST_POSITIONS = 256
"""Positions up to which two matrix products are faster than torch's attention in bfloat16 on a CPU."""


class Share(NamedTuple):
    """The examples of a batch that this process computes.

    Attributes:
        batch: the targets of all processes, `(batch, *spec.shape)`.
        first: row of the batch that is this process's first.
        rows: how many it has.
        is_first: whether they are computed first, of those of a process that computes its share in parts.
    """

    batch: Tensor
    first: int
    rows: int
    is_first: bool = True


_share: Share | None = None


@contextmanager
def share_of_batch(share: Share | None) -> Iterator[None]:
    """Inside, random draws are made for the whole batch; None changes nothing."""
    global _share
    before, _share = _share, share
    try:
        yield
    finally:
        _share = before


def whole_batch(target: Tensor) -> Tensor:
    """The targets of all processes; `target` itself where no batch is shared."""
    return target if _share is None else _share.batch


def begins_step() -> bool:
    """Whether a step of training begins, and does not go on with another part of its batch."""
    return _share is None or _share.is_first


def own_rows(x: Tensor) -> Tensor:
    """What belongs to this process's examples, of `(batch · n, ...)` for all processes: `(rows · n, ...)`."""
    if _share is None:
        return x
    each = len(x) // len(_share.batch)
    return x[_share.first * each : (_share.first + _share.rows) * each]


def draw_rows(draw: Callable[[tuple[int, ...]], Tensor], shape: tuple[int, ...]) -> Tensor:
    """`draw(shape)`; of a shared batch the own rows of what is drawn for all of it.

    Args:
        draw: makes random numbers of a shape.
        shape: `(rows · n, ...)`.
    """
    if _share is None:
        return draw(shape)
    return own_rows(draw((shape[0] // _share.rows * len(_share.batch), *shape[1:])))


def summed_over_processes(x: Tensor) -> Tensor:
    """The sum of a tensor of each process, where several train together; all have to call this. It may be `x` itself.

    The host of a GPU doesn't wait for it.
    """
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(x)
    return x


class Dropout(nn.Dropout):
    """torch's, with the mask of the whole batch where several processes share it."""

    def forward(self, x: Tensor) -> Tensor:
        """`(rows · n, ...)` → the same."""
        if _share is None or not self.training or self.p == 0:
            return super().forward(x)
        return x * draw_rows(lambda shape: F.dropout(x.new_ones(shape), self.p), tuple(x.shape))


def one_hot(classes: Tensor, count: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """int64 `(...)` → `(..., count)`; as torch's, but nothing is checked, for which the host would have to wait."""
    zeros = torch.zeros(*classes.shape, count, dtype=dtype, device=classes.device)
    return zeros.scatter_(-1, classes.unsqueeze(-1), 1.0)


class ResidualBlock(nn.Module):
    """x + W₂·act(W₁·norm(x)), width kept. Dropout on the inner activation."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, width)
        self.activation = nn.GELU()
        self.dropout = Dropout(dropout)
        self.narrow = nn.Linear(width, width)
        nn.init.zeros_(self.narrow.bias)
        nn.init.normal_(self.narrow.weight, std=0.1 / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., width)` → `(..., width)`."""
        return x + self.narrow(self.dropout(self.activation(self.widen(self.norm(x)))))


class ResidualMLP(nn.Sequential):
    """inputs → width → `depth` residual blocks → outputs: `(..., inputs)` → `(..., outputs)`.

    Args:
        inputs, width, outputs, depth: sizes.
        dropout: on the inner activations.
        linear_path: leave out the last normalisation, so that inputs and outputs are also connected by matrix products
            alone; a nearly linear function, such as many principal components, is then learned quickly.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, depth: int, *, dropout: float = 0.0, linear_path: bool = False
    ) -> None:
        blocks: list[nn.Module] = [ResidualBlock(width, dropout) for _ in range(depth)]
        norm = nn.Identity() if linear_path else nn.LayerNorm(width)
        super().__init__(nn.Linear(inputs, width), *blocks, norm, nn.Linear(width, outputs))


def attention(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool = False) -> Tensor:
    """Scaled dot-product attention (Vaswani et al., 2017), with the heads joined.

    On a CPU torch's own kernel takes several times as long in bfloat16 as in float32, forward and backward, so short
    rows are attended to by two matrix products. For the backward pass these keep a score for each pair of positions.

    Args:
        query: `(batch, heads, queries, numbers)`.
        key, value: `(batch, heads, positions, numbers)`.
        is_causal: whether no query attends to what stands after it.

    Returns:
        `(batch, queries, heads · numbers)`.
    """
    positions = key.shape[2]
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or positions > _MOST_POSITIONS:
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    else:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
        if is_causal:
            after = torch.ones(query.shape[2], positions, dtype=torch.bool, device=query.device).triu(1)
            scores = scores.masked_fill(after, -torch.inf)
        mixed = scores.softmax(3).to(value.dtype) @ value
    return mixed.transpose(1, 2).flatten(2)


class AttentionBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); every position attends to every other.

    Args:
        width: numbers of each position, a multiple of `heads`.
        heads: number of attention heads.
    """

    is_causal: ClassVar[bool] = False
    """Whether no position attends to a later one."""

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
        x = x + self.join_heads(attention(query, key, value, is_causal=self.is_causal))
        return torch.add(x, self.mlp(x))


class CausalAttentionBlock(AttentionBlock):
    """Attention to what stands before, and a wider MLP; no position sees a later one."""

    is_causal = True

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__(width, heads)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), Dropout(dropout), nn.Linear(4 * width, width)
        )
        nn.init.normal_(self.mlp[-1].get_parameter("weight"), std=0.1 / width**0.5)

    def step(self, x: Tensor, memory: list[Tensor]) -> Tensor:
        """One position more, `(batch, 1, width)` → the same; `memory` has the keys and values before it, and grows."""
        joined = self.to_query_key_value(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        query, *own = joined.permute(2, 0, 3, 1, 4)  # each (batch, heads, 1, width / heads)
        memory[:] = [torch.cat([past, new], 2) for past, new in zip(memory, own, strict=True)] if memory else own
        x = x + self.join_heads(attention(query, memory[0], memory[1]))
        return torch.add(x, self.mlp(x))


class AttentionStack(nn.Module):
    """Adds a learned position embedding, then attention blocks. `(batch, positions, width)` → the same.

    With no blocks, or a single position, it is the identity.
    """

    def __init__(self, positions: int, width: int, blocks: int, heads: int = 4) -> None:
        super().__init__()
        blocks = blocks if positions > 1 else 0
        self.blocks = nn.Sequential(*(AttentionBlock(width, heads) for _ in range(blocks)))
        self.position_embedding = nn.Parameter(torch.randn(positions, width).mul_(0.02)) if blocks else None

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, positions, width)` → the same."""
        return x if self.position_embedding is None else self.blocks(x + self.position_embedding)
