"""What lies where in latent space: a square of a code of two numbers, or traversals of a longer one.

The cells of a square have equal probability under the prior. A row of traversals moves one number of a code from −3 to
3 standard deviations and leaves the others where they are; the rows are the numbers that change the result most.
"""

from typing import Any

import torch
from torch import Tensor

from musicae.errors import MusicaeError
from musicae.inference.interpolate import changes
from musicae.inference.latent_paths import normal_grid
from musicae.inference.results import Morph, square
from musicae.nn.quantisation import DiscreteLatent
from musicae.pipeline import Code, Pipeline

_EXTENT = 3.0
"""Standard deviations that a number is moved to either side."""
_MOST_ROWS = 64
_MOST_NUMBERS = 1024
"""Of a code: each is tried."""
_PART = 64
"""Numbers that are tried at a time."""


def grid(pipeline: Pipeline, side: int, condition: str | None, around: Any, numbers: int | None) -> Morph:
    """Decodes a square of two numbers, or traversals; see `TrainedModel.grid`."""
    pipeline.refuse_restorer("show its latent")
    latent, shape = pipeline.network.latent, pipeline.network.latent_shape
    if not latent.knows_spread:
        raise MusicaeError(
            "this plain autoencoder has no prior to lay a grid over, and the spread of its codes was not measured; "
            "train it again, or with --latent gaussian."
        )
    if len(shape) != 1 or isinstance(latent, DiscreteLatent):
        what = "a grid of codes" if len(shape) != 1 else "tokens"
        raise MusicaeError(
            f"this model's code is {what}, of which no number means anything alone; train one with --latent gaussian, "
            "and of pictures with --model conv."
        )
    if shape[0] > _MOST_NUMBERS:
        raise MusicaeError(f"this model's code has {shape[0]} numbers, more than the {_MOST_NUMBERS} that are tried.")
    if side < 1:
        raise ValueError(f"a grid has at least 1 code to a side, got {side}")
    if numbers is not None and not 1 <= numbers <= _MOST_ROWS:
        raise ValueError(f"numbers is between 1 and {_MOST_ROWS}, got {numbers}")
    given = None if condition is None else pipeline.condition(condition)
    if shape == (2,) and around is None and numbers is None:
        return _map(pipeline, side, given)
    if around is None:
        middle = Code(torch.zeros(1, *shape, device=pipeline.device), given)
        remarks, frame = [], None
    else:
        selection = pipeline.select(around)
        code = pipeline.encode(pipeline.batch(selection))
        middle = Code(code.base, code.condition if given is None else given)
        remarks, frame = [f"around {selection.label}"], selection.frame
    return _traversals(pipeline, side, middle, min(numbers or 8, shape[0]), frame, remarks)


def _map(pipeline: Pipeline, side: int, condition: Tensor | None) -> Morph:
    """The square of a code of two numbers."""
    codes = normal_grid(side)
    cells = pipeline.decode(codes.flatten(0, 1), condition).unflatten(0, (side, side))
    return square(
        pipeline.domain, cells, "grid", remarks=pipeline.remark_on_spread,
        rows=[f"z2 = {value:.2f}" for value in codes[:, 0, 1].tolist()],
        columns=[f"z1 = {value:.2f}" for value in codes[0, :, 0].tolist()],
    )  # fmt: skip


def _traversals(pipeline: Pipeline, side: int, middle: Code, rows: int, frame: Any, remarks: list[str]) -> Morph:
    """One row for each of the numbers that change the result most, moved alone from one side to the other."""
    count = middle.base.shape[1]
    moves = torch.eye(count, device=middle.base.device)
    effect = torch.cat([_effect(pipeline, middle, part) for part in moves.split(_PART)])
    chosen = effect.argsort(descending=True, stable=True)[:rows]
    values = _EXTENT * torch.arange(1 - side, side, 2) / max(1, side - 1)  # the middle is exactly 0
    codes = middle.base + values.to(moves)[:, None] * moves[chosen.to(moves.device)][:, None]
    cells = pipeline.decode(codes.flatten(0, 1), middle.condition).unflatten(0, (rows, side))
    still = int((effect == 0).sum())
    remarks = [
        *remarks,
        f"the {rows} of {count} numbers that change the result most, each moved alone, in standard deviations"
        + (f"; {still} change nothing" if still else ""),
        *pipeline.remark_on_spread,
    ]
    return square(
        pipeline.domain, cells, "grid", frame, remarks=remarks,
        rows=[f"number {number + 1}" for number in chosen.tolist()],
        columns=[f"{value:+.1f}" if value else "0" for value in values.tolist()],
    )  # fmt: skip


def _effect(pipeline: Pipeline, middle: Code, moves: Tensor) -> Tensor:
    """How much what is decoded changes to the middle and from it to the other side, for each move."""
    ends = torch.stack([moves * -_EXTENT, 0 * moves, moves * _EXTENT], 1).flatten(0, 1)
    decoded = pipeline.decode(middle.base + ends, middle.condition).cpu()
    steps = changes(torch.cat([decoded, decoded[:1]]), pipeline.domain.spec.layout).view(len(moves), 3)
    return steps[:, :2].sum(1)  # the third is on to the next move
