"""Stored music to tensors: one transposition for all of a window, and what stays the same under it."""

import numpy as np
import torch

from musicae.music.config import Instrument, Part
from musicae.music.keyboard import KEYS, moved, sounding_keys, top_line
from musicae.music.score import STEPS_PER_QUARTER
from musicae.music.tokens import (
    DRUM_PITCHES,
    FIRST_ONSET,
    HIGHEST_PITCH,
    HOLD,
    LINE_VOCABULARY,
    LOWEST_PITCH,
    PITCH_OFFSET,
)
from musicae.spec import TensorSpec

TRANSPOSE_DOWN = 6
TRANSPOSE_UP = 5
"""Semitones; together all twelve keys once."""
FAR = 0.25
"""Share of the windows that are moved to anywhere from A0 to C8."""
_MIXED, _SWAPPED, _SILENCED, _STARTED_LATER = 0.5, 0.25, 0.15, 0.5
_HASH_SEED = 90_2108
_WINDOWS_PER_CHUNK = 4096


def draw_shift(tokens: torch.Tensor, part: Part, generator: torch.Generator) -> torch.Tensor | None:
    """Draws a transposition for each window, uniform over −6 to +5 semitones, or for some over all that A0–C8 allow.

    Args:
        tokens: int64 `(batch, steps, columns)`, the streams first.
        part: whose tokens they are; drums are not transposed, the other streams move together.
        generator: on the same device.

    Returns:
        int64 `(batch,)` semitones; None where nothing can be transposed.
    """
    if all(instrument.is_drums for instrument in part.instruments):
        return None
    lowest, highest = pitch_span(tokens, part)
    exact = torch.float32 if tokens.device.type == "mps" else torch.float64  # Apple's GPUs have no double precision
    draws = torch.rand(2, len(tokens), generator=generator, device=tokens.device, dtype=exact)
    is_far = draws[1] < FAR
    down, up = LOWEST_PITCH - lowest, HIGHEST_PITCH - highest
    down = torch.where(is_far, down, down.clamp(min=-TRANSPOSE_DOWN))
    up = torch.where(is_far, up, up.clamp(max=TRANSPOSE_UP))
    return torch.minimum(down + (draws[0] * (up - down + 1)).long(), up)


def pitch_span(tokens: torch.Tensor, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and the highest pitch of each window, int64 `(batch,)`; of silence C8 and A0."""
    pitched = [instrument for instrument in part.instruments if not instrument.is_drums]
    notes = torch.cat([_pitches(tokens, instrument) for instrument in pitched], 1)
    onset = (notes >= FIRST_ONSET) & (notes < LINE_VOCABULARY)
    lowest = torch.where(onset, notes, LINE_VOCABULARY - 1).amin(dim=1)
    highest = torch.where(onset, notes, FIRST_ONSET).amax(dim=1)
    return lowest + PITCH_OFFSET, highest + PITCH_OFFSET


def pitch_class_counts(tokens: torch.Tensor, part: Part) -> torch.Tensor:
    """Steps that each pitch class sounds in windows `(batch, steps, columns)`, int64 `(batch, 12)`."""
    counts = torch.zeros(len(tokens), 12, dtype=torch.int64, device=tokens.device)
    for instrument in part.instruments:
        own = tokens[..., instrument.columns]
        if instrument.is_keys:
            sounds = sounding_keys(own).sum(1)  # (batch, keys)
            place = (torch.arange(KEYS, device=tokens.device) + LOWEST_PITCH) % 12
            counts.index_add_(1, place, sounds)
        elif not instrument.is_drums:
            counts += sounding_classes(own[..., 0]).sum(1)
    return counts


def onset_classes(tokens: torch.Tensor, part: Part) -> torch.Tensor:
    """Notes of each pitch class that begin at each step, `(batch, steps, columns)` → int64 `(batch, steps, 12)`."""
    counts = torch.zeros(*tokens.shape[:2], 12, dtype=torch.int64, device=tokens.device)
    for instrument in part.instruments:
        own = tokens[..., instrument.columns]
        if instrument.is_keys:
            place = (torch.arange(KEYS, device=tokens.device) + LOWEST_PITCH) % 12
            counts.index_add_(2, place, (own == FIRST_ONSET).long())
        elif not instrument.is_drums:
            begins = (own >= FIRST_ONSET) & (own < LINE_VOCABULARY)
            counts.scatter_add_(2, (own + PITCH_OFFSET).clamp_min(0) % 12, begins.long())
    return counts


def _pitches(tokens: torch.Tensor, instrument: Instrument) -> torch.Tensor:
    """The onsets of an instrument as tokens of a line, `(batch, places)`; what is below `FIRST_ONSET` is none."""
    own = tokens[..., instrument.columns]
    if instrument.is_keys:
        key = torch.arange(FIRST_ONSET, FIRST_ONSET + KEYS, device=tokens.device)
        own = torch.where((own == FIRST_ONSET).any(1), key, 0)
    return own.flatten(1)


def leading_line(tokens: torch.Tensor, part: Part) -> torch.Tensor:
    """The first instrument's stream, of a keyboard its upper line: `(batch, steps, columns)` → `(batch, steps)`."""
    first = part.instruments[0]
    return top_line(tokens[..., first.columns]) if first.is_keys else tokens[..., 0]


def last_event(line: torch.Tensor) -> torch.Tensor:
    """The token that each step of lines holds on to: the last one up to it that is no hold, `(batch, steps)`."""
    place = torch.where(line != HOLD, torch.arange(line.shape[1], device=line.device), 0).cummax(1).values
    return line.gather(1, place)


def sounding_classes(line: torch.Tensor) -> torch.Tensor:
    """Which pitch class sounds at each step of lines, int64 `(batch, steps, 12)` of 0 and 1."""
    event = last_event(line)
    sounds = (event >= FIRST_ONSET) & (event < LINE_VOCABULARY)
    classes = torch.where(sounds, (event + PITCH_OFFSET) % 12, 12)
    return torch.nn.functional.one_hot(classes, 13)[..., :12]


def transposed(tokens: torch.Tensor, part: Part, shift: torch.Tensor) -> torch.Tensor:
    """Moves the notes of `(batch, steps, columns)` by `(batch,)` semitones, or to the octave that is in A0–C8."""
    if part.instruments[0].is_keys:
        return moved(tokens, shift)
    movable = [column < len(part.streams) and not part.streams[column].is_drums for column in range(tokens.shape[-1])]
    is_note = (
        (tokens >= FIRST_ONSET)
        & (tokens < LINE_VOCABULARY)
        & torch.tensor(movable).to(tokens.device, non_blocking=True)
    )
    moved_notes = tokens + shift[:, None, None]
    moved_notes = torch.where(moved_notes >= LINE_VOCABULARY, moved_notes - 12, moved_notes)
    moved_notes = torch.where(moved_notes < FIRST_ONSET, moved_notes + 12, moved_notes)
    return torch.where(is_note, moved_notes, tokens)


def recombine(tokens: torch.Tensor, spec: TensorSpec, share: float, generator: torch.Generator) -> torch.Tensor:
    """Puts streams of several windows together: in few pieces, what is played together is learned by heart first.

    Args:
        tokens: int64 `(batch, steps, columns)`.
        spec: which values belong to which stream.
        share: of the windows; each stream of such a window is that of any window of the batch.
        generator: on the same device.
    """
    own = torch.arange(len(tokens), device=tokens.device)
    chosen = torch.rand(len(tokens), generator=generator, device=tokens.device) < share
    taken = []
    for _ in spec.vocabulary:
        other = torch.randperm(len(tokens), generator=generator, device=tokens.device)
        taken.append(torch.where(chosen, other, own))
    streams = [*range(len(spec.vocabulary)), *(column.stream for column in spec.values)]
    return torch.stack([tokens[taken[stream], :, column] for column, stream in enumerate(streams)], dim=-1)


def vary_drums(
    tokens: torch.Tensor, part: Part, generator: torch.Generator, length: torch.Tensor | None = None, share: float = 1.0
) -> torch.Tensor:
    """Plays the drums of some windows on other drums: what transposition is to pitches.

    Two of the nine drums change places in `_SWAPPED` of the windows, one is silent in `_SILENCED`. Where
    nothing but drums plays, some drums of `_MIXED` of the windows play what they play in another window of
    the batch, and `_STARTED_LATER` start at any quarter, what came before going to the end.

    Args:
        tokens: int64 `(batch, steps, columns)`.
        part: whose tokens they are; values behind them go with their hits.
        generator: on the same device.
        length: steps of each window, `(batch,)`; None: all of them.
        share: of the windows that would change places or be mixed, how many are.
    """
    batch, steps, columns = tokens.shape
    device, drums = tokens.device, torch.arange(len(DRUM_PITCHES), device=tokens.device)

    def draw(below: int) -> torch.Tensor:
        return torch.randint(0, below, (batch, 1), generator=generator, device=device)

    def happens(share: float) -> torch.Tensor:
        return torch.rand(batch, 1, generator=generator, device=device) < share

    alone = all(stream.is_drums for stream in part.streams)
    varied = tokens.clone()
    first_value = len(part.streams)
    for index, stream in enumerate(part.streams):
        place = slice(first_value, first_value + 2 * stream.places)
        first_value = place.stop
        if not stream.is_drums:
            continue
        hits, one, other = tokens[..., index], draw(len(drums)), draw(len(drums))
        values = tokens[..., place].unflatten(-1, (2, -1)) if columns > len(part.streams) else None
        if alone:
            taken = draw(2 ** len(drums)) * happens(share * _MIXED)
            partner = torch.randperm(batch, generator=generator, device=device)
            hits = (hits & ~taken) | (hits[partner] & taken)
            if values is not None:
                values = torch.where(((taken >> drums) & 1 == 1)[:, None, None], values[partner], values)
        difference = ((hits >> one) ^ (hits >> other)) & 1
        is_swapped = happens(share * _SWAPPED)
        hits = torch.where(is_swapped, hits ^ (difference << one) ^ (difference << other), hits)
        is_silenced = happens(share * _SILENCED)
        silenced = draw(len(drums))
        varied[..., index] = torch.where(is_silenced, hits & ~(1 << silenced), hits)
        if values is not None:
            source = torch.where(drums == one, other, torch.where(drums == other, one, drums.expand(batch, -1)))
            source = torch.where(is_swapped, source, drums)
            values = values.gather(-1, source[:, None, None].expand_as(values))
            values = torch.where((is_silenced & (drums == silenced))[:, None, None], 0, values)
            varied[..., place] = values.flatten(-2)
    if alone:
        start = STEPS_PER_QUARTER * draw(steps // STEPS_PER_QUARTER) * happens(_STARTED_LATER)
        step = torch.arange(steps, device=device)
        order = (step + start) % steps  # (batch, steps)
        if length is not None:
            own = length[:, None]
            order = torch.where(step < own, (step + start) % own, step)
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
        if part.instruments[0].is_keys:
            streams = enumerate(part.streams)
            canonical = np.stack([stream.canonical(chunk[..., index]) for index, stream in streams], -1)
            hashes[start : start + len(chunk)] = _hash_keys(canonical)
            continue
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


def _hash_keys(tokens: np.ndarray) -> np.ndarray:
    """Of keyboards `(windows, steps, keys)`, canonical; keys count from the lowest one that is struck."""
    windows, steps, keys = tokens.shape
    lowest = (tokens >= FIRST_ONSET).any(1).argmax(1)
    window, step, key = np.nonzero(tokens)
    table = np.random.PCG64(_HASH_SEED).random_raw(steps * 2 * keys * FIRST_ONSET).reshape(steps, 2 * keys, FIRST_ONSET)
    hashes = np.zeros(windows, np.uint64)
    np.bitwise_xor.at(hashes, window, table[step, key - lowest[window] + keys, tokens[window, step, key] - 1])
    return hashes
