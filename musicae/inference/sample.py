"""Samples from the prior, variations of an example, and grids. Pieces longer than a window are random walks."""

import math
from typing import Any

import torch

from musicae.errors import MusicaeError
from musicae.inference.latent_paths import normal_grid, varied, walk
from musicae.inference.results import Morph, square
from musicae.pipeline import Choice, Pipeline

MAX_COUNT = 1000
MAX_WINDOWS = 10_000  # in all pieces together
# Of neighbouring windows of a walk: an angle of about 32°.
_CORRELATION = 0.85


def sample(
    pipeline: Pipeline,
    count: int,
    *,
    length: int | None = None,
    condition: str | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | None = None,
) -> Morph:
    """Decodes draws from the prior; see `TrainedModel.sample`."""
    pipeline.refuse_restorer("sample")
    _check_count(count)
    check_draw(temperature, top_p)
    windows, remarks = _windows(pipeline, length)
    if count * windows > MAX_WINDOWS:
        raise ValueError(f"{count} pieces of {windows} windows are more than {MAX_WINDOWS} in all; ask for fewer")
    given = None if condition is None else pipeline.condition(condition, windows).repeat(count, 1)
    generator = pipeline.generator(seed)
    draws = pipeline.draws(count * windows, generator).unflatten(0, (count, windows))
    base = walk(draws, _CORRELATION).flatten(0, 1)
    batch = pipeline.decode(base, given, temperature=temperature, top_p=top_p, generator=generator)
    tensor = batch.unflatten(0, (count, windows))
    return Morph(pipeline.domain, name="samples", part="sample", tensor=tensor, remarks=remarks)


def vary(
    pipeline: Pipeline,
    source: Any,
    amount: float,
    count: int,
    seed: int | None,
    temperature: float,
    choice: Choice,
) -> Morph:
    """Decodes an example and variations of it, the reconstruction first; see `TrainedModel.vary`."""
    pipeline.refuse_restorer("vary")
    _check_count(count)
    check_draw(temperature, 1.0)
    selection = pipeline.select(source, choice)
    code = pipeline.encode(pipeline.batch(selection))
    generator = pipeline.generator(seed)
    base = varied(code.base[0], pipeline.draws(count, generator), amount)
    original = pipeline.decode(code.base, code.condition)
    batch = pipeline.decode(base, code.condition, temperature=temperature, generator=generator)
    moved = (base - code.base).flatten(1).norm(dim=1).mean() / code.base[0].numel() ** 0.5
    same = original.expand_as(batch).cpu()
    scores = pipeline.domain.metrics(batch.cpu(), same, same)
    listed = ", ".join(f"{name} {values.float().mean():.3g}" for name, values in scores.items())
    remark = (
        f"{selection.label} at amount {amount:g}: {moved:.2f} standard deviations away in latent space; "
        f"against the reconstruction: {listed}"
    )
    return Morph(
        pipeline.domain, name="variations", part="variation", first="reconstruction",
        tensor=torch.cat([original, batch])[:, None], frame=selection.frame, remarks=[remark],
    )  # fmt: skip


def grid(pipeline: Pipeline, side: int, condition: str | None) -> Morph:
    """Decodes a square grid of a latent of two numbers; see `TrainedModel.grid`."""
    pipeline.refuse_restorer("show its latent")
    if not pipeline.network.latent.is_generative:
        raise MusicaeError(
            "a plain autoencoder has no prior to lay a grid over; train with --latent gaussian or adversarial."
        )
    if pipeline.network.latent_shape != (2,):
        raise MusicaeError(
            f"a grid needs a latent of two numbers, and this model's has {math.prod(pipeline.network.latent_shape)}; "
            "train one with --latent-size 2."
        )
    codes = normal_grid(side)
    given = None if condition is None else pipeline.condition(condition)
    cells = pipeline.decode(codes.flatten(0, 1), given).unflatten(0, (side, side))
    return square(
        pipeline.domain, cells, "grid",
        rows=[f"z2 = {value:.2f}" for value in codes[:, 0, 1].tolist()],
        columns=[f"z1 = {value:.2f}" for value in codes[0, :, 0].tolist()],
    )  # fmt: skip


def check_draw(temperature: float, top_p: float) -> None:
    """Raises `ValueError` for a temperature below 0, or a top-p outside of 0 to 1."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is a number of 0 or more, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is above 0 and at most 1, got {top_p}")


def _windows(pipeline: Pipeline, length: int | None) -> tuple[int, list[str]]:
    """Number of windows for a length in bars, rounded up, and a remark if that changes the length."""
    if length is None:
        return 1, []
    spec = pipeline.domain.spec
    if not spec.segment:
        raise MusicaeError(f"{pipeline.domain.name} has no bars to count a length in; leave --length out.")
    if length < 1:
        raise ValueError(f"length is 1 bar or more, got {length}")
    windows = -(-length // spec.segments)
    if length % spec.segments:
        bars = windows * spec.segments
        return windows, [f"{length} bars become {bars}, a multiple of the model's {spec.segments}"]
    return windows, []


def _check_count(count: int) -> None:
    if not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count is a whole number between 1 and {MAX_COUNT}, got {count}")
