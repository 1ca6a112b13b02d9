"""A keyboard's tokens, one column for each of its 88 keys: chords, and what is common to all of them.

Each key is a line of one pitch: 0 *hold*, 1 *note-off*, 2 an onset (`musicae.music.tokens`). Columns of values stand
behind all keys, velocity and offset of one key after the other. Torch throughout, since training transposes on the
device.
"""

import torch
from torch import Tensor

from musicae.music.tokens import FIRST_ONSET, HOLD

KEYS = 88


def top_line(tokens: Tensor) -> Tensor:
    """The highest key that is struck at each step, as tokens of a line without note-offs.

    Args:
        tokens: int64 `(batch, steps, keys)`.

    Returns:
        int64 `(batch, steps)`.
    """
    struck = tokens >= FIRST_ONSET
    highest = tokens.shape[-1] - 1 - struck.flip(-1).int().argmax(-1)
    return torch.where(struck.any(-1), FIRST_ONSET + highest, HOLD)


def sounding_keys(tokens: Tensor) -> Tensor:
    """Where a key sounds: bool, of the shape of `(batch, steps, keys)`."""
    place = torch.arange(tokens.shape[1], device=tokens.device)[:, None]
    last = torch.where(tokens != HOLD, place, 0).cummax(1).values
    return tokens.gather(1, last) == FIRST_ONSET


def note_ends(tokens: Tensor) -> Tensor:
    """At each onset the step of the key's next event, the number of steps where there is none.

    Args:
        tokens: int64 `(batch, steps, keys)`.

    Returns:
        int64, of the same shape.
    """
    steps = tokens.shape[1]
    place = torch.arange(steps, device=tokens.device)[:, None]
    event = torch.where(tokens != HOLD, place, steps)
    later = event.flip(1).cummin(1).values.flip(1)
    return torch.cat([later[:, 1:], torch.full_like(later[:, :1], steps)], 1)


def moved(tokens: Tensor, shift: Tensor) -> Tensor:
    """Every key's column, and its values, that of the key so many semitones higher.

    Args:
        tokens: int64 `(batch, steps, keys)`, or with two values for each key behind them.
        shift: `(batch,)` semitones; what would leave the keyboard is lost.
    """
    source = torch.arange(KEYS, device=tokens.device) - shift[:, None]  # (batch, keys)
    exists = (source >= 0) & (source < KEYS)
    source = source.clamp(0, KEYS - 1)
    if tokens.shape[-1] > KEYS:
        both = torch.arange(2, device=tokens.device)
        source = torch.cat([source, (KEYS + 2 * source.unsqueeze(-1) + both).flatten(1)], 1)
        exists = torch.cat([exists, exists.repeat_interleave(2, 1)], 1)
    taken = tokens.gather(2, source.unsqueeze(1).expand(-1, tokens.shape[1], -1))
    is_pad = tokens[..., :1] > FIRST_ONSET  # steps that do not exist
    return torch.where(is_pad, tokens, torch.where(exists.unsqueeze(1), taken, 0))
