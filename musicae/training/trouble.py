"""What can go wrong while training, and what to do about it, in words. It knows neither data nor networks."""

import gc
import math
from collections.abc import Callable
from typing import TypeVar

import torch

from musicae.errors import MusicaeError

_Result = TypeVar("_Result")

_FARTHEST = 10.0
"""A loss that rises above the best one by more than so many times the first or the best one has diverged."""
_MOST_NATS_A_NUMBER = 1000.0
"""No likelihood here gives an untrained model a loss so large, per number of the example."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: of a GPU, of the computer, or a request that no computer can fulfil."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # Of the computer's memory torch says so with an error of no class of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def until_it_fits(attempt: Callable[[], _Result], ask_for_less: Callable[[], None]) -> _Result:
    """Calls a function again and again until the memory is enough for it.

    Args:
        attempt: what is to be computed.
        ask_for_less: makes `attempt` take less the next time, or raises.
    """
    while True:
        try:
            return attempt()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here are the tensors free that the error's traceback held.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        ask_for_less()


def halved(size: int) -> int:
    """Half of a number of examples, rounded up; 0 where it can't be halved."""
    return 0 if size <= 1 else -(-size // 2)


def refuse_to_halve_less(size: int, what: str, settings: str = "") -> None:
    """Raises `MusicaeError` where nothing smaller can be tried, and names what to lower.

    Args:
        size: examples that would be tried next; 0 for none.
        what: what doesn't fit into the memory.
        settings: what to lower beside the sizes of model and examples: "batch_size, or ".
    """
    if not size:
        raise MusicaeError(
            f"{what} doesn't fit into the memory; lower {settings}the sizes of the model or its examples."
        )


def divergence(loss: float, first: float, best: float, numbers: int) -> str | None:
    """Says that a validation loss is absurd, and what to lower; None where it isn't.

    Args:
        loss: of this evaluation, in nats an example.
        first: of the first evaluation; infinite where this is it.
        best: the lowest one before; infinite where there is none.
        numbers: of an example.
    """
    advice = "lower --learning-rate or --gradient-clip, or train with --precision no"
    if not math.isfinite(loss):
        return f"the validation loss is not finite: {advice}"
    scale = max(abs(first), abs(best)) if math.isfinite(best) else 0.0
    if loss > _MOST_NATS_A_NUMBER * numbers:
        return f"the loss has diverged ({loss:,.3g} nats an example, of {numbers:,} numbers): {advice}"
    if scale and loss - best > _FARTHEST * scale:
        return f"the loss has diverged ({loss:,.3g} after {best:,.3g}): {advice}"
    return None
