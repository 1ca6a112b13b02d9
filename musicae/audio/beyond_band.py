"""What a model's sample rate cannot hold: it is kept, turned down as much as the upper octave of what can be heard.

Files and streams share the rule. Pure functions of arrays.
"""

import numpy as np


def upper_octave(n_fft: int, *, model_rate_hz: int, source_rate_hz: int) -> slice:
    """The bins of the octave below what a source holds at the model's rate."""
    highest = round(n_fft // 2 * min(1.0, source_rate_hz / model_rate_hz))
    return slice(highest // 2, highest + 1)


def rejoined(result: np.ndarray, heard: np.ndarray, removed: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The model's result with what it could not hear; all float `(frames, channels)`, `removed` or one column.

    Args:
        result: of the model, at the source's rate.
        heard: what the model was given, at the source's rate.
        removed: share of the upper octave's amplitude that is gone, 0…1.
        source: as it was.
    """
    joined: np.ndarray = result + (1.0 - removed) * (source - heard)
    return joined
