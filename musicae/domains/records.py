"""What domains give and take: batches, what reading a file gave, one example of a file, and kinds of functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

Corruption = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Damage: a clean batch and a generator on its device → the damaged batch, same shape."""

TensorFunction = Callable[..., torch.Tensor]
"""A batch, and its condition where the spec has one → a batch of the same shape, such as a reconstruction."""


NO_LABEL = "(none)"
"""Stands among labels for an example that has none."""


class Batch(NamedTuple):
    """What a model learns from.

    Attributes:
        target: `(batch, *spec.shape)`.
        condition: int64 `(batch, length)` labels that go with it, where the spec has a condition.
    """

    target: torch.Tensor
    condition: torch.Tensor | None = None


@dataclass(frozen=True)
class Reading:
    """What one file gave, and why the rest of it was left out.

    Attributes:
        examples: `(examples, ...)` in the domain's stored form; may have zero rows.
        skipped: reason → number of windows left out for it; a reason reads on its own
            ("fewer than 4 notes", "metre 5/4 (this model reads 4/4)").
        parts: one line for each track or channel: what it is, and whether it is used.
        groups: `(examples,)` int64; examples of one group never straddle train and test.
            None: the whole file is one group.
    """

    examples: np.ndarray
    skipped: dict[str, int] = field(default_factory=dict)
    parts: Sequence[str] = ()
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Selection:
    """One example picked from a file, with what is needed to write something like it.

    Attributes:
        example: `(1, ...)` in stored form.
        label: which part of the file this is, for people: "bars 5–6 of track 'Violin'".
        source: the domain's own record of the file (tempo, sample rate), given back to `write`.
    """

    example: np.ndarray
    label: str
    source: Any = None
