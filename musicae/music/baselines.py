"""What scores without a model: always the most frequent token, and every bar a copy of the bar before it.

Melodies hold most of the time and repeat themselves, so an accuracy says little until these stand
beside it. Tokens here are `(windows, steps, streams)` of any part.
"""

import numpy as np


def most_frequent(tokens: np.ndarray) -> np.ndarray:
    """The most frequent token of each stream, int64 `(streams,)`; of equally frequent ones the lowest.

    Args:
        tokens: `(windows, steps, streams)`, at least one window.
    """
    return np.array([np.bincount(tokens[..., stream].ravel()).argmax() for stream in range(tokens.shape[-1])])


def always(symbols: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The same tokens at every step.

    Args:
        symbols: `(streams,)`.
        tokens: `(windows, steps, streams)`, for shape and type.
    """
    return np.broadcast_to(symbols.astype(tokens.dtype), tokens.shape).copy()


def bar_before(symbols: np.ndarray, tokens: np.ndarray, bar_steps: int) -> np.ndarray:
    """Every bar as the bar before it is; the first bar of a window holds the same tokens throughout.

    Args:
        symbols: `(streams,)`: what the first bar holds.
        tokens: `(windows, steps, streams)`, whole bars.
        bar_steps: steps in a bar.
    """
    if tokens.shape[1] % bar_steps:
        raise ValueError(f"windows of {tokens.shape[1]} steps are no whole bars of {bar_steps}")
    copied = always(symbols, tokens)
    copied[:, bar_steps:] = tokens[:, : tokens.shape[1] - bar_steps]
    return copied
