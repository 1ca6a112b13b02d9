"""How much of a window another one keeps: its notes, its rhythm, its contour, its harmony.

All of it is measured on tokens, of windows of one time signature, and is 1 where nothing of the kind was lost. Torch
throughout, since a search asks for many thousands of windows.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from musicae.music.config import Part
from musicae.music.keyboard import top_line
from musicae.music.streams import Stream
from musicae.music.tensors import last_event, sounding_classes
from musicae.music.tokens import DRUM_PITCHES, FIRST_ONSET, HOLD
from musicae.precision import in_double


def kept(part: Part, aspect: str, estimate: Tensor, target: Tensor, bar_steps: int) -> Tensor:
    """The share of an aspect of windows that others have too.

    Args:
        part: whose tokens they are; of a keyboard all notes count, and for the other aspects its upper line.
        aspect: a key of `ASPECTS`.
        estimate, target: int64 `(batch, steps, columns)`, streams first.
        bar_steps: steps in a bar.

    Returns:
        float64 `(batch,)`, the mean of the instruments that have anything of the kind; 1 where none has.
    """
    total = torch.zeros(len(target), dtype=torch.float64)
    counted = torch.zeros_like(total)
    for instrument in part.instruments:
        ours, wanted = estimate[..., instrument.columns], target[..., instrument.columns]
        if instrument.is_keys and aspect != "notes":
            ours, wanted = top_line(ours).unsqueeze(-1), top_line(wanted).unsqueeze(-1)
        shares = ASPECTS[aspect](instrument.streams[0], ours.flatten(1), wanted.flatten(1), bar_steps)
        total += shares.nan_to_num(0.0).cpu()
        counted += in_double(~shares.isnan()).cpu()
    return torch.where(counted > 0, total / counted.clamp(min=1), 1.0)


def notes(stream: Stream, estimate: Tensor, target: Tensor, bar_steps: int) -> Tensor:
    """Of the onsets of a line those with the same pitch at the same step; of the hits those on the same drum."""
    del bar_steps
    if not stream.is_drums:
        onset = target >= FIRST_ONSET
        return _share((estimate == target) & onset, onset)
    bits = torch.arange(len(DRUM_PITCHES), device=target.device)
    ours, wanted = ((tokens[..., None] >> bits) & 1 == 1 for tokens in (estimate, target))
    return _share((ours & wanted).flatten(1), wanted.flatten(1))


def rhythm(stream: Stream, estimate: Tensor, target: Tensor, bar_steps: int) -> Tensor:
    """The F1 score of the steps at which something is struck."""
    del bar_steps
    ours, wanted = estimate >= stream.first_onset, target >= stream.first_onset
    return _ratio(2 * (ours & wanted).sum(1), ours.sum(1) + wanted.sum(1))


def contour(stream: Stream, estimate: Tensor, target: Tensor, bar_steps: int) -> Tensor:
    """Of the steps from note to note of a line those that go the same way: up, down, or neither.

    The notes are the target's; of the estimate what sounds, or sounded last, at the same places is compared.
    """
    del bar_steps
    if stream.is_drums:
        return torch.full((len(target),), torch.nan)
    wanted, ours = _last_pitch(target), _last_pitch(estimate)
    onset = target >= FIRST_ONSET
    place = torch.where(onset, torch.arange(target.shape[1], device=target.device), -1)
    before = torch.cat([torch.full_like(place[:, :1], -1), place.cummax(1).values[:, :-1]], 1)
    follows = onset & (before >= 0)
    earlier = before.clamp_min(0)
    same = (wanted - wanted.gather(1, earlier)).sign() == (ours - ours.gather(1, earlier)).sign()
    return _share(same & follows, follows)


def harmony(stream: Stream, estimate: Tensor, target: Tensor, bar_steps: int) -> Tensor:
    """The overlap of the times that the pitch classes sound in each bar of a line."""
    if stream.is_drums:
        return torch.full((len(target),), torch.nan)
    ours, wanted = (_pitch_classes(tokens, bar_steps) for tokens in (estimate, target))
    return _ratio(2 * torch.minimum(ours, wanted).sum((1, 2)), (ours + wanted).sum((1, 2)))


ASPECTS: dict[str, Callable[[Stream, Tensor, Tensor, int], Tensor]] = {
    "notes": notes,
    "rhythm": rhythm,
    "contour": contour,
    "harmony": harmony,
}
"""Name → stream, estimate, target and steps of a bar → `(batch,)`, NaN where there is nothing of the kind."""
_OF_PITCHES = ("contour", "harmony")


def aspects_of(part: Part) -> tuple[str, ...]:
    """The aspects that some of the part's instruments have."""
    is_pitched = not all(instrument.is_drums for instrument in part.instruments)
    return tuple(name for name in ASPECTS if is_pitched or name not in _OF_PITCHES)


def _share(right: Tensor, wanted: Tensor) -> Tensor:
    """Bool `(batch, places)` each → `(batch,)`."""
    return _ratio(right.sum(1), wanted.sum(1))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, in_double(part) / whole.clamp(min=1), torch.nan)


def _last_pitch(tokens: Tensor) -> Tensor:
    """The pitch of the last onset up to each step, 0 before the first."""
    onset = torch.where(tokens >= FIRST_ONSET, tokens, HOLD)
    return last_event(onset)


def _pitch_classes(tokens: Tensor, bar_steps: int) -> Tensor:
    """Steps that each pitch class sounds in each bar, `(batch, bars, 12)`."""
    return sounding_classes(tokens).unflatten(1, (-1, bar_steps)).sum(2)
