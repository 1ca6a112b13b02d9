"""`FlowMatching`: a second stage, which learns to draw the codes of a trained model.

A prior that is trained with the model knows what codes cost. Codes drawn from it decode less well than those of real
examples: it also has weight between them, and they are as noisy as the posterior. So a network learns afterwards how
noise becomes the mean of a posterior, along straight lines (Lipman et al., 2023, "Flow Matching for Generative
Modeling"; Liu et al., 2023, "Flow Straight and Fast"). It predicts the code at the end of the line. Vector codes are
measured in units of the posterior's deviation: the decoder hears no smaller difference, so most of what matters is
decided where there is as much noise as code, and there most of the training takes place (`VECTORS`). Grids of codes are
measured in their own deviation (`GRIDS`); their cells know their places from the start, and enter and leave the network
through convolutions, so that neighbours fit together after few updates.

A code may consist of several in a row, which attend to each other, and of which some may be known. It may be asked for
by a label; then its draws are extrapolated away from those without (Ho & Salimans, 2021, "Classifier-Free Diffusion
Guidance"). The network is a Transformer whose layers are scaled and shifted by time and label (Peebles & Xie, 2023,
"Scalable Diffusion Models with Transformers"), by one modulation for all of them (Chen et al., 2024, "PixArt-α").
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.nn.latent import Posterior
from musicae.nn.layers import attention, begins_step, draw_rows, summed_over_processes


@dataclass(frozen=True)
class Schedule:
    """How a flow is trained and evaluated along time; 0 is noise, 1 the code.

    Attributes:
        by_posterior: whether codes are measured in the posterior's deviations, else in their own.
        evaluations: of the network for a draw, where no label is asked for.
        last_time: of the last evaluation, whose prediction is the code.
        curve: how densely the first ones lie.
        guided_until: later times decide what no label speaks of.
        time_mean, time_deviation: times of training are a sigmoid of normal numbers.
        least_rest: an error weighs 1 / (1 − t)², 1 − t at least this.
        with_known: share of the training examples with some of their codes known.
    """

    by_posterior: bool
    evaluations: int
    last_time: float
    curve: float
    guided_until: float
    time_mean: float
    time_deviation: float
    least_rest: float
    with_known: float

    def preconditioning(self, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of the input that is kept, of the network's output and of its input, each of the shape of the times.

        Codes of deviation 1 have a best linear guess; the network sees and gives numbers of deviation 1, and learns
        what the guess lacks (Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models").
        Of other codes it predicts all.
        """
        if self.by_posterior:
            return torch.zeros_like(time), torch.ones_like(time), torch.ones_like(time)
        scale = (time.square() + (1 - time).square()).rsqrt()
        return time * scale.square(), (1 - time) * scale, scale


VECTORS = Schedule(
    by_posterior=True, evaluations=5, last_time=0.7, curve=1.1, guided_until=0.6, time_mean=-0.4, time_deviation=1.0,
    least_rest=0.3, with_known=0.4,
)  # fmt: skip
"""Codes of music, that say little each beside their noise."""
GRIDS = Schedule(
    by_posterior=False, evaluations=20, last_time=0.96, curve=1.0, guided_until=0.9, time_mean=-0.2, time_deviation=1.0,
    least_rest=0.05, with_known=0.0,
)  # fmt: skip
"""Codes of pictures, which are precise: in units of their noise all would be decided in the first moment."""
_LEAST_SPREAD = 1e-3
"""Of a grid's numbers, for one that says nothing."""
_UNLABELLED = 0.15
"""Share of the training examples that are shown without their label."""
_FREQUENCIES, _HIGHEST = 32, 500.0
_STEP_NUMBERS = 16
"""Of each step of a condition."""
_FIRST_BATCHES = 100
"""Training batches that mean and scale of the codes are taken of; of a batch in parts, the first ones."""


class ModulatedBlock(nn.Module):
    """Attention between the codes in a row, then an MLP; what is asked for scales and shifts both.

    Args:
        width: numbers of a position, a multiple of `heads`.
        heads: of the attention; 0 for a single position, which attends to nothing.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Parameter(torch.zeros(2 if heads else 1, 3, width))
        if heads:
            self.to_query_key_value = nn.Linear(width, 3 * width)
            self.join_heads = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, asked: Tensor) -> Tensor:
        """`(batch, positions, width)`, and scale, shift and gate `(batch, 1, halves, 3, width)` → as x."""
        halves = (asked + self.modulation).unbind(-3)
        if self.heads:
            x = self._added(x, halves[0], self._attended)
        return self._added(x, halves[-1], lambda y: self.narrow(F.gelu(self.widen(y))))

    def _added(self, x: Tensor, asked: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        scale, shift, gate = asked.unbind(-2)
        return x + (1 + gate) * layer(self.norm(x) * (1 + scale) + shift)

    def _attended(self, y: Tensor) -> Tensor:
        joined = self.to_query_key_value(y).unflatten(-1, (3, self.heads, -1))
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        return self.join_heads(attention(query, key, value))


class CellConvolution(nn.Conv2d):
    """A 3 × 3 convolution over the cells of a grid, `(batch, cells, inputs)` → `(batch, cells, outputs)`.

    Args:
        inputs, outputs: numbers of a cell.
        grid: height and width.
    """

    def __init__(self, inputs: int, outputs: int, grid: tuple[int, int]) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2).unflatten(2, self.grid)).flatten(2).transpose(1, 2)


def _projection(inputs: int, outputs: int, grid: tuple[int, int] | None) -> nn.Module:
    """A linear layer; for a grid a 3 × 3 convolution, so that neighbouring cells are predicted together."""
    return nn.Linear(inputs, outputs) if grid is None else CellConvolution(inputs, outputs, grid)


def _sinusoidal_positions(height: int, width: int, numbers: int) -> Tensor:
    """Sines and cosines of row and column (Vaswani et al., 2017), `(height · width, numbers)`; a quarter of each.

    Wavelengths go from 4 cells to 4 times the longer side.
    """
    if numbers % 4:
        raise ValueError(f"the width of a flow over a grid is a multiple of 4, got {numbers}")
    count = numbers // 4
    waves = math.pi / 2 * max(height, width, 2) ** -(torch.arange(count) / max(1, count - 1))
    rows, columns = (torch.arange(side)[:, None] * waves for side in (height, width))
    of_rows, of_columns = (torch.cat([angles.sin(), angles.cos()], 1) for angles in (rows, columns))
    return torch.cat([of_rows.repeat_interleave(width, 0), of_columns.repeat(height, 1)], 1)


class FlowMatching(nn.Module):
    """Draws codes `(positions · size,)`.

    Args:
        positions: how many codes are in a row.
        size: numbers of each.
        classes: of the condition; 0 for none.
        steps: of the condition, where each counts, as of chords; 0: its first class says all, as of a time signature.
        labels: how many there are; 0 for none.
        width, blocks: of the network; of a grid a width that is a multiple of 4.
        grid: height and width, where the codes in a row are the cells of a grid, row by row.
    """

    HEADS = 8
    mean: Tensor
    scale: Tensor
    batches: Tensor

    def __init__(
        self, positions: int, size: int, *, classes: int, labels: int, width: int, blocks: int, steps: int = 0,
        grid: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.positions, self.size, self.labels = positions, size, labels
        self.schedule = schedule = VECTORS if grid is None else GRIDS
        heads = self.HEADS if positions > 1 else 0
        self.input_projection = _projection(size, width, grid)
        places = torch.randn(positions, width).mul_(0.02) if grid is None else _sinusoidal_positions(*grid, width)
        self.position = nn.Parameter(places)
        self.known = nn.Parameter(torch.randn(width).mul_(0.02))
        self.of_class = nn.Embedding(max(1, classes), width)
        self.of_step: nn.Embedding | None = None
        if steps:
            self.of_step = nn.Embedding(classes, _STEP_NUMBERS)
            self.join_steps = nn.Linear(steps * _STEP_NUMBERS, width)
        self.of_label = nn.Embedding(labels + 1, width)  # the last one: no label
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, (2 if heads else 1) * 3 * width)
        self.blocks = nn.ModuleList(ModulatedBlock(width, heads) for _ in range(blocks))
        self.output_projection = nn.Sequential(nn.LayerNorm(width), _projection(width, size, grid))
        for layer in (self.modulation, self.output_projection[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        shares = torch.arange(schedule.evaluations, device="cpu") / (schedule.evaluations - 1)
        # Of the evaluations, then of the code.
        self._times = [*(schedule.last_time * shares.pow(schedule.curve)).tolist(), 1.0]
        self.register_buffer("mean", torch.zeros(size, device="cpu"))
        self.register_buffer("scale", torch.ones(size, device="cpu"))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64, device="cpu"))
        # The same number on the host, which would have to wait for the device's in every step; None: not read yet.
        self._known_batches: int | None = 0

    def check_weights(self) -> None:
        """Raises `ValueError` where a scale is not positive."""
        if not (self.scale > 0).all() or self.batches < 0:
            raise ValueError("the scales of a second stage are not positive")

    def forward(self, x: Tensor, time: Tensor, known: Tensor, condition: Tensor | None, label: Tensor | None) -> Tensor:
        """Predicts codes from what they are mixed with.

        Args:
            x: (1 − t) · noise + t · code, or the code where it is known, `(batch, positions, size)`, scaled.
            time: t, `(batch,)`.
            known: bool, `(batch, positions)`.
            condition: int64 `(batch, length)`; None: class 0.
            label: int64 `(batch,)`; None: no label.

        Returns:
            Codes, scaled, of the shape of x.
        """
        none = time.new_full((x.shape[0],), self.labels, dtype=torch.int64)
        of_label = self.of_label(none if label is None else label)
        of_class = self._of_condition(condition, x.shape[0])  # len(x) would fix the size of the batch in an export
        exponents = torch.linspace(0, math.log(_HIGHEST), _FREQUENCIES, device=x.device)
        angle = time[:, None] * exponents.exp()
        asked = self.time(torch.cat([angle.sin(), angle.cos()], 1)) + of_class + of_label
        modulation = self.modulation(F.silu(asked)).unflatten(1, (1, -1, 3, len(self.known)))
        kept, output_scale, input_scale = self.schedule.preconditioning(time[:, None, None])
        hidden = self.input_projection(input_scale * x)
        hidden = hidden + self.position + known.unsqueeze(-1) * self.known + of_label.unsqueeze(1)
        for block in self.blocks:
            hidden = block(hidden, modulation)
        return kept * x + output_scale * self.output_projection(hidden)

    def _of_condition(self, condition: Tensor | None, rows: int) -> Tensor:
        """What the condition adds, `(batch, width)`."""
        device = self.known.device
        first = torch.zeros(rows, dtype=torch.int64, device=device) if condition is None else condition[:, 0]
        if self.of_step is None:
            return self.of_class(first)
        steps = self.join_steps.in_features // _STEP_NUMBERS
        each = first.unsqueeze(1).expand(-1, steps) if condition is None else condition
        return self.of_class(first) + self.join_steps(self.of_step(each).flatten(1))

    def loss(
        self, codes: Posterior, condition: Tensor | None, label: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The weighted squared error of predictions, summed over the numbers of a code, `(batch,)`.

        In training the first batches are also what mean and scale of the codes are taken of.

        Args:
            codes: the posteriors of a batch, with means `(batch, positions · size)`.
            condition, label: as in `forward`.
            generator: of times and noise; None: torch's own.
        """
        if self.training and begins_step() and self._read_batches() < _FIRST_BATCHES:
            self._measure(codes)
        code = self._scaled(codes.mean.float())
        rows, device = len(code), code.device

        def normal(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=generator, device=device)

        def uniform(shape: tuple[int, ...]) -> Tensor:
            return torch.rand(shape, generator=generator, device=device)

        time = torch.sigmoid(self.schedule.time_mean + self.schedule.time_deviation * draw_rows(normal, (rows,)))
        chance = draw_rows(uniform, (rows, self.positions + 3))
        known = (chance[:, 3:] < chance[:, :1]) & (chance[:, 1:2] < self.schedule.with_known) & (self.positions > 1)
        if label is not None:
            label = torch.where(chance[:, 2] < _UNLABELLED, self.labels, label)
        share = time[:, None, None]
        mixed = share * code + (1 - share) * draw_rows(normal, tuple(code.shape))
        found = self(torch.where(known.unsqueeze(-1), code, mixed), time, known, condition, label).float()
        error = ((found - code).pow(2).sum(2) * ~known).sum(1)
        return error / (1 - time).clamp_min(self.schedule.least_rest).pow(2)

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        condition: Tensor | None = None,
        label: Tensor | None = None,
        *,
        guidance: float = 1.0,
        codes: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Noise → codes, along the flow's curves in a few steps.

        Args:
            noise: `(batch, positions · size)`, standard normal, or with less deviation for safer draws.
            condition, label: as in `forward`.
            guidance: how far to go from the prediction without the label to that with it; 1: the latter.
            codes: `(batch, positions · size)`; those that are known are kept.
            known: bool, `(positions,)`.

        Returns:
            Codes `(batch, positions · size)`.
        """
        x = noise.float().unflatten(1, (self.positions, self.size))
        rows = x.shape[0]
        is_known = torch.zeros(rows, self.positions, dtype=torch.bool, device=x.device)
        given = torch.zeros_like(x)
        if codes is not None and known is not None:
            is_known, given = known.to(x.device).expand(rows, -1), self._scaled(codes.float())
        for time, following in pairwise(self._times):
            x = torch.where(is_known.unsqueeze(-1), given, x)
            is_guided = label is not None and guidance != 1 and time < self.schedule.guided_until
            found = self._predicted(x, time, is_known, condition, label, guidance if is_guided else 1.0)
            x = x + (following - time) / (1 - time) * (found - x)
        drawn = x * self.scale + self.mean
        if codes is not None:
            drawn = torch.where(is_known.unsqueeze(-1), codes.float().view_as(drawn), drawn)
        return drawn.flatten(1)

    def _predicted(
        self,
        x: Tensor,
        time: float,
        known: Tensor,
        condition: Tensor | None,
        label: Tensor | None,
        guidance: float,
    ) -> Tensor:
        times = x.new_full((x.shape[0],), time)
        found = self(x, times, known, condition, label).float()
        if guidance == 1:
            return found
        free = self(x, times, known, condition, None).float()
        return free + guidance * (found - free)

    def _scaled(self, code: Tensor) -> Tensor:
        return (code.unflatten(1, (self.positions, self.size)) - self.mean) / self.scale

    @torch.no_grad()
    def _measure(self, codes: Posterior) -> None:
        """Goes on with the averages over the first batches, of all processes: of means, and of what scales them."""
        means = codes.mean.float().reshape(-1, self.size)
        spread = codes.variance.float().sqrt().reshape(-1, self.size) if self.schedule.by_posterior else means.square()
        count = means.new_full((1,), len(means))
        sums = summed_over_processes(torch.cat([means.sum(0), spread.sum(0), count]))
        mean, spread = (sums[:-1] / sums[-1]).chunk(2)
        before, self._known_batches = self._read_batches(), self._read_batches() + 1
        self.batches += 1
        if not self.schedule.by_posterior:  # from the mean square so far, and to its root again
            spread = torch.lerp((self.scale.square() + self.mean.square()) * min(before, 1), spread, 1 / (before + 1))
        self.mean.lerp_(mean, 1 / self._known_batches)
        if self.schedule.by_posterior:
            self.scale.lerp_(spread, 1 / self._known_batches)
        else:
            self.scale.copy_((spread - self.mean.square()).clamp_min(_LEAST_SPREAD**2).sqrt())

    def _read_batches(self) -> int:
        if self._known_batches is None:
            self._known_batches = int(self.batches)
        return self._known_batches

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known_batches = None
