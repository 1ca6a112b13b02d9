"""Changes one attribute: codes are moved along its vector, and all changes are reported.

A move along a vector alone changes whatever goes with the attribute. Where a domain can say how much of an example is
kept, codes near the move are searched for whose examples have the attribute as asked, and of the rest as much as they
can: of the notes, and of all other attributes.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicae.attribute_vectors import (
    LARGEST_LENGTH,
    AttributeInfo,
    AttributeVectors,
    distance_from_prior,
    moved,
    moved_code,
)
from musicae.capabilities import NOTES, ComparesAspects, HasAttributes
from musicae.domain import Batch
from musicae.errors import MusicaeError, unknown_name
from musicae.inference.attribute_table import no_attributes
from musicae.inference.latent_search import POPULATION, search
from musicae.pipeline import Code, Pipeline
from musicae.precision import in_double

_WEAK = 0.25
"""Change in standard deviations; if a vector's effect is smaller, a remark says so."""
# What a candidate pays: a standard deviation that the attribute lacks, one by which another moves (and its square),
# all notes lost.
_LACKS, _OTHERS, _LOST = 10.0, 2.5, 8.0
_FREE = 0.2  # standard deviations that another attribute may move
_CLOSE = 2.0  # a cost with which nobody would go on looking
_FARTHEST = 1.5  # of the move along the vector, for first candidates
_SPREAD = 0.6  # of their codes


def shift(pipeline: Pipeline, vectors: AttributeVectors | None, source: Any, attribute: str, amount: float) -> Any:
    """Moves a media object or a batch along an attribute's vector; see `TrainedModel.shift`."""
    vectors, domain = _checked(pipeline, vectors, {attribute: amount}), pipeline.domain
    assert isinstance(domain, HasAttributes)
    if isinstance(source, Tensor):
        batch = pipeline.batch_of(source)
        return shifted(pipeline, batch, pipeline.encode(batch), vectors, attribute, amount).cpu()
    item = pipeline.open(source)
    seen: dict[str, list[dict[str, Tensor]]] = {"before": [], "reconstructed": [], "after": []}
    kept: list[Tensor] = []
    far: list[float] = []
    answers = []
    prior = getattr(pipeline.network.latent, "prior", None)
    is_normal = not isinstance(domain, ComparesAspects) and prior is not None and prior.has_normal_base
    for window in domain.windows(item, pipeline.task):
        code = pipeline.encode(window.batch)
        if is_normal:
            far.append(distance_from_prior(code.base, vectors.vectors[attribute], amount))
        result = shifted(pipeline, window.batch, code, vectors, attribute, amount).cpu()
        shown = (window.batch.target, pipeline.decode(code.base, code.condition).cpu(), result)
        for when, tensor in zip(seen, shown, strict=True):
            seen[when].append(domain.attributes(tensor))
        if isinstance(domain, ComparesAspects):
            kept.append(domain.kept(result, window.batch.target.cpu(), NOTES))
        answers.append((window, result))
    means = {when: _means(parts) for when, parts in seen.items()}
    # A search compares with the file; a move along the vector starts from the reconstruction.
    remarks = _remarks(means, "before" if kept else "reconstructed", vectors, attribute, amount)
    if far and max(far) > LARGEST_LENGTH:
        remarks.append(
            f"that lies {max(far):.1f} times as far out as what the model has learned, and was held at "
            f"{LARGEST_LENGTH:g} times or where the sound was; ask for less"
        )
    if kept and isinstance(domain, ComparesAspects):
        remarks.insert(2, f"{NOTES} kept: {float(torch.cat(kept).mean()):.0%}")
    return domain.assemble(item, answers, pipeline.task).with_remarks(*remarks)


def shifted(
    pipeline: Pipeline, batch: Batch, code: Code, vectors: AttributeVectors, attribute: str, amount: float
) -> Tensor:
    """Examples, whose codes are given, with more or less of an attribute, `(batch, *spec.shape)`.

    Where the domain compares aspects they are searched for, the same for the same batch; else moved along the vector.
    """
    domain = pipeline.domain
    if amount == 0 or not (isinstance(domain, ComparesAspects) and isinstance(domain, HasAttributes)):
        return moved(pipeline, code, vectors, attribute, amount)
    wish = _Wish.of(domain, batch.target.cpu(), vectors.info, attribute, amount)
    vector = vectors.vectors[attribute]

    def first(rows: slice, generator: torch.Generator) -> Tensor:
        """The code, the move, and what lies around the way there."""
        base = code.base[rows].unsqueeze(1)
        device, shape = base.device, (POPULATION, *[1] * (base.dim() - 2))
        way = _FARTHEST * amount * torch.rand(shape, generator=generator, device=device)
        way[0], way[1] = 0, amount
        size = _SPREAD * torch.rand(shape, generator=generator, device=device)
        size[:2] = 0
        around = torch.randn((POPULATION, *base.shape[2:]), generator=generator, device=device)
        there = base.expand(-1, POPULATION, *base.shape[2:]).flatten(0, 1)
        codes = moved_code(there, vector, way.repeat(len(base), *[1] * (base.dim() - 2)))
        return codes.unflatten(0, (len(base), POPULATION)) + size * around

    found = search(pipeline, first, wish.cost, len(code.base), 0, condition=code.condition, good_enough=_CLOSE)
    return found.tensor


class Along(NamedTuple):
    """A media object moved along attribute vectors.

    Attributes:
        item: itself.
        kept: aspect → share of it that is still there, 0 to 1; none where the domain compares none.
        changes: attribute → how much it changed, in standard deviations; against the reconstruction.
    """

    item: Any
    kept: dict[str, float]
    changes: dict[str, float]


def move_along(
    pipeline: Pipeline, vectors: AttributeVectors | None, source: Any, amounts: Mapping[str, float]
) -> Along:
    """Moves a media object along several vectors at once, without a search: one pass, for whoever drags a slider.

    Args:
        pipeline: of a model that does not restore.
        vectors: of the model.
        source: a media object or what `Domain.open` takes.
        amounts: attribute → change in standard deviations.

    Raises:
        MusicaeError: no vectors, or none of that name.
    """
    vectors, domain, item = _checked(pipeline, vectors, amounts), pipeline.domain, pipeline.open(source)
    assert isinstance(domain, HasAttributes)
    seen: dict[str, list[dict[str, Tensor]]] = {"reconstructed": [], "after": []}
    kept: dict[str, list[Tensor]] = {}
    answers = []
    for window in domain.windows(item, pipeline.task):
        code = pipeline.encode(window.batch)
        base = code.base
        for attribute, amount in amounts.items():
            base = moved_code(base, vectors.vectors[attribute], amount)
        # Both at once: what is shown is the difference.
        given = None if code.condition is None else code.condition.repeat(2, 1)
        reconstructed, result = pipeline.decode(torch.cat([code.base, base]), given).cpu().chunk(2)
        for when, tensor in zip(seen, (reconstructed, result), strict=True):
            seen[when].append(domain.attributes(tensor))
        if isinstance(domain, ComparesAspects):
            for aspect in domain.aspects:
                kept.setdefault(aspect, []).append(domain.kept(result, window.batch.target.cpu(), aspect))
        answers.append((window, result))
    before, after = (_means(parts) for parts in seen.values())
    return Along(
        domain.assemble(item, answers, pipeline.task),
        {aspect: float(torch.cat(shares).mean()) for aspect, shares in kept.items()},
        {name: (after[name] - before[name]) / info.deviation for name, info in vectors.info.items()},
    )


def _checked(pipeline: Pipeline, vectors: AttributeVectors | None, amounts: Mapping[str, float]) -> AttributeVectors:
    pipeline.refuse_restorer("shift")
    if not all(map(math.isfinite, amounts.values())):
        raise ValueError(f"amount is a number of standard deviations, got {', '.join(map(str, amounts.values()))}")
    if not isinstance(pipeline.domain, HasAttributes):
        raise no_attributes(pipeline.domain)
    if vectors is None:
        raise MusicaeError("this model has no attribute vectors; train it anew, or choose another with --model.")
    for attribute in amounts:
        if attribute not in vectors.info:
            raise MusicaeError(unknown_name("attribute", attribute, vectors.info))
    return vectors


class _Wish(NamedTuple):
    """What is asked for: one attribute to move, all else to stay.

    Attributes:
        domain: measures.
        target: `(batch, *spec.shape)` as they were.
        names, deviations: of the attributes.
        wanted: `(batch, attributes)` in standard deviations.
        number: of the attribute that moves.
    """

    domain: Any
    target: Tensor
    names: list[str]
    deviations: Tensor
    wanted: Tensor
    number: int

    @classmethod
    def of(
        cls, domain: Any, target: Tensor, info: Mapping[str, AttributeInfo], attribute: str, amount: float
    ) -> "_Wish":
        """Of a batch, an attribute and an amount."""
        names = list(info)
        deviations = torch.tensor([info[name].deviation for name in names], dtype=torch.float64)
        wish = cls(domain, target, names, deviations, torch.zeros(()), names.index(attribute))
        wanted = wish.measured(target)
        wanted[:, wish.number] += amount
        return wish._replace(wanted=wanted)

    def measured(self, tensor: Tensor) -> Tensor:
        """The attributes of examples, `(n, attributes)` in standard deviations."""
        values = self.domain.attributes(tensor)
        return torch.stack([in_double(values[name]).cpu() for name in self.names], 1) / self.deviations

    def cost(self, decoded: Tensor, rows: Tensor) -> Tensor:
        """What candidates for rows of the batch pay, `(n,)`."""
        away = (self.measured(decoded) - self.wanted[rows]).abs().nan_to_num(0.0)
        lacks = away[:, self.number]
        others = (away - _FREE).clamp_min(0)
        others[:, self.number] = 0
        lost = 1 - self.domain.kept(decoded, self.target[rows], NOTES)
        return _LACKS * lacks + _OTHERS * others.sum(1) + others.square().sum(1) + _LOST * lost


def _remarks(
    means: dict[str, dict[str, float]], start: str, vectors: AttributeVectors, attribute: str, amount: float
) -> list[str]:
    """What changed, and by how much, for people."""
    remarks = [
        f"{attribute}: {means['before'][attribute]:.3g} in the file, "
        f"{means['reconstructed'][attribute]:.3g} reconstructed, {means['after'][attribute]:.3g} shifted"
    ]
    changes = {
        name: (means["after"][name] - means[start][name]) / info.deviation for name, info in vectors.info.items()
    }
    listed = ", ".join(f"{name} {change:+.2f}" for name, change in changes.items())
    remarks.append(f"changes in standard deviations: {listed}")
    usual = vectors.info[attribute].effects[attribute]
    change = changes[attribute]
    if amount * change < 0:
        remarks.append(f"{attribute} went the other way; ask for less")
    elif abs(change) < _WEAK * abs(amount) and usual >= _WEAK:
        remarks.append(f"{attribute} hardly moved here: by {change:+.2f} standard deviations")
    if usual < _WEAK:
        remarks.append(
            f"this model hardly moves {attribute}: on its training data an amount of 1 changed it by {usual:.2f}"
        )
    return remarks


def _means(parts: list[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of each attribute over all windows in which it could be measured."""
    return {name: float(torch.cat([in_double(part[name]) for part in parts]).nanmean()) for name in parts[0]}
