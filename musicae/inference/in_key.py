"""Samples in a key that somebody asks for.

Music is drawn as it comes, and its key is found. What fits a key of the asked mode best is drawn again with nothing but
the notes of that key, and moved to the asked tonic. So a code need not know of keys, and hardly a note has to change.
Where chords are given nothing is moved: what fits the asked key best as it is is taken.
"""

from typing import Any

import torch
from torch import Tensor

from musicae.capabilities import HasKeys
from musicae.errors import MusicaeError
from musicae.pipeline import Pipeline

CANDIDATES = 4
"""So many are drawn for each sample."""


def domain_with_keys(pipeline: Pipeline, key: str) -> tuple[HasKeys, Any]:
    """The domain, and the key as it reads it.

    Raises:
        MusicaeError: the domain, or the part that the model plays, has no keys; or the text can't be read.
    """
    domain = pipeline.domain
    if not isinstance(domain, HasKeys) or not domain.has_keys:
        raise MusicaeError("a key is for music with pitches; leave --key out, or choose a model of melodies or piano.")
    return domain, domain.parse_key(key)


def drawn_in_key(
    pipeline: Pipeline,
    base: Tensor,
    windows: int,
    key: str,
    condition: Tensor | None,
    *,
    keeps_pitch: bool,
    temperature: float,
    top_p: float,
    generator: torch.Generator,
) -> Tensor:
    """Decodes the pieces that fit a key best, in it.

    Args:
        pipeline: its domain has keys.
        base: codes `(CANDIDATES · pieces · windows, *latent_shape)`, in the space where paths are drawn.
        windows: of a piece.
        key: such as "D minor".
        condition: `(CANDIDATES · pieces · windows, length)`, or None.
        keeps_pitch: whether nothing is transposed.
        temperature, top_p, generator: as in `Autoencoder.decode`.

    Returns:
        `(pieces · windows, *spec.shape)`, on the CPU.
    """
    domain, wanted = domain_with_keys(pipeline, key)
    pieces = len(base) // windows
    drafts = pipeline.decode(base, condition, temperature=temperature, top_p=top_p, generator=generator).cpu()
    shift, fit = domain.way_to_key(drafts.unflatten(0, (pieces, windows)), wanted, keeps_pitch=keeps_pitch)
    best = fit.argsort(descending=True)[: pieces // CANDIDATES].sort().values
    rows = (best[:, None] * windows + torch.arange(windows)).flatten()  # of the chosen pieces
    shifts = shift[best].repeat_interleave(windows)
    base, condition = base[rows.to(base.device)], None if condition is None else condition[rows.to(condition.device)]
    made = drafts[rows]
    for each in shifts.unique().tolist():
        own = (shifts == each).nonzero()[:, 0]
        place = own.to(base.device)
        made[own] = pipeline.decode(
            base[place],
            None if condition is None else condition[place],
            temperature=temperature,
            top_p=top_p,
            generator=generator,
            allowed=domain.symbols_in_key(wanted, int(each)),
        ).cpu()
    return domain.moved(made, shifts)
