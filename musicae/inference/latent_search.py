"""Looks for codes near others whose examples come out as wanted: an evolution strategy over decoded candidates.

What is wanted is often not smooth in the code: symbols are discrete, and so are most attributes. So candidates are
decoded and scored; the best are mixed and changed a little, over and over (Beyer & Schwefel, 2002, "Evolution
strategies"). Every row is searched for by itself, all of them in one batch, and a row is done when it is good enough.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from musicae.pipeline import Pipeline

POPULATION = 48
_PARENTS = 6
_ROUNDS = 8
_MOST_ROUNDS = 24  # for rows that are not good enough yet
_SMALLEST, _LARGEST = 0.02, 0.5  # deviation of a change of a number of the code
_AT_ONCE = 64  # rows, which bounds the memory


class Found(NamedTuple):
    """The best candidates.

    Attributes:
        base: codes `(rows, *latent_shape)`, in the space where the prior is a standard normal.
        tensor: decoded, `(rows, *spec.shape)`, on the CPU.
        cost: float64 `(rows,)`, for whoever wants to know how near they came.
    """

    base: Tensor
    tensor: Tensor
    cost: Tensor


def search(
    pipeline: Pipeline,
    first: Callable[[slice, torch.Generator], Tensor],
    cost: Callable[[Tensor, Tensor], Tensor],
    rows: int,
    seed: int,
    *,
    condition: Tensor | None = None,
    good_enough: float = 0.0,
) -> Found:
    """Searches. What is drawn is the same for every row, so that equal rows find the same.

    Args:
        pipeline: decodes.
        first: some of the rows, and a generator → their first candidates, `(rows, POPULATION, *latent_shape)`.
        cost: decoded candidates `(n, *spec.shape)` on the CPU and the row of each `(n,)` → what to make small,
            float64 `(n,)`.
        rows: how many codes are wanted.
        seed: of all draws.
        condition: `(rows, length)`, what each is decoded with.
        good_enough: a cost at which the search for a row ends before its time.
    """
    parts = []
    for start in range(0, rows, _AT_ONCE):
        here, generator = slice(start, min(start + _AT_ONCE, rows)), pipeline.generator(seed)
        given = None if condition is None else condition[here]
        parts.append(_Search(pipeline, first(here, generator), start, cost, given, generator).run(good_enough))
    return Found(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


class _Search:
    """The search for some rows."""

    def __init__(
        self,
        pipeline: Pipeline,
        first: Tensor,
        start: int,
        cost: Callable[[Tensor, Tensor], Tensor],
        condition: Tensor | None,
        generator: torch.Generator,
    ) -> None:
        self.pipeline, self.start, self.cost = pipeline, start, cost
        self.condition, self.generator = condition, generator
        every = torch.arange(len(first))
        decoded, costs = self._scored(first, every)
        self.codes, self.decoded, self.costs = _best(first, decoded, costs, _PARENTS)

    def run(self, good_enough: float) -> Found:
        """The best candidates, after rounds for the rows that are not good enough yet."""
        for count in range(_MOST_ROUNDS):
            enough = 0 if count < _ROUNDS else good_enough
            rows = (self.costs[:, 0] > enough).nonzero()[:, 0]
            if not len(rows):
                break
            parents = self.codes[rows]
            children = self._children(parents)
            decoded, costs = self._scored(children, rows)
            together = (
                torch.cat([parents, children], 1),
                torch.cat([self.decoded[rows], decoded], 1),
                torch.cat([self.costs[rows], costs], 1),
            )
            self.codes[rows], self.decoded[rows], self.costs[rows] = _best(*together, _PARENTS)
        return Found(self.codes[:, 0], self.decoded[:, 0], self.costs[:, 0])

    def _children(self, parents: Tensor) -> Tensor:
        """Two parents each, number by number, and a change; `(rows, parents, …)` → `(rows, POPULATION, …)`."""
        _, _, *shape = parents.shape
        flat = parents.flatten(2)
        one, other = (flat[:, torch.randint(_PARENTS, (POPULATION,), generator=self.generator, device=flat.device)]
                      for _ in range(2))  # fmt: skip
        mixed = torch.where(self._uniform(POPULATION, flat.shape[2]) < 0.5, one, other)
        size = _SMALLEST * (_LARGEST / _SMALLEST) ** self._uniform(POPULATION, 1)
        change = torch.randn(mixed.shape[1:], generator=self.generator, device=flat.device)
        return (mixed + size * change).unflatten(2, tuple(shape))

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.codes.device)

    def _scored(self, codes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates decoded, `(rows, candidates, *spec.shape)`, and their costs."""
        count, candidates = codes.shape[:2]
        each = rows.repeat_interleave(candidates)
        flat = codes.flatten(0, 1)
        given = None if self.condition is None else self.condition[each.to(self.condition.device)]
        decoded = self.pipeline.decode(flat, given).cpu()
        costs = self.cost(decoded, each + self.start)
        return decoded.unflatten(0, (count, candidates)), costs.unflatten(0, (count, candidates))


def _best(codes: Tensor, decoded: Tensor, costs: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest of each row, the best first."""
    order = costs.argsort(dim=1, stable=True)[:, :count]
    row = torch.arange(len(order)).unsqueeze(1)
    return codes[row.to(codes.device), order.to(codes.device)], decoded[row, order], costs[row, order]
