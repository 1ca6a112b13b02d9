"""Running sums that forget: what a stream knows of its past, the same in one step or in many. Pure functions."""

import torch
from torch import Tensor


def running_sum(values: Tensor, before: Tensor, decay: float) -> Tensor:
    """Sums s_t = values_t + decay · s_{t-1}, in about log₂(time) passes over the whole.

    Args:
        values: `(..., time)`.
        before: `(...)`, the sum before the first value.
        decay: share that is left of the past, in 0…1.

    Returns:
        `(..., time)`; the last one is `before` of what follows.
    """
    sums, reach, time = values, 1, values.shape[-1]
    while reach < time:  # `sums` look back over `reach` values: doubled by adding those as far back again
        sums = sums + decay**reach * torch.nn.functional.pad(sums[..., :-reach], (reach, 0))
        reach *= 2
    ages = torch.arange(1, time + 1, device=values.device, dtype=values.dtype)
    return sums + before[..., None] * decay**ages
