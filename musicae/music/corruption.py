"""Corruption for the tasks of the shared loop: wrong notes, a coarse grid, a rhythm that is only tapped.

Works on int64 tensors `(batch, steps, streams)` where they lie; every draw comes from the generator that
is given. The tokens are those of `musicae.music.tokens`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from musicae.music.config import Part
from musicae.music.tokens import DRUM_PITCHES, FIRST_ONSET, HOLD, LINE_VOCABULARY
from musicae.spec import TensorSpec

MOST_WRONG = 0.3
"""Largest share of an example's notes with a wrong pitch; each example has a share of its own below it."""
MOST_DROPPED = 0.2
MOST_SHIFTED = 0.2
MOST_ADDED = 0.2
"""Hits of drums that nobody played, for each one of the example's own."""
FARTHEST_SEMITONES = 4
TAP = 1 << list(DRUM_PITCHES).index("closed hat")
"""The token that stands for a tap."""


def corrupted(tokens: Tensor, spec: TensorSpec, corrupt: Callable[[Tensor], Tensor]) -> Tensor:
    """Corrupts the symbols of a batch, and lets values and pads be what they have to be.

    A note keeps its values; one that was moved by a step takes them with it, and one that was added has usual ones.

    Args:
        tokens: `(batch, steps, columns)`.
        spec: which columns are values, and what a pad is.
        corrupt: symbols `(batch, steps, streams)` without pads → corrupted ones.
    """
    streams = len(spec.vocabulary)
    clean = tokens[..., :streams]
    exists = torch.stack([clean[..., index] < size for index, size in enumerate(spec.vocabulary)], -1)
    symbols = torch.where(exists, corrupt(torch.where(exists, clean, 0)), clean)
    values = []
    for place, column in enumerate(spec.values, streams):
        there, own = column.applies(clean[..., column.stream]), tokens[..., place]
        for shift in (1, -1):
            own = torch.where(there, own, own.roll(shift, 1))
            there = there | there.roll(shift, 1)
        own = torch.where(there, own, round(column.middle))
        values.append(torch.where(column.applies(symbols[..., column.stream]), own, 0))
    return torch.cat([symbols, torch.stack(values, -1)], -1) if values else symbols


def wrong_notes(tokens: Tensor, part: Part, generator: torch.Generator) -> Tensor:
    """What `denoise` repairs: some notes get a near wrong pitch, some are missing, some a step early or late.

    Hits of drums are struck on another drum, missing, added, or a step early or late.

    Args:
        tokens: `(batch, steps, streams)`.
        part: whose tokens they are.
        generator: on the same device.

    Returns:
        A corrupted copy, tokens all valid.
    """
    corrupted = tokens.clone()
    for index, stream in enumerate(part.streams):
        corrupt = _wrong_hits if stream.is_drums else _wrong_line
        corrupted[..., index] = corrupt(tokens[..., index], generator)
    return corrupted


def coarse_grid(tokens: Tensor, part: Part) -> Tensor:
    """What `upscale` refines: everything between two eighths moves to the eighth before it, or gives way.

    Where a line has an onset on the eighth, what follows on the 16th after it is lost. Drums of both
    16ths sound together on the eighth.

    Args:
        tokens: `(batch, steps, streams)`, an even number of steps.
        part: whose tokens they are.
    """
    coarse = torch.zeros_like(tokens)
    for index, stream in enumerate(part.streams):
        even, odd = tokens[:, ::2, index], tokens[:, 1::2, index]
        if stream.is_drums:
            coarse[:, ::2, index] = even | odd
        else:
            keeps = (even >= FIRST_ONSET) | (odd == HOLD)
            coarse[:, ::2, index] = torch.where(keeps, even, odd)
    return coarse


def tapped(tokens: Tensor, spec: TensorSpec) -> Tensor:
    """What `tap` plays on a kit: of drums only when something is struck, flat and on the grid.

    Args:
        tokens: `(batch, steps, columns)`.
        spec: which columns are values; all streams are drums.
    """
    sizes = torch.tensor(spec.vocabulary, device=tokens.device)
    hits = tokens[..., : len(sizes)]
    symbols = torch.where(hits >= sizes, hits, torch.where(hits > 0, TAP, 0))  # pads stay
    values = [
        torch.where(column.applies(symbols[..., column.stream]), round(column.middle), 0) for column in spec.values
    ]
    return torch.cat([symbols, torch.stack(values, -1)], -1) if values else symbols


def _chance(like: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Bool `(batch, steps)`, each example with its own share, uniform below `most`."""
    share = most * torch.rand(len(like), 1, generator=generator, device=like.device)
    return torch.rand(like.shape, generator=generator, device=like.device) < share


def _wrong_line(line: Tensor, generator: torch.Generator) -> Tensor:
    """Of a melody or bass `(batch, steps)`."""
    onset = line >= FIRST_ONSET
    size = torch.randint(1, FARTHEST_SEMITONES + 1, line.shape, generator=generator, device=line.device)
    sign = 2 * torch.randint(0, 2, line.shape, generator=generator, device=line.device) - 1
    moved = line + sign * size
    outside = (moved < FIRST_ONSET) | (moved >= LINE_VOCABULARY)
    moved = torch.where(outside, line - sign * size, moved)  # clamped, the outermost pitches would often stay right
    line = torch.where(onset & _chance(line, MOST_WRONG, generator), moved, line)
    line = torch.where(onset & _chance(line, MOST_DROPPED, generator), HOLD, line)
    # A note goes only where nothing happens; one that goes early leaves a hold, one that goes late is preceded by one.
    goes = (line >= FIRST_ONSET) & _chance(line, MOST_SHIFTED, generator)
    return _moved(line, goes, line == HOLD, generator)


def _wrong_hits(hits: Tensor, generator: torch.Generator) -> Tensor:
    """Of drums `(batch, steps)`."""
    drums = len(DRUM_PITCHES)
    places = torch.arange(drums, device=hits.device)
    struck = ((hits[..., None] >> places) & 1).bool()  # (batch, steps, drums)
    flat = struck.flatten(1)
    other = (flat & _chance(flat, MOST_WRONG, generator)).view_as(struck)
    step = torch.randint(1, drums, (*hits.shape, 1), generator=generator, device=hits.device)
    rotated = other.gather(-1, (places - step) % drums)  # each step's wrong hits rotate by a number of their own
    kept = flat & ~_chance(flat, MOST_DROPPED, generator)
    # As many as a share of the hits there are, wherever nothing is struck: silence stays silent.
    ratio = flat.sum(1, keepdim=True) / (~flat).sum(1, keepdim=True).clamp(min=1)
    share = MOST_ADDED * torch.rand(len(flat), 1, generator=generator, device=hits.device) * ratio
    added = ~flat & (torch.rand(flat.shape, generator=generator, device=hits.device) < share)
    struck = (kept.view_as(struck) & ~other) | rotated | added.view_as(struck)
    hits = (struck.long() << places).sum(-1)
    goes = (hits > 0) & _chance(hits, MOST_SHIFTED, generator)
    return _moved(hits, goes, hits == 0, generator)


def _moved(tokens: Tensor, goes: Tensor, free: Tensor, generator: torch.Generator) -> Tensor:
    """Moves what `goes` a step early or late, where that step is free and no other note goes there."""
    early = torch.rand(tokens.shape, generator=generator, device=tokens.device) < 0.5
    result = tokens.clone()
    for step, chosen in ((-1, goes & early), (1, goes & ~early)):
        target = (result == 0) & free & chosen.roll(step, 1)
        target[:, -1 if step < 0 else 0] = False  # rolled round the end
        source = target.roll(-step, 1)
        arriving = result.roll(step, 1)
        result = torch.where(target, arriving, torch.where(source, 0, result))
    return result
