"""How notes are played: a flat pattern played by draws, and the feel of one piece on the notes of another.

Both are for models whose code has a part for the feel (`musicae.models.played`). The notes are the source's own and
stay as they are; only velocity and timing change.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from musicae.domain import Window
from musicae.errors import MusicaeError
from musicae.inference.results import Morph, repeated_rows
from musicae.inference.sample import check_count, check_draw
from musicae.models.played import PlayedAutoencoder
from musicae.pipeline import Pipeline


def humanize(pipeline: Pipeline, source: Any, count: int, seed: int | None, temperature: float) -> Any:
    """Plays a media object or a batch; see `TrainedModel.humanize`."""
    network = _player(pipeline)
    check_count(count)
    check_draw(temperature, 1.0)
    generator = pipeline.generator(seed)
    if isinstance(source, Tensor):
        batch = pipeline.batch_of(source)
        draws = _draws(pipeline, network, count * len(batch.target), generator)
        notes = batch.target.repeat(count, 1, 1)
        return _played(pipeline, network, draws, notes, temperature, generator).unflatten(0, (count, -1)).cpu()
    item = pipeline.open(source)
    windows = list(pipeline.domain.windows(item))
    # One draw for all windows: it is one player who plays the whole.
    played = [
        _assembled(pipeline, network, item, _each(windows, draw[None]), temperature, generator)
        for draw in _draws(pipeline, network, count, generator)
    ]
    return Morph(pipeline.domain, name="humanized", part="player", items=played)


def transfer_feel(pipeline: Pipeline, feel: Any, notes: Any) -> Any:
    """Plays the notes of one media object as another is played; see `TrainedModel.transfer_feel`."""
    network = _player(pipeline)
    given = pipeline.domain.windows(pipeline.open(feel))
    codes = [network.parts(pipeline.codes(window.batch))[1] for window in given]
    item = pipeline.open(notes)
    windows = list(pipeline.domain.windows(item))
    return _assembled(pipeline, network, item, _each(windows, torch.cat(codes)), 0.0, None)


def _player(pipeline: Pipeline) -> PlayedAutoencoder:
    """The network. Raises `MusicaeError` if it has no code for the feel."""
    if not isinstance(pipeline.network, PlayedAutoencoder):
        raise MusicaeError(
            "this model knows no velocity and timing apart from the notes; use drums-2bar, or train one with "
            "--model played --set expression=true."
        )
    return pipeline.network


def _draws(pipeline: Pipeline, network: PlayedAutoencoder, count: int, generator: torch.Generator) -> Tensor:
    with torch.no_grad():
        return network.parts(network.latent.sample(count, generator))[1]


def _each(windows: list[Window], feel: Tensor) -> Iterator[tuple[Window, Tensor]]:
    """Windows in batches, each with as many codes, repeated from the beginning until all have one."""
    codes = repeated_rows(feel, sum(len(window.batch.target) for window in windows))
    sizes = [len(window.batch.target) for window in windows]
    return zip(windows, codes.split(sizes), strict=True)


def _assembled(
    pipeline: Pipeline, network: PlayedAutoencoder, item: Any, windows: Iterator[tuple[Window, Tensor]],
    temperature: float, generator: torch.Generator | None,
) -> Any:  # fmt: skip
    """The media object with its notes played by codes, one for each example."""
    answers = [
        (window, _played(pipeline, network, codes, window.batch.target, temperature, generator).cpu())
        for window, codes in windows
    ]
    return pipeline.domain.assemble(item, answers, pipeline.task)


def _played(
    pipeline: Pipeline, network: PlayedAutoencoder, feel: Tensor, notes: Tensor, temperature: float,
    generator: torch.Generator | None,
) -> Tensor:  # fmt: skip
    """Notes `(batch, steps, columns)` played by codes `(batch, feel size)`, in parts that bound the memory."""
    size, notes = pipeline.domain.spec.evaluation_batch, notes.to(pipeline.device)
    with torch.no_grad():
        parts = [
            network.play(codes, own, temperature=temperature, generator=generator)
            for codes, own in zip(feel.split(size), notes.split(size), strict=True)
        ]
    return torch.cat(parts)
