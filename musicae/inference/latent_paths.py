"""Paths, squares, walks and variations in latent space: pure math on tensors. It knows no models.

Codes are in the space where the prior is a standard normal (`Latent.to_base`). Great circles, walks and rotations keep
that distribution.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# If the sine of the angle between two codes is smaller, the formula divides by almost zero.
_SMALL = 1e-4


def lerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """A straight line from `a` to `b`, ends included.

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
    """A great-circle path from `a` to `b` (Shoemake, 1985); lengths are interpolated linearly.

    Draws from a high-dimensional Gaussian all have about the same length. A straight line between two of them passes
    through shorter codes, which the decoder rarely saw in training; this path doesn't. If the angle is undefined or
    zero (a zero code, parallel codes) it is the straight line. Between opposite codes it goes through the axis on which
    `a` is smallest.

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
    """A square of codes between four corners: paths down the left and the right edge, and paths across between them.

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
    """Chooses points of a finely divided path, so that the change between any two is about the same.

    Args:
        changes: `(fine - 1,)`, how far each point is from the one before it; not negative.
        points: how many to choose, 2 to `fine`.

    Returns:
        int64 `(points,)`, indices that never decrease; the first is 0, the last `fine - 1`.

    Raises:
        ValueError: more points than the path has, or fewer than 2.
    """
    if not 2 <= points <= len(changes) + 1:
        raise ValueError(f"a path of {len(changes) + 1} points gives 2 to {len(changes) + 1}, not {points}")
    travelled = torch.cat([changes.new_zeros(1), changes.cumsum(0)])
    wanted = travelled[-1] * torch.linspace(0, 1, points, dtype=travelled.dtype, device=travelled.device)
    kept = (travelled[:, None] - wanted).abs().argmin(0)
    kept[0], kept[-1] = 0, len(changes)
    return kept


def walk(draws: Tensor, correlation: float) -> Tensor:
    """A random walk of which every point is a draw from a standard normal: u' = ρ·u + √(1 - ρ²)·ε.

    Args:
        draws: `(count, steps, *shape)` independent draws; the first of each walk is its start.
        correlation: ρ between neighbours, 0 (independent) to 1 (equal).

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
    """Rotates a code towards independent draws by an angle: cos θ·u + sin θ·ε with θ = amount · 90°.

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
    """0…1 in `steps` points, of a shape that broadcasts over `(steps, *a.shape)`. Checks the arguments of a path."""
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
    second number decreases from row to row, as on a map (Kingma & Welling, 2014, figure 4).

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
