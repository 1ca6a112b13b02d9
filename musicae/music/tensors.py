"""Stored music to tensors: one transposition for all of a window, and what stays the same under it."""

import numpy as np
import torch

from musicae.music.config import Part
from musicae.music.score import STEPS_PER_QUARTER
from musicae.music.tokens import DRUM_PITCHES, FIRST_ONSET, LINE_VOCABULARY

TRANSPOSE_DOWN = 6
TRANSPOSE_UP = 5
"""Semitones; together all twelve keys once."""
_MIXED, _SWAPPED, _SILENCED, _STARTED_LATER = 0.5, 0.25, 0.15, 0.5
_HASH_SEED = 90_2108
_WINDOWS_PER_CHUNK = 4096


def draw_shift(tokens: torch.Tensor, part: Part, generator: torch.Generator) -> torch.Tensor | None:
    """Draws a transposition for each window, uniform over −6 to +5 semitones, less what would leave A0–C8.

    Args:
        tokens: int64 `(batch, steps, streams)`.
        part: whose tokens they are; drums are not transposed, the other streams move together.
        generator: on the same device.

    Returns:
        int64 `(batch,)` semitones; None where nothing can be transposed.
    """
    pitched = [index for index, stream in enumerate(part.streams) if not stream.is_drums]
    if not pitched:
        return None
    notes = torch.cat([tokens[..., index] for index in pitched], 1)
    onset = notes >= FIRST_ONSET
    lowest = torch.where(onset, notes, LINE_VOCABULARY - 1).amin(dim=1)  # (batch,)
    highest = torch.where(onset, notes, FIRST_ONSET).amax(dim=1)
    down = (FIRST_ONSET - lowest).clamp(min=-TRANSPOSE_DOWN)
    up = (LINE_VOCABULARY - 1 - highest).clamp(max=TRANSPOSE_UP)
    exact = torch.float32 if tokens.device.type == "mps" else torch.float64  # Apple's GPUs have no double precision
    draw = torch.rand(len(tokens), generator=generator, device=tokens.device, dtype=exact)
    return torch.minimum(down + (draw * (up - down + 1)).long(), up)


def transposed(tokens: torch.Tensor, part: Part, shift: torch.Tensor) -> torch.Tensor:
    """Moves the notes of `(batch, steps, streams)` by `(batch,)` semitones."""
    movable = torch.tensor([not stream.is_drums for stream in part.streams]).to(tokens.device, non_blocking=True)
    return torch.where((tokens >= FIRST_ONSET) & movable, tokens + shift[:, None, None], tokens)


def recombine(tokens: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Puts streams of several windows together: in few pieces, what is played together is learned by heart first.

    Args:
        tokens: int64 `(batch, steps, streams)`.
        share: of the windows; each stream of such a window is that of any window of the batch.
        generator: on the same device.
    """
    batch, _, streams = tokens.shape
    own = torch.arange(batch, device=tokens.device)
    chosen = torch.rand(batch, generator=generator, device=tokens.device) < share
    mixed = []
    for stream in range(streams):
        other = torch.randperm(batch, generator=generator, device=tokens.device)
        mixed.append(tokens[torch.where(chosen, other, own), :, stream])
    return torch.stack(mixed, dim=-1)


def vary_drums(tokens: torch.Tensor, part: Part, generator: torch.Generator) -> torch.Tensor:
    """Plays the drums of some windows on other drums: what transposition is to pitches.

    Two of the nine drums change places in `_SWAPPED` of the windows, one is silent in `_SILENCED`. Where
    nothing but drums plays, some drums of `_MIXED` of the windows play what they play in another window of
    the batch, and `_STARTED_LATER` start at any quarter, what came before going to the end.

    Args:
        tokens: int64 `(batch, steps, streams)`.
        part: whose tokens they are.
        generator: on the same device.
    """
    batch, steps, _ = tokens.shape
    device = tokens.device

    def draw(below: int) -> torch.Tensor:
        return torch.randint(0, below, (batch, 1), generator=generator, device=device)

    def happens(share: float) -> torch.Tensor:
        return torch.rand(batch, 1, generator=generator, device=device) < share

    alone = all(stream.is_drums for stream in part.streams)
    varied = tokens.clone()
    for index, stream in enumerate(part.streams):
        if not stream.is_drums:
            continue
        hits, one, other = tokens[..., index], draw(len(DRUM_PITCHES)), draw(len(DRUM_PITCHES))
        if alone:
            taken = draw(2 ** len(DRUM_PITCHES)) * happens(_MIXED)
            partner = torch.randperm(batch, generator=generator, device=device)
            hits = (hits & ~taken) | (hits[partner] & taken)
        difference = ((hits >> one) ^ (hits >> other)) & 1
        hits = torch.where(happens(_SWAPPED), hits ^ (difference << one) ^ (difference << other), hits)
        varied[..., index] = torch.where(happens(_SILENCED), hits & ~(1 << draw(len(DRUM_PITCHES))), hits)
    if alone:
        start = STEPS_PER_QUARTER * draw(steps // STEPS_PER_QUARTER) * happens(_STARTED_LATER)
        order = (torch.arange(steps, device=device) + start) % steps  # (batch, steps)
        varied = varied.gather(1, order.unsqueeze(-1).expand_as(varied))
    return varied


def hash_windows(examples: np.ndarray, part: Part) -> np.ndarray:
    """Hashes rhythm, intervals and drums of each window (Zobrist hashing); transpositions are equal.

    Args:
        examples: `(windows, steps, columns)`, the streams first.
        part: whose tokens they are.

    Returns:
        uint64 `(windows,)`.
    """
    steps = examples.shape[1]
    hashes = np.zeros(len(examples), dtype=np.uint64)
    for start in range(0, len(examples), _WINDOWS_PER_CHUNK):
        chunk = examples[start : start + _WINDOWS_PER_CHUNK]
        reference: np.ndarray | None = None
        for index, stream in enumerate(part.streams):
            tokens = stream.canonical(chunk[..., index]).astype(np.int64)
            size = stream.vocabulary
            if not stream.is_drums:
                onset = tokens >= FIRST_ONSET
                first = np.take_along_axis(tokens, onset.argmax(axis=1)[:, None], axis=1)
                # Intervals between streams count too, so all count from the first note of the first that has one.
                reference = first if reference is None else np.where(reference >= FIRST_ONSET, reference, first)
                tokens += onset * (LINE_VOCABULARY + FIRST_ONSET - reference)  # 4 to 179
                size = 256
            # Raw bits of PCG64 are stable across numpy versions; `integers` is not promised to be.
            table = np.random.PCG64(_HASH_SEED + index).random_raw(steps * size).reshape(steps, size)
            hashes[start : start + len(chunk)] ^= np.bitwise_xor.reduce(table[np.arange(steps), tokens], axis=1)
    return hashes
