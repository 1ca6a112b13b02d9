"""Paths through latent space: pure math on tensors. It knows no models."""

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
    return (1 - share) * a + share * b


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
    if cosine > 0 and 1 - cosine < _SMALL**2:
        return lerp(a, b, steps)
    across = direction_b - cosine * direction_a
    if across.norm() < _SMALL:
        across = _perpendicular(direction_a)
    angle = torch.acos(cosine) * share
    direction = torch.cos(angle) * direction_a + torch.sin(angle) * (across / across.norm())
    path = ((1 - share) * length_a + share * length_b) * direction
    path[0], path[-1] = a, b
    return path


METHODS = {"slerp": slerp, "lerp": lerp}


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
