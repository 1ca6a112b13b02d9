"""The mask of a causal model as a function of magnitudes, which is all that a stream of sound asks for."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor

from musicae.audio.frames import MaskFunction
from musicae.inference.coder import Coder
from musicae.models import CausalRestorer


def mask_of(coder: Coder, restrained: Callable[[Tensor, Tensor], Tensor]) -> MaskFunction:
    """What the model makes of the next frames, for one sound: every sound needs its own.

    Args:
        coder: of a causal model.
        restrained: the model's answer and what it was given → the answer, held back.
    """
    model = cast(CausalRestorer, coder.model)
    state = model.initial_state(1)

    def mask(magnitude: np.ndarray) -> np.ndarray:
        nonlocal state
        real = torch.from_numpy(magnitude).to(coder.device)[None]
        with torch.inference_mode():
            factors, state = model.mask(torch.stack((real, torch.zeros_like(real)), 1), state)
        held: np.ndarray = restrained(factors, torch.ones_like(factors))[0, 0].cpu().numpy()
        return held

    return mask
