"""Paths, squares, walks and variations in latent space: pure math on tensors. It knows no models.

Codes here are meant to be in the space where the prior is a standard normal (`Latent.to_base`): great
circles, walks and rotations all keep that distribution.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Below this sine of the angle between two codes the formula divides by almost nothing.
_SMALL = 1e-4


def lerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Straight line from `a` to `b`, ends included.

    Args:
        a, b: one code each, same shape.
        steps: points on the path, at least 2.

    Returns:
        `(steps, *a.shape)`.
    """
    share = _shares(a, b, steps)
    path = a + share * (b - a)  # exactly a throughout where the two are equal
    path[-1] = b
    return path


def slerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Great-circle path from `a` to `b` (Shoemake, 1985), lengths interpolated linearly.

    Draws from a high-dimensional Gaussian all have about the same length; a straight line between two
    passes through shorter codes that the decoder rarely saw, this path doesn't. Where the angle is
    undefined or zero (a zero code, parallel codes) it is the straight line; opposite codes go round
    by the axis on which `a` is smallest.

    Args:
        a, b: one code each, same shape.
        steps: points on the path, at least 2.

    Returns:
        `(steps, *a.shape)`; the first is exactly `a`, the last exactly `b`.
    """
    share = _shares(a, b, steps)
    length_a, length_b = a.norm(), b.norm()
    if length_a == 0 or length_b == 0:
        return lerp(a, b, steps)
    direction_a, direction_b = a / length_a, b / length_b
    cosine = (direction_a * direction_b).sum().clamp(-1, 1)
    if torch.equal(a, b) or (cosine > 0 and 1 - cosine < _SMALL**2):
        return lerp(a, b, steps)
    across = direction_b - cosine * direction_a
    if across.norm() < _SMALL:
        across = _perpendicular(direction_a)
    angle = torch.acos(cosine) * share
    direction = torch.cos(angle) * direction_a + torch.sin(angle) * (across / across.norm())
    path = ((1 - share) * length_a + share * length_b) * direction
    path[0], path[-1] = a, b
    return path


METHODS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"slerp": slerp, "lerp": lerp}


def square_of_codes(corners: tuple[Tensor, Tensor, Tensor, Tensor], steps: int, method: str = "slerp") -> Tensor:
    """Codes of a square between four: paths down the left and the right edge, and paths across between those.

    Args:
        corners: upper left, lower left, upper right, lower right; one code each, same shape.
        steps: points on an edge, at least 2.
        method: a key of `METHODS`.

    Returns:
        `(steps, steps, *shape)`, rows from the upper edge to the lower.
    """
    path = METHODS[method]
    left, right = path(corners[0], corners[1], steps), path(corners[2], corners[3], steps)
    return torch.stack([path(start, end, steps) for start, end in zip(left, right, strict=True)])


def even_spacing(changes: Tensor, points: int) -> Tensor:
    """Which points of a finely divided path to keep, so that about the same change lies between any two.

    Args:
        changes: `(fine - 1,)`, how far each point is from the one before it, none negative.
        points: how many to keep, 2 to `fine`.

    Returns:
        int64 `(points,)`, never falling; the first is 0, the last `fine - 1`.
    """
    if not 2 <= points <= len(changes) + 1:
        raise ValueError(f"a path of {len(changes) + 1} points gives 2 to {len(changes) + 1}, not {points}")
    gone = torch.cat([changes.new_zeros(1), changes.cumsum(0)])
    wanted = gone[-1] * torch.linspace(0, 1, points, dtype=gone.dtype, device=gone.device)
    kept = (gone[:, None] - wanted).abs().argmin(0)
    kept[0], kept[-1] = 0, len(changes)
    return kept


def walk(draws: Tensor, correlation: float) -> Tensor:
    """A walk whose every point is a draw from a standard normal: u' = ρ·u + √(1 - ρ²)·ε.

    Args:
        draws: `(count, steps, *shape)` independent draws; the first of each walk is its start.
        correlation: ρ of neighbours, 0 (independent) to 1 (standing still).

    Returns:
        `(count, steps, *shape)`.
    """
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation is between 0 and 1, got {correlation}")
    points = [draws[:, 0]]
    for step in range(1, draws.shape[1]):
        points.append(correlation * points[-1] + math.sqrt(1 - correlation**2) * draws[:, step])
    return torch.stack(points, dim=1)


def varied(base: Tensor, draws: Tensor, amount: float) -> Tensor:
    """Turns a code towards independent draws by an angle: cos θ·u + sin θ·ε with θ = amount · 90°.

    Args:
        base: one code.
        draws: `(count, *base.shape)` from a standard normal.
        amount: 0 gives the code itself, 1 the draws.

    Returns:
        `(count, *base.shape)`.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is between 0 and 1, got {amount}")
    if amount == 0:
        return base.expand_as(draws).clone()
    angle = amount * math.pi / 2
    return math.cos(angle) * base + math.sin(angle) * draws


def _shares(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """0…1 in `steps` points, shaped to broadcast over `(steps, *a.shape)`."""
    if a.shape != b.shape:
        raise ValueError(f"the two codes differ in shape: {tuple(a.shape)} and {tuple(b.shape)}")
    if steps < 2:
        raise ValueError(f"a path has at least 2 steps, its ends; got {steps}")
    return torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).view(-1, *[1] * a.dim())


def _perpendicular(direction: Tensor) -> Tensor:
    flat = direction.flatten()
    axis = torch.zeros_like(flat)
    axis[flat.abs().argmin()] = 1.0
    return (axis - (axis * flat).sum() * flat).view_as(direction)


def normal_grid(side: int) -> Tensor:
    """A square of codes in two dimensions whose cells have equal probability under the standard normal prior.

    Row i, column j is the inverse normal distribution function at ((j + ½) / side, 1 - (i + ½) / side): the
    second number falls from row to row, as on a map (Kingma & Welling, 2014, figure 4).

    Args:
        side: codes to a side, at least 1.

    Returns:
        `(side, side, 2)`.
    """
    if side < 1:
        raise ValueError(f"a grid has at least 1 code to a side, got {side}")
    quantiles = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float()
    second, first = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    return torch.stack([first, second], dim=-1)
