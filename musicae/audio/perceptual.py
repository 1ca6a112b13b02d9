"""PESQ and STOI, where the libraries that compute them are installed (`pip install musicae[measure]`).

PESQ: ITU-T P.862.2, wideband, 1.04 to 4.64, for speech at 16 kHz. STOI: Taal et al., 2011, 0 to 1. Both are
measures of speech; of music they say little.
"""

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

PESQ_RATE_HZ = 16_000


def perceptual_scores(estimate: Tensor, target: Tensor, *, sample_rate_hz: int) -> dict[str, Tensor]:
    """Name → `(batch,)` of waveforms `(batch, samples)`; NaN where there is no speech to judge, nothing uninstalled.

    Args:
        estimate: at any level.
        target: the clean one.
        sample_rate_hz: of both; PESQ is computed at 16 kHz only.
    """
    pairs = list(zip(estimate.detach().cpu().double().numpy(), target.detach().cpu().double().numpy(), strict=True))
    found = {}
    if find_spec("pesq") is not None and sample_rate_hz == PESQ_RATE_HZ:
        found["pesq"] = torch.tensor([_pesq(ours, theirs) for ours, theirs in pairs])
    if find_spec("pystoi") is not None:
        found["stoi"] = torch.tensor([_stoi(ours, theirs, sample_rate_hz) for ours, theirs in pairs])
    return found


def _pesq(estimate: np.ndarray, target: np.ndarray) -> float:
    from pesq import BufferTooShortError, NoUtterancesError, pesq

    if not (np.any(estimate) and np.any(target)):
        return float("nan")
    try:
        return float(pesq(PESQ_RATE_HZ, target.astype(np.float32), estimate.astype(np.float32), "wb"))
    except (NoUtterancesError, BufferTooShortError):
        return float("nan")


def _stoi(estimate: np.ndarray, target: np.ndarray, sample_rate_hz: int) -> float:
    import warnings

    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # it warns, and gives 1e-5, where too little speech is left
        try:
            return float(stoi(target, estimate, sample_rate_hz))
        except RuntimeWarning:
            return float("nan")
