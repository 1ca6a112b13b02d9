"""Samples that fit a key or chords that somebody asks for: best-of-n sampling, and for keys constrained decoding.

Music is drawn as it comes, or in the key's scale where the model can (`SecondStage`), four times as much as is asked
for. Where it would have to be moved to fit is found: to the tonic of the key, or to where most notes are tones of the
chords. What fits best is moved there; of what fits alike that with more notes, or silence would fit anything. With a
key it is decoded again first, with nothing but the notes of the key that it fits. So with a key hardly a note has to
change. A model that was trained with chords is given them as a condition too; nothing is moved then, and of more draws
those are taken whose notes are tones of the chords most often.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicae.capabilities import HasKeys
from musicae.errors import MusicaeError
from musicae.pipeline import Pipeline

_CANDIDATES, _CONDITIONED = 4, 8
"""So many are drawn for each sample; more where they can't be moved."""


class SampleRequest(NamedTuple):
    """What samples are to fit.

    Attributes:
        domain: of the model.
        key: as the domain reads it; None: any.
        chords: as a person wrote them; None: any.
        keeps_pitch: whether nothing is transposed, since chords are a condition.
        label: of `TensorSpec.labels`, of draws in the key; None: any.
    """

    domain: HasKeys
    key: Any
    chords: str | None
    keeps_pitch: bool
    label: int | None

    @property
    def candidates(self) -> int:
        """How many are drawn for each sample."""
        return _CONDITIONED if self.keeps_pitch else _CANDIDATES


def request(pipeline: Pipeline, key: str | None, chords: str | None) -> SampleRequest | None:
    """What samples are to fit; None where nothing of the kind is asked for.

    Raises:
        MusicaeError: the domain, or the part that the model plays, has no keys; or a text can't be read.
    """
    domain = pipeline.domain
    has_keys = isinstance(domain, HasKeys) and domain.has_keys
    if key is None and (chords is None or not isinstance(domain, HasKeys)):
        return None
    if not isinstance(domain, HasKeys) or not has_keys:
        what = "a key is" if key is not None else "chords are"
        raise MusicaeError(f"{what} for music with pitches; leave it out, or choose a model of melodies or piano.")
    is_condition = domain.takes_chords and chords is not None
    wanted = None if key is None else domain.parse_key(key)
    label = None if wanted is None else domain.label_of_key(wanted)
    return SampleRequest(domain, wanted, chords, is_condition, label)


def drawn_to_fit(
    pipeline: Pipeline,
    z: Tensor,
    windows: int,
    asked: SampleRequest,
    condition: Tensor | None,
    *,
    temperature: float,
    top_p: float,
    generator: torch.Generator,
) -> Tensor:
    """Decodes the pieces that fit best.

    Args:
        pipeline: its domain has keys.
        z: codes `(candidates · pieces · windows, *latent_shape)`.
        windows: of a piece.
        asked: what they are to fit.
        condition: `(candidates · pieces · windows, length)`, or None.
        temperature, top_p, generator: as in `Autoencoder.decode`.

    Returns:
        `(pieces · windows, *spec.shape)`, on the CPU.
    """
    domain, pieces = asked.domain, len(z) // windows
    drafts = pipeline.decode_codes(z, condition, temperature=temperature, top_p=top_p, generator=generator).cpu()
    split = drafts.unflatten(0, (pieces, windows))
    shift = torch.zeros(pieces, dtype=torch.int64) if asked.keeps_pitch else None
    fit = torch.ones(pieces)
    if asked.key is not None:
        shift, fit = domain.way_to_key(split, asked.key, keeps_pitch=asked.keeps_pitch)
    if asked.chords is not None:
        shift, of_chords = domain.way_to_chords(split, asked.chords, shift)
        fit = fit * of_chords
    assert shift is not None
    best = fit.argsort(descending=True)[: pieces // asked.candidates].sort().values
    rows = (best[:, None] * windows + torch.arange(windows)).flatten()  # of the chosen pieces
    shifts, made = shift[best].repeat_interleave(windows), drafts[rows]
    if asked.key is None:
        return domain.moved(split[best], shift[best]).flatten(0, 1)
    z, condition = z[rows.to(z.device)], None if condition is None else condition[rows.to(condition.device)]
    for each in shifts.unique().tolist():
        own = (shifts == each).nonzero()[:, 0]
        place = own.to(z.device)
        made[own] = pipeline.decode_codes(
            z[place],
            None if condition is None else condition[place],
            temperature=temperature,
            top_p=top_p,
            generator=generator,
            allowed=domain.symbols_in_key(asked.key, int(each)),
        ).cpu()
    return domain.moved(made.unflatten(0, (-1, windows)), shift[best]).flatten(0, 1)
