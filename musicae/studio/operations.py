"""What the studio can be asked for: a body for each operation, checked and bounded, and a function that computes it.

`OPERATIONS` is the one table; `api` makes a route of each row.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from musicae.capabilities import CountsBars
from musicae.errors import MusicaeError
from musicae.studio.desk import Ticket
from musicae.studio.media import MOST_SOUND_S, frames_of
from musicae.studio.model_rack import ModelRack
from musicae.studio.shelf import Shelf

MediaName = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$", description="as `/api/media` gave it")]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=400)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Bar = Annotated[int, Field(ge=1, le=10_000)]
Bars = tuple[Bar, Bar]
Amount = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0, le=4, allow_inf_nan=False)]
_MOST_ON_A_MAP = 200
_MOST_OF_A_SQUARE = 7
_LONGEST_CODE = 65_536


class Tools(NamedTuple):
    """What an operation works with.

    Attributes:
        models: of the studio.
        shelf: where media objects are.
    """

    models: ModelRack
    shelf: Shelf


class Answer(NamedTuple):
    """What an operation gives.

    Attributes:
        items: media objects.
        names: of each, for the page.
        remarks: for people.
        more: anything else, as JSON.
    """

    items: list[Any]
    names: list[str]
    remarks: tuple[str, ...] = ()
    more: dict[str, Any] | None = None


class Asked(BaseModel):
    """The body of a request; a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelName


class OfItem(Asked):
    """Of one media object."""

    item: MediaName
    bars: Bars | None = None  # the bars that are meant, both included; None: all


class Encode(Asked):
    """The code of an example."""

    item: MediaName
    bar: Bar | None = None  # None: the densest window


class Decode(Asked):
    """Codes to examples."""

    code: Annotated[list[Number], Field(max_length=_LONGEST_CODE)]
    temperature: Temperature = 0.0
    seed: Seed | None = None
    chords: Text | None = None
    label: Text | None = None
    time_signature: Text | None = None


class Interpolate(Asked):
    """A path from a to b, or with c and d a square."""

    a: MediaName
    b: MediaName
    c: MediaName | None = None
    d: MediaName | None = None
    steps: Annotated[int, Field(ge=2, le=33, description="of a square up to 7")] = 9
    whole: bool = False  # whole files, window by window
    bar_a: Bar | None = None
    bar_b: Bar | None = None


class Sample(Asked):
    """Draws from the prior."""

    count: Annotated[int, Field(ge=1, le=16)] = 4
    temperature: Temperature = 1.0
    seed: Seed | None = None
    length: Annotated[int, Field(ge=1, le=64)] | None = None
    key: Text | None = None
    chords: Text | None = None
    label: Text | None = None
    time_signature: Text | None = None


class Vary(OfItem):
    """Variations."""

    amount: Share = 0.3
    count: Annotated[int, Field(ge=1, le=12)] = 4
    seed: Seed | None = None
    keep: Text | None = None


class Shift(OfItem):
    """Attributes moved: along the vectors at once, or carefully, searched for one after the other."""

    amounts: Annotated[dict[Annotated[str, Field(max_length=60)], Amount], Field(min_length=1, max_length=12)]
    careful: bool = False


class Infill(OfItem):
    """Bars made up."""

    bars: Bars
    count: Annotated[int, Field(ge=1, le=8)] = 1
    seed: Seed | None = None


class Humanize(OfItem):
    """A pattern played."""

    count: Annotated[int, Field(ge=1, le=8)] = 1
    temperature: Temperature = 1.0
    seed: Seed | None = None


class Upscale(Asked):
    """A sound or picture with more of it."""

    item: MediaName
    scale: Annotated[int, Field(ge=2, le=4)] | None = None


class Denoise(Asked):
    """A sound or picture without noise."""

    item: MediaName
    strength: Share = 1.0


class Render(BaseModel):
    """Music played."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item: MediaName


class Map(Asked):
    """Media objects on a map."""

    items: Annotated[list[MediaName], Field(min_length=1, max_length=_MOST_ON_A_MAP)]
    method: Annotated[str, Field(pattern="^(pca|tsne|latent)$")] = "pca"
    each_file: bool = True


class Grid(Asked):
    """The plane of a latent of two numbers."""

    side: Annotated[int, Field(ge=2, le=25)] = 12
    label: Text | None = None


def encode(tools: Tools, body: Encode, ticket: Ticket) -> Answer:
    """Posterior mean of one window."""
    trained = tools.models.get(body.model, "encode").trained
    choice = {} if body.bar is None else {"bar": body.bar}
    code = trained.encode(tools.shelf.get(body.item), **choice)
    return Answer([], [], more={"code": code[0].flatten().double().round(decimals=6).tolist()})


def decode(tools: Tools, body: Decode, ticket: Ticket) -> Answer:
    """One example of one code."""
    trained = tools.models.get(body.model, "sample").trained
    shape = trained.network.latent_shape
    if len(body.code) != int(np.prod(shape)):
        raise MusicaeError(f"a code of {body.model} has {int(np.prod(shape))} numbers, got {len(body.code)}.")
    decoded = trained.decode(
        torch.tensor(body.code).view(1, *shape), temperature=body.temperature, seed=body.seed, chords=body.chords,
        label=body.label, time_signature=body.time_signature,
    )  # fmt: skip
    item = trained.domain.compose(decoded.cpu())
    return Answer([item], ["decoded"], tuple(item.remarks))


def interpolate(tools: Tools, body: Interpolate, ticket: Ticket) -> Answer:
    """A path, whole songs on the way, or a square row by row."""
    trained = tools.models.get(body.model, "interpolate").trained
    a, b = tools.shelf.get(body.a), tools.shelf.get(body.b)
    choices = [{} if bar is None else {"bar": bar} for bar in (body.bar_a, body.bar_b)]
    if body.c is not None or body.d is not None:
        if body.c is None or body.d is None:
            raise MusicaeError("a square has four corners; give c and d, or neither.")
        c, d, side = tools.shelf.get(body.c), tools.shelf.get(body.d), body.steps
        if side > _MOST_OF_A_SQUARE:
            raise MusicaeError(f"a square has up to {_MOST_OF_A_SQUARE} steps to a side, got {side}.")
        square = trained.interpolate_corners(a, b, c, d, side, choices=choices)
        cells = square.tensor
        assert cells is not None
        frame = trained.pipeline.select(a, choices[0]).frame
        rows = cells.transpose(0, 1).flatten(0, 1)
        items = [trained.domain.compose(cell[None], frame) for cell in rows]
        names = [f"row {row + 1}, column {column + 1}" for row in range(side) for column in range(side)]
        return Answer(items, names, more={"side": side})
    if body.whole:
        found = trained.interpolate_songs(a, b, body.steps)
    else:
        found = trained.interpolate(a, b, body.steps, choice_a=choices[0], choice_b=choices[1])
    return Answer(list(found), list(found.names), found.remarks)


def sample(tools: Tools, body: Sample, ticket: Ticket) -> Answer:
    """Draws, in a key or over chords where they are given."""
    trained = tools.models.get(body.model, "sample").trained
    given = body.model_dump(exclude={"model"}, exclude_none=True)
    found = trained.sample(given.pop("count"), **given)
    return Answer(list(found), list(found.names), found.remarks)


def vary(tools: Tools, body: Vary, ticket: Ticket) -> Answer:
    """Variations."""
    trained = tools.models.get(body.model, "vary").trained
    found = trained.vary_whole(_item(tools, body), body.amount, body.count, seed=body.seed, keep=body.keep)
    return Answer(list(found), list(found.names), found.remarks)


def shift(tools: Tools, body: Shift, ticket: Ticket) -> Answer:
    """Along the vectors, or searched for."""
    from musicae.inference.shift import move_along

    model, item = tools.models.get(body.model, "shift"), _item(tools, body)
    if body.careful:
        for attribute, amount in body.amounts.items():
            ticket.check()
            item = model.trained.shift(item, attribute, amount)
        return Answer([item], ["shifted"], tuple(item.remarks))
    found = move_along(model.trained.pipeline, model.vectors, item, body.amounts)
    more = {"kept": _rounded(found.kept), "changes": _rounded(found.changes)}
    return Answer([found.item], ["shifted"], tuple(found.item.remarks), more)


def infill(tools: Tools, body: Infill, ticket: Ticket) -> Answer:
    """Versions of a piece with other bars."""
    trained = tools.models.get(body.model, "infill").trained
    found = trained.infill(tools.shelf.get(body.item), body.bars, body.count, seed=body.seed)
    return Answer(list(found), list(found.names), found.remarks)


def humanize(tools: Tools, body: Humanize, ticket: Ticket) -> Answer:
    """Players of a pattern."""
    trained = tools.models.get(body.model, "humanize").trained
    found = trained.humanize(_item(tools, body), body.count, temperature=body.temperature, seed=body.seed)
    return Answer(list(found), list(found.names), tuple(found.remarks))


def denoise(tools: Tools, body: Denoise, ticket: Ticket) -> Answer:
    """What is left, and of a sound what was taken away."""
    trained, item = tools.models.get(body.model, "denoise").trained, tools.shelf.get(body.item)
    return _restored(item, trained.denoise(item, strength=body.strength), "cleaned", ticket)


def upscale(tools: Tools, body: Upscale, ticket: Ticket) -> Answer:
    """The same, larger or brighter."""
    trained, item = tools.models.get(body.model, "upscale").trained, tools.shelf.get(body.item)
    return _restored(item, trained.upscale(item, scale=body.scale), "upscaled", ticket)


def render(tools: Tools, body: Render, ticket: Ticket) -> Answer:
    """A sound of a piece."""
    item = tools.shelf.get(body.item)
    if not hasattr(item, "render"):
        raise MusicaeError("music is rendered; this is none.")
    return Answer([item.render(longest_s=MOST_SOUND_S)], ["rendered"])


def map_items(tools: Tools, body: Map, ticket: Ticket) -> Answer:
    """A point for each media object, or each of its windows."""
    trained = tools.models.get(body.model, "map").trained
    items = [tools.shelf.get(name) for name in body.items]
    found = trained.embed(*items, method=body.method, each_file=body.each_file)
    # A media object without a file is called by its name and its place.
    places = [int(name.rpartition(" ")[2]) - 1 for name in found.files]
    domain, bars = trained.domain, dict[int, list[int]]()
    if isinstance(domain, CountsBars) and not body.each_file:
        bars = {place: domain.first_bars(items[place]).tolist() for place in set(places)}
    points = [
        {
            "id": body.items[place], "window": window, "bar": bars[place][window - 1] if place in bars else None,
            "x": round(x, 4), "y": round(y, 4),
        }
        for place, window, (x, y) in zip(places, found.windows, found.points.tolist(), strict=True)
    ]  # fmt: skip
    return Answer([], [], found.remarks, {"points": points, "method": found.method})


def grid(tools: Tools, body: Grid, ticket: Ticket) -> Answer:
    """Pictures row by row, the first at the top left, with the values of z."""
    trained = tools.models.get(body.model, "grid").trained
    found = trained.grid(body.side, label=body.label)
    cells = found.tensor
    assert cells is not None
    items = [trained.domain.compose(cell[None]) for cell in cells.transpose(0, 1).flatten(0, 1)]
    return Answer(items, [f"cell {number + 1}" for number in range(len(items))], more={"side": body.side})


class Operation(NamedTuple):
    """A row of the table.

    Attributes:
        body: what a request holds.
        compute: tools, body and ticket → answer.
        about: one sentence.
        is_small: whether one thread does it sooner than several, which wait for each other beside a busy browser.
    """

    body: type[BaseModel]
    compute: Callable[[Tools, Any, Ticket], Answer]
    about: str
    is_small: bool = False

    def run(self, tools: Tools, body: Any, ticket: Ticket) -> Answer:
        """Computes it, in as many threads as suit it."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1 if self.is_small else threads)
        try:
            return self.compute(tools, body, ticket)
        finally:
            torch.set_num_threads(threads)


OPERATIONS: dict[str, Operation] = {
    "encode": Operation(Encode, encode, "The code of one window of a media object.", True),
    "decode": Operation(Decode, decode, "What a code stands for.", True),
    "interpolate": Operation(Interpolate, interpolate, "A path between two media objects, or a square between four."),
    "sample": Operation(Sample, sample, "Draws from the prior."),
    "vary": Operation(Vary, vary, "Variations at a chosen distance."),
    "shift": Operation(Shift, shift, "More or less of attributes.", True),
    "infill": Operation(Infill, infill, "Bars made up that fit those around them."),
    "humanize": Operation(Humanize, humanize, "A stiff pattern, played."),
    "denoise": Operation(Denoise, denoise, "A sound or picture without its noise."),
    "upscale": Operation(Upscale, upscale, "A sound with its upper band, or a larger picture."),
    "render": Operation(Render, render, "Music as sound."),
    "map": Operation(Map, map_items, "Media objects on a map of the latent space."),
    "grid": Operation(Grid, grid, "The plane of a latent of two numbers."),
}
"""Name → operation; the order is that of the API's description."""


def _item(tools: Tools, body: OfItem) -> Any:
    """The media object that is meant, with its bars."""
    item = tools.shelf.get(body.item)
    if body.bars is None:
        return item
    if not hasattr(item, "with_bars"):
        raise MusicaeError("only music has bars; leave them out.")
    return item.with_bars(*body.bars)


def _restored(item: Any, result: Any, name: str, ticket: Ticket) -> Answer:
    """A restored media object; a sound is computed here, block by block, with what was taken from it."""
    from musicae.audio.sound import Sound

    if not isinstance(result, Sound):
        return Answer([result], [name], tuple(result.remarks))
    blocks, done = [], 0
    for block in result.blocks():
        blocks.append(block)
        done += len(block)
        ticket.check(done / max(1, result.frames))
    samples = np.concatenate(blocks)
    after = Sound(samples, result.sample_rate_hz, name=item.name, remarks=result.remarks)
    before = frames_of(item)
    if samples.shape != before.shape:  # another rate
        return Answer([after], [name], tuple(result.remarks))
    removed = Sound(before - samples, item.sample_rate_hz, name=item.name)
    return Answer([after, removed], [name, "removed"], tuple(result.remarks))


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in numbers.items() if np.isfinite(value)}
