"""The floating-point format to train, sample and restore in: bfloat16 where the machine is faster with it."""

import math
import os
import time
from functools import cache

import torch
from torch import Tensor


def resolve_precision(wanted: str) -> str:
    """Replaces `auto` by a precision that suits the machine.

    bfloat16 is used on a GPU that supports it, and on a CPU whose matrix product is faster in it. That is measured in
    a few milliseconds, since no list of processors states it.

    Args:
        wanted: `auto`, `no`, `bf16` or `fp16`.

    Returns:
        `no`, `bf16` or `fp16`, as Accelerate names them; on a GPU without bfloat16 `auto` gives `fp16`.
    """
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "no"  # processes that measure for themselves could disagree
    return _cpu_precision()


MANY_DRAWS = 256
"""Number of sampled examples from which speed matters more than equal samples on every machine."""


def drawing_precision(device: torch.device, drawn: int) -> torch.autocast:
    """The autocast context to decode samples in: bfloat16 for many samples on a CPU that is fast in it, else none.

    Args:
        device: where the model is.
        drawn: number of examples that are sampled, as opposed to decoded at their mode.
    """
    fast = device.type == "cpu" and drawn >= MANY_DRAWS and _cpu_precision() == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def restoring_precision(device: torch.device, *, by_mask: bool) -> torch.autocast:
    """The autocast context to restore in: bfloat16 for masks on sound on a CPU that is fast in it, else none.

    Masks tolerate rounding: with `denoise-16k` the two results differ by -60 dB or less, and bfloat16 takes two thirds
    of the time (`python experiments/run.py audio-choices` measures it).

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
    matrix @ matrix  # warm-up: the first product is slower
    best = math.inf
    for _ in range(5):
        started = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - started)
    return best
