"""The floating-point format to train, sample and restore in: bfloat16 where the machine is faster with it.

Autocast is for networks. A log-probability sums thousands of numbers, and a change of variables goes through every
layer of a flow: in bfloat16 they are wrong by whole nats. Such methods are marked `in_float32`.
"""

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_ROUNDED = (torch.bfloat16, torch.float16)


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
    if best_device().type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if best_device().type == "mps":
        return "no"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "no"  # processes that measure for themselves could disagree
    return _cpu_precision()


@cache
def best_device() -> torch.device:
    """The device that is computed on where none is named: a CUDA GPU, else one of Apple's (MPS), else the CPU.

    `MUSICAE_DEVICE` (`cpu`, `cuda`, `mps`) decides otherwise. MPS is used only if the transforms that sound needs run
    on it, which older versions of macOS lack.
    """
    if chosen := os.environ.get("MUSICAE_DEVICE"):
        return torch.device(chosen)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available() and _transforms_run(torch.device("mps")):
        return torch.device("mps")
    return torch.device("cpu")


def _transforms_run(device: torch.device) -> bool:
    try:
        wave = torch.ones(1, 64, device=device)
        torch.stft(wave, 16, 4, window=torch.hann_window(16, device=device), return_complex=True).abs().sum().item()
    except (RuntimeError, NotImplementedError, TypeError):
        return False
    return True


MANY_DRAWS = 256
"""Number of sampled examples from which speed matters more than equal samples on every machine."""


def drawing_precision(device: torch.device, drawn: int) -> torch.autocast:
    """The autocast context to decode samples in: bfloat16 for many samples where it is fast, else none.

    Args:
        device: where the model is.
        drawn: number of examples that are sampled, as opposed to decoded at their mode.
    """
    fast = drawn >= MANY_DRAWS and _is_fast_in_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def restoring_precision(device: torch.device, *, by_mask: bool) -> torch.autocast:
    """The autocast context to restore in: bfloat16 for masks on sound where it is fast, else none.

    Masks tolerate rounding: with `denoise-48k` the two results differ by -59 dB or less, and bfloat16 takes two
    thirds of the time (`python experiments/run.py audio-choices` measures it).

    Args:
        device: where the model is.
        by_mask: whether the model attenuates parts of a spectrum.
    """
    fast = by_mask and _is_fast_in_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def in_float32(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorates a method that must not be rounded: it computes without autocast and TF32, and takes no half precision.

    Args:
        method: its tensors are given as arguments; the half-precise ones are turned into float32.
    """

    @wraps(method)
    def unrounded(*args: Any, **kwargs: Any) -> _Result:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = tensors[0].device.type if tensors else "cpu"
        is_rounding = device != "meta" and torch.is_autocast_enabled(device)
        products = torch.backends.cuda.matmul
        is_rounding |= device == "cuda" and products.fp32_precision != "ieee"  # "none" is what torch decides elsewhere
        if not is_rounding and not any(tensor.dtype in _ROUNDED for tensor in tensors):
            return method(*args, **kwargs)
        with ExitStack() as stack:
            if device != "meta":
                stack.enter_context(torch.autocast(device, enabled=False))
            if device == "cuda":
                stack.callback(setattr, products, "fp32_precision", products.fp32_precision)
                products.fp32_precision = "ieee"
            return method(
                *(_as_float32(value) for value in args), **{key: _as_float32(value) for key, value in kwargs.items()}
            )

    return unrounded


def _as_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _ROUNDED else value


def in_double(tensor: Tensor) -> Tensor:
    """In float64; what lies on one of Apple's GPUs, which have none, is brought to the CPU."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _is_fast_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cpu":
        return _cpu_precision() == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


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
