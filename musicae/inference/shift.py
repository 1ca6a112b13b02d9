"""Changes one attribute: the codes of a media object are moved along its vector, and all changes are reported."""

import math
from typing import Any

import torch
from torch import Tensor

from musicae.attribute_vectors import AttributeVectors, moved
from musicae.domain import Batch, HasAttributes
from musicae.errors import MusicaeError, unknown_name
from musicae.inference.attribute_table import no_attributes
from musicae.pipeline import Pipeline
from musicae.precision import in_double

_WEAK = 0.25
"""Change in standard deviations; if a vector's effect is smaller, a remark says so."""


def shift(pipeline: Pipeline, vectors: AttributeVectors | None, source: Any, attribute: str, amount: float) -> Any:
    """Moves a media object or a batch along an attribute's vector; see `TrainedModel.shift`."""
    pipeline.refuse_restorer("shift")
    domain = pipeline.domain
    if not math.isfinite(amount):
        raise ValueError(f"amount is a number of standard deviations, got {amount}")
    if not isinstance(domain, HasAttributes):
        raise no_attributes(domain)
    if vectors is None:
        raise MusicaeError("this model has no attribute vectors; train it anew, or choose another with --model.")
    if attribute not in vectors.info:
        raise MusicaeError(unknown_name("attribute", attribute, vectors.info))
    if isinstance(source, Tensor):
        return moved(pipeline, Batch(pipeline.checked(source)), vectors, attribute, amount).cpu()
    item = pipeline.open(source)
    seen: dict[str, list[dict[str, Tensor]]] = {"before": [], "reconstructed": [], "after": []}
    answers = []
    for window in domain.windows(item, pipeline.task):
        result = moved(pipeline, window.batch, vectors, attribute, amount).cpu()
        shown = (window.batch.target, pipeline.reconstruct(window.batch).cpu(), result)
        for when, tensor in zip(seen, shown, strict=True):
            seen[when].append(domain.attributes(tensor))
        answers.append((window, result))
    means = {when: _means(parts) for when, parts in seen.items()}
    return domain.assemble(item, answers, pipeline.task).with_remarks(*_remarks(means, vectors, attribute, amount))


def _remarks(means: dict[str, dict[str, float]], vectors: AttributeVectors, attribute: str, amount: float) -> list[str]:
    """What changed, and by how much, for people."""
    remarks = [
        f"{attribute}: {means['before'][attribute]:.3g} in the file, "
        f"{means['reconstructed'][attribute]:.3g} reconstructed, {means['after'][attribute]:.3g} shifted"
    ]
    changes = {
        name: (means["after"][name] - means["reconstructed"][name]) / info.deviation
        for name, info in vectors.info.items()
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
