"""New examples from the prior, alone and near a file; pieces longer than a window are walks."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicae.errors import MusicaeError
from musicae.inference.coder import Coder
from musicae.inference.latent_paths import normal_grid, varied, walk
from musicae.inference.result_files import numbered, stem_of, write_parts, write_square

MAX_COUNT = 1000
MAX_WINDOWS = 10_000  # of all pieces together
# Neighbouring windows of a walk: each is a draw from the prior, a third of a right angle from the last.
_CORRELATION = 0.85


def sample_pieces(
    coder: Coder,
    count: int,
    *,
    length: int | None = None,
    told: str | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | None = None,
) -> Tensor:
    """Decodes draws from the prior; see `TrainedModel.sample`.

    Returns:
        `(count, windows, *spec.shape)`.
    """
    coder.refuse_restorer("sample")
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count is between 1 and {MAX_COUNT}, got {count}")
    check_draw(temperature, top_p)
    windows = _windows(coder, length)
    if count * windows > MAX_WINDOWS:
        raise ValueError(f"{count} pieces of {windows} windows are more than {MAX_WINDOWS} in all; ask for fewer")
    condition = None if told is None else coder.condition(told, windows).repeat(count, 1)
    generator = coder.generator(seed)
    draws = coder.draws(count * windows, generator).unflatten(0, (count, windows))
    base = walk(draws, _CORRELATION).flatten(0, 1)
    batch = coder.decode(base, condition, temperature=temperature, top_p=top_p, generator=generator)
    return batch.unflatten(0, (count, windows))


def vary_example(
    coder: Coder, source: Any, amount: float, count: int, seed: int | None, temperature: float, choice: dict[str, Any]
) -> tuple[Tensor, Any]:
    """Decodes an example of a file and variations of it; see `TrainedModel.vary`.

    Returns:
        `(1 + count, *spec.shape)`, the reconstruction first, and the file's `Selection.source`.
    """
    coder.refuse_restorer("vary")
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count is between 1 and {MAX_COUNT}, got {count}")
    check_draw(temperature, 1.0)
    selection = coder.select(source, choice)
    code = coder.encode(coder.batch(selection))
    generator = coder.generator(seed)
    base = varied(code.base[0], coder.draws(count, generator), amount)
    original = coder.decode(code.base, code.condition)
    batch = coder.decode(base, code.condition, temperature=temperature, generator=generator)
    moved = (base - code.base).flatten(1).norm(dim=1).mean() / code.base[0].numel() ** 0.5
    scores = coder.domain.metrics(batch.cpu(), original.expand_as(batch).cpu(), original.expand_as(batch).cpu())
    told = ", ".join(f"{name} {values.float().mean():.3g}" for name, values in scores.items())
    coder.remarks.append(
        f"{selection.label} at amount {amount:g}: {moved:.2f} standard deviations away in latent space; "
        f"against the reconstruction: {told}"
    )
    return torch.cat([original, batch]), selection.source


def write_grid(coder: Coder, side: int, out: Path | str, told: str | None) -> Path:
    """Decodes a square over a latent of two numbers; see `TrainedModel.grid`."""
    coder.refuse_restorer("show its latent")
    if not coder.model.latent.is_generative:
        raise MusicaeError(
            "a plain autoencoder has no prior to lay a grid over; train with --latent gaussian or adversarial."
        )
    if coder.model.latent_shape != (2,):
        raise MusicaeError(
            f"a grid needs a latent of two numbers, and this model's has {math.prod(coder.model.latent_shape)}; "
            "train one with --latent-size 2."
        )
    codes = normal_grid(side)
    condition = None if told is None else coder.condition(told)
    decoded = coder.decode(codes.flatten(0, 1), condition)
    cells = decoded.unflatten(0, (side, side))
    whole, remarks = write_square(coder.domain, cells, Path(out), "grid")
    coder.remarks.extend(remarks)
    return whole


def write_samples(coder: Coder, batch: Tensor, out: Path | str) -> Path:
    """Writes what `sample_pieces` gave."""
    whole, remarks = write_parts(coder.domain, numbered("sample", batch), Path(out), "samples")
    coder.remarks.extend(remarks)
    return whole


def write_variations(coder: Coder, batch: Tensor, file: Any, source: Any, out: Path | str | None) -> Path:
    """Writes what `vary_example` gave: the reconstruction, then the variations."""
    parts = {"reconstruction": batch[:1], **numbered("variation", batch[1:, None])}
    folder = Path(out) if out is not None else Path("output") / f"{stem_of(file)}-varied"
    whole, remarks = write_parts(coder.domain, parts, folder, "variations", source)
    coder.remarks.extend(remarks)
    return whole


def check_draw(temperature: float, top_p: float) -> None:
    """Raises `ValueError` for a temperature below 0, or a top-p outside of 0 to 1."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is a number of 0 or more, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is above 0 and at most 1, got {top_p}")


def _windows(coder: Coder, length: int | None) -> int:
    """Windows that a length in bars takes, the last one whole."""
    if length is None:
        return 1
    spec = coder.domain.spec
    if not spec.segment:
        raise MusicaeError(f"{coder.domain.name} has no bars to count a length in; leave --length out.")
    if length < 1:
        raise ValueError(f"length is 1 bar or more, got {length}")
    windows = -(-length // spec.segments)
    if length % spec.segments:
        bars = windows * spec.segments
        coder.remarks.append(f"{length} bars become {bars}, a multiple of the model's {spec.segments}")
    return windows
