"""Which floating-point format to train, sample and restore in: bfloat16 where the machine is faster with it."""

import math
import os
import time
from functools import cache

import torch
from torch import Tensor


def resolve_precision(wanted: str) -> str:
    """`auto` → `bf16` where it is fast, else `no` (float32).

    A GPU that supports bfloat16 gets it, and a CPU whose matrix product is faster in it, which is measured in a few
    milliseconds, since no list of processors says it.
    """
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "no"  # processes that measure for themselves could disagree
    return _cpu_precision()


MANY_DRAWS = 256
"""From so many sampled examples on, speed matters more than the same samples on every machine."""


def drawing_precision(device: torch.device, drawn: int) -> torch.autocast:
    """What to decode in: bfloat16 for many samples on a CPU that is fast in it, else as the weights are.

    Args:
        device: where the model is.
        drawn: examples that are sampled, not decoded at their most probable.
    """
    fast = device.type == "cpu" and drawn >= MANY_DRAWS and _cpu_precision() == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def restoring_precision(device: torch.device, *, by_mask: bool) -> torch.autocast:
    """What to restore in: bfloat16 for masks on sound on a CPU that is fast in it, else as the weights are.

    A mask forgives rounding: with `denoise-16k` the sounds differ by about -60 dB or less and take two thirds of the
    time (`python experiments/run.py audio-choices` measures it).

    Args:
        device: where the model is.
        by_mask: whether the model attenuates parts of a spectrum.
    """
    fast = by_mask and device.type == "cpu" and _cpu_precision() == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


@cache
def _cpu_precision() -> str:
    full = torch.randn(768, 768, generator=torch.Generator().manual_seed(0))
    return "bf16" if _product_seconds(full.bfloat16()) < 0.7 * _product_seconds(full) else "no"


def _product_seconds(matrix: Tensor) -> float:
    matrix @ matrix  # the first product pays for setting up
    best = math.inf
    for _ in range(5):
        started = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - started)
    return best
