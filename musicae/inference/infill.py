"""Bars that a model of long music makes up: in the middle of a piece, or behind its end.

The phrases around the bars are encoded, those of the bars are drawn given them (`SecondStage.completed`), and what they
decode to stands in the place of the bars. All other notes stay as they are.
"""

from typing import Any

import torch

from musicae.capabilities import FillsBars
from musicae.errors import MusicaeError
from musicae.inference.results import Morph
from musicae.inference.sample import check_count, check_draw
from musicae.models.second_stage import SecondStage
from musicae.pipeline import Pipeline


def infill(
    pipeline: Pipeline, source: Any, first: int, last: int, count: int, seed: int | None, temperature: float | None
) -> Morph:
    """Fills in bars of a piece; see `TrainedModel.infill`."""
    _domain(pipeline)
    item = pipeline.open(source).with_bars(None)
    made = _made_up(pipeline, item, first, last, count, seed, temperature)
    return Morph(pipeline.domain, name="infilled", part="version", items=made)


def extend(
    pipeline: Pipeline, source: Any, bars: int, count: int, seed: int | None, temperature: float | None
) -> Morph:
    """Goes on with a piece; see `TrainedModel.extend`."""
    domain, item = _domain(pipeline), pipeline.open(source).with_bars(None)
    longer = domain.extended(item, bars)
    made = _made_up(pipeline, longer, item.bars + 1, item.bars + bars, count, seed, temperature)
    return Morph(pipeline.domain, name="continued", part="version", items=made)


def _made_up(
    pipeline: Pipeline, item: Any, first: int, last: int, count: int, seed: int | None, temperature: float | None
) -> list[Any]:
    domain, network = _domain(pipeline), _network(pipeline)
    check_count(count)
    temperature = network.completion_spread if temperature is None else temperature
    check_draw(temperature, 1.0)
    generator = pipeline.generator(seed)
    made = []
    for _ in range(count):
        version = item
        for gap in domain.gaps(item, first, last, network.codes_in_a_row):
            batch = pipeline.batch(pipeline.domain.select(version, bar=gap.start))
            with torch.no_grad():
                condition = None if batch.condition is None else batch.condition.to(pipeline.device)
                z = pipeline.codes(batch)
                unknown = torch.tensor(gap.unknown)
                is_any = bool(unknown.all())
                label = pipeline.labels(1, generator) if is_any else network.label_of_rest(batch.target, unknown)
                z = network.completed(z, unknown, generator, temperature, condition, label)
            version = domain.filled(version, gap, pipeline.decode_codes(z, condition))
        made.append(version)
    return made


def _domain(pipeline: Pipeline) -> FillsBars:
    if not isinstance(pipeline.domain, FillsBars):
        raise MusicaeError(f"{pipeline.domain.name} has no bars to fill in; choose a model of music.")
    return pipeline.domain


def _network(pipeline: Pipeline) -> SecondStage:
    """The network. Raises `MusicaeError` where it doesn't know how codes follow each other."""
    network = pipeline.network
    if not isinstance(network, SecondStage) or not network.completes:
        raise MusicaeError(
            "this model doesn't know how bars follow each other; use melody-16bar, or train one with --model phrases "
            "(of a piano with --set prior=flow)."
        )
    return network
