"""`TensorSpec`: the shape and meaning of tensors, on which domains and models agree.

A domain states the tensors that it makes; a model is built for a spec, and knows nothing else of the data. Nothing here
knows files, networks or training.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from typing import Any


class Layout(StrEnum):
    """How a batch is laid out.

    `GRID` is float `(batch, channels, height, width)`: pictures, and spectrograms as
    `(batch, channels, frequency, time)`. `STEPS` is int64 `(batch, steps, columns)`: symbolic music. Its columns are
    streams of symbols, and behind them whole numbers that say how symbols are played.
    """

    GRID = "grid"
    STEPS = "steps"


@dataclass(frozen=True)
class ValueColumn:
    """A column of whole numbers beside a stream of symbols, such as velocities; 0 where they don't apply.

    Attributes:
        name: what they are.
        stream: column of the symbols.
        bit: they belong to symbols with this bit; None: to symbols from `least` on.
        least: see `bit`.
        vocabulary: of the stream; pads have no values.
        levels: they are 0 to `levels` - 1.
        middle, spread: a usual one, and how far others usually lie from it.
    """

    name: str
    stream: int
    bit: int | None
    least: int
    vocabulary: int
    levels: int
    middle: float
    spread: float

    def applies(self, symbols: Any) -> Any:
        """Where a symbol of the stream has a value: bool, of the shape of an integer array or tensor."""
        exists = symbols < self.vocabulary
        return exists & (symbols >= self.least if self.bit is None else (symbols >> self.bit) & 1 == 1)


@dataclass(frozen=True)
class Labels:
    """What examples can be asked for by, when they are drawn.

    Attributes:
        count: how many labels there are.
        usual: labels below this number are drawn where none is asked for.
        of: tensors `(batch, *shape)` → the label of each, int64 `(batch,)`.
    """

    count: int
    usual: int
    of: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Layout, shape and likelihood of one example, without the batch axis.

    Attributes:
        layout: `grid` or `steps`.
        shape: grid: `(channels, height, width)`; steps: `(steps, columns)`.
        likelihood: a name in `musicae.likelihoods.LIKELIHOODS`: the decoder's distribution.
        degrees_of_freedom: of the likelihood `student_t`, for each number of an example.
        vocabulary: steps only: number of symbols of each stream; empty for grids.
        values: steps only: the columns behind the streams.
        correction: how a restorer's output corrects its input: `add` (added to a picture), `mask` (multiplied with a
            complex spectrogram, whose channels are real and imaginary) or `extend` (fills in its top, where it is 0).
        segment: steps only: steps of a bar; a decoder may decode bars in parallel. 0: no segments.
        segment_steps: steps only: how many steps of a segment exist, for each of so many equal runs of the condition's
            classes. The others hold a pad, the symbol of the vocabulary's size plus the number of the run, which costs
            nothing. Empty: all exist.
        condition: `(length, classes)` of the condition, int64 `(batch, length)` with 0 for "none": one chord for each
            step, or one class for a picture. None: there is no condition.
        labels: what draws can be asked for; nothing that is encoded or decoded depends on it.
    """

    layout: Layout
    shape: tuple[int, ...]
    likelihood: str
    degrees_of_freedom: float = 0.1
    vocabulary: tuple[int, ...] = ()
    values: tuple[ValueColumn, ...] = ()
    correction: str = "add"
    segment: int = 0
    segment_steps: tuple[int, ...] = ()
    condition: tuple[int, int] | None = None
    labels: Labels | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layout", Layout(self.layout))  # accepts "grid" too
        axes = 3 if self.layout is Layout.GRID else 2
        if len(self.shape) != axes or min(self.shape) < 1:
            raise ValueError(f"a {self.layout} spec has {axes} positive sizes, got {self.shape}")
        streams = 0 if self.layout is Layout.GRID else self.shape[1] - len(self.values)
        if len(self.vocabulary) != streams:
            raise ValueError(f"expected {streams} vocabulary sizes, got {len(self.vocabulary)}")
        if self.segment_steps and (max(self.segment_steps) != self.segment or self.condition is None):
            raise ValueError(f"segments of {self.segment} steps with a condition have the longest of their lengths")
        if self.segment_steps and self.condition is not None and self.condition[1] % len(self.segment_steps):
            raise ValueError(f"{self.condition[1]} classes are no {len(self.segment_steps)} equal runs")
        if not self.degrees_of_freedom > 0:
            raise ValueError(f"degrees of freedom are positive, got {self.degrees_of_freedom}")
        if self.correction not in ("add", "mask", "extend"):
            raise ValueError(f"correction is 'add', 'mask' or 'extend', got {self.correction!r}")
        if self.segment and (self.layout is Layout.GRID or self.shape[0] % self.segment):
            raise ValueError(f"segments of {self.segment} do not divide {self.layout} of shape {self.shape}")
        if self.condition is not None and min(self.condition) < 1:
            raise ValueError(f"a condition has a positive length and number of classes, got {self.condition}")

    @property
    def segments(self) -> int:
        """Number of segments; 1 if the steps are not divided."""
        return self.shape[0] // self.segment if self.segment else 1

    @property
    def symbols(self) -> tuple[int, ...]:
        """How many symbols and values each column may hold, pads included."""
        streams = (size + len(self.segment_steps) for size in self.vocabulary)
        return (*streams, *(column.levels for column in self.values))

    @property
    def numel(self) -> int:
        """How many numbers an example has."""
        return prod(self.shape)

    @property
    def evaluation_batch(self) -> int:
        """Number of examples in a batch of evaluation: so many that activations stay small, at most 256."""
        return max(1, min(256, 2_200_000 // self.numel))

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises `ValueError` unless `shape` is `(batch, *self.shape)`, and names both."""
        if tuple(shape[1:]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"expected a batch of shape (batch, {wanted}), got {tuple(shape)}")
