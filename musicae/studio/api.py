"""The API under the page: a route for each operation, for media objects, models and the training.

Every answer that is no success is `{"error": a sentence}`. Media objects are sent as the bytes of a file and named by
what is answered; operations take those names.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from musicae import __version__
from musicae.domains import domain_class
from musicae.errors import MusicaeError, unknown_name
from musicae.studio.desk import Desk, StoppedError, Ticket
from musicae.studio.media import MOST_UPLOAD_BYTES, file_name, medium_for, medium_of
from musicae.studio.operations import OPERATIONS, Answer, MediaName, ModelName, Operation, Tools
from musicae.studio.trainings import Training

_UPLOADS = 3  # at once
_GONE_CHECK_S = 0.25  # how often it is looked whether somebody still waits
STARTERS = ("a.mid", "b.mid", "noisy.wav")
"""Files of the package that the page begins with."""


class Refusal(BaseModel):
    """Why something was not done."""

    error: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": text}
    for status, text in {
        400: "the body can't be read",
        401: "the token is missing or wrong",
        403: "it came from elsewhere",
        404: "no longer there",
        409: "it was stopped",
        413: "too large",
        422: "it can't be done; the sentence says why",
        429: "too many are waiting; try again after the seconds of `Retry-After`",
        500: "a mistake of the studio's",
        504: "it took too long",
    }.items()
}
_JOB = r"^[0-9a-zA-Z-]{1,40}$"
JobName = Annotated[str, Query(pattern=_JOB, description="to ask for its progress, and to stop it")]


class StartTraining(BaseModel):
    """A run to begin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Annotated[str, Field(max_length=40)]
    task: Annotated[str, Field(max_length=40)] = "reconstruct"
    start_from: ModelName | None = None
    minutes: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


def router(tools: Tools, desk: Desk, training: Training) -> APIRouter:
    """All routes.

    Args:
        tools: models and shelf.
        desk: computes.
        training: the run that is trained here.
    """
    api = APIRouter(prefix="/api", responses=_REFUSALS)

    uploads = asyncio.Semaphore(_UPLOADS)

    def described(item: Any, name: str | None = None) -> dict[str, Any]:
        medium = medium_of(item)
        key = tools.shelf.add(item, medium.content(item))
        about = {"id": key, "kind": medium.kind, "name": name or item.name, "remarks": list(item.remarks)}
        return about | {"formats": list(medium.files()), **medium.described(item)}

    def shown(answer: Answer) -> dict[str, Any]:
        items = [described(item, name) for item, name in zip(answer.items, answer.names, strict=True)]
        return {"items": items, "remarks": list(answer.remarks), **(answer.more or {})}

    async def computed(request: Request, compute: Callable[[Ticket], Any], job: str | None = None) -> Any:
        """The result of a computation, which is stopped when the browser goes away."""
        task = asyncio.ensure_future(desk.run(compute, job))
        try:
            while not (await asyncio.wait({task}, timeout=_GONE_CHECK_S))[0]:
                if await request.is_disconnected():
                    raise StoppedError("the browser went away.")
            return await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, MusicaeError, ValueError):
                await task

    @api.get("/status")
    async def status() -> dict[str, Any]:
        """The studio's version, its models, and what it takes."""
        limits = {"upload_bytes": MOST_UPLOAD_BYTES, "waiting": desk.most_waiting}
        return {"version": __version__, "limits": limits, **tools.models.described()}

    @api.post("/media")
    async def add(
        request: Request, name: Annotated[str, Query(min_length=1, max_length=300, description="the file's")]
    ) -> dict[str, Any]:
        """Takes the bytes of a file, and describes what it holds."""
        async with uploads:  # the others wait with what they send
            data = await request.body()
        called = file_name(name)

        def read(_: Ticket) -> dict[str, Any]:
            if not data:
                raise MusicaeError(f"{called} is empty.")
            try:
                item = medium_for(called).opened(data, called)
            except MusicaeError as error:
                raise error if called in str(error) else MusicaeError(f"{called}: {error}") from None
            return described(item, called)

        return dict(await computed(request, read))

    @api.get("/starters")
    async def starters(request: Request) -> dict[str, Any]:
        """The files that come with the package."""
        from musicae.starter import starter_file

        def read(_: Ticket) -> dict[str, Any]:
            files = [starter_file(name) for name in STARTERS]
            return {"items": [described(medium_for(f.name).opened(f.read_bytes(), f.name), f.name) for f in files]}

        return dict(await computed(request, read))

    @api.get("/media/{item}")
    async def describe(item: MediaName) -> dict[str, Any]:
        """What a media object holds."""
        return described(tools.shelf.get(item))

    @api.get("/media/{item}/file", response_class=Response)
    async def file(
        request: Request, item: MediaName, ending: Annotated[str, Query(pattern="^(mid|wav|png)$")]
    ) -> Response:
        """A file of a media object."""
        held = tools.shelf.get(item)
        made = medium_of(held).files()
        if ending not in made:
            raise MusicaeError(f"{held.name} can't be written as .{ending}; there is .{' and .'.join(made)}.")
        kind, make = made[ending]
        # Its own bytes need no computing, and must not wait for somebody else's.
        data = make(held) if ending == "mid" else await computed(request, lambda _: make(held))
        return Response(data, media_type=kind)

    @api.get("/jobs/{job}")
    async def progress(job: Annotated[str, Field(pattern=_JOB)]) -> dict[str, Any]:
        """How far a computation is, 0 to 1; null where there is none of that name."""
        ticket = desk.ticket(job)
        return {"progress": None if ticket is None else ticket.progress}

    @api.delete("/jobs/{job}")
    async def stop(job: Annotated[str, Field(pattern=_JOB)]) -> dict[str, Any]:
        """Asks a computation to stop."""
        ticket = desk.ticket(job)
        if ticket is not None:
            ticket.stop()
        return {"stopped": ticket is not None}

    for name, operation in OPERATIONS.items():
        api.post(f"/{name}", name=name, description=operation.about)(_route(operation, tools, shown, computed))

    _add_training(api, training, tools)
    return api


def _route(
    operation: Operation,
    tools: Tools,
    shown: Callable[[Answer], dict[str, Any]],
    computed: Callable[..., Awaitable[Any]],
) -> Callable[..., Awaitable[dict[str, Any]]]:
    """The route of an operation."""

    async def route(request: Request, body: Any, job: JobName | None = None) -> dict[str, Any]:
        def compute(ticket: Ticket) -> dict[str, Any]:
            began_s = perf_counter()
            answer = shown(operation.run(tools, body, ticket))
            return answer | {"computed_ms": round(1000 * (perf_counter() - began_s), 1)}

        return dict(await computed(request, compute, job))

    route.__annotations__["body"] = operation.body
    return route


def _add_training(api: APIRouter, training: Training, tools: Tools) -> None:
    """Routes of the training; none of them waits for the desk, since a process of its own does the work."""

    @api.get("/training")
    def state() -> dict[str, Any]:
        """The run: curves, previews, the end of the log."""
        return training.state()

    @api.post("/training/files")
    async def add(request: Request, name: Annotated[str, Query(min_length=1, max_length=300)]) -> dict[str, Any]:
        """Takes a file to learn from."""
        await run_in_threadpool(training.add, name, await request.body())
        return {"files": training.state()["files"]}

    @api.delete("/training/files")
    def forget() -> dict[str, Any]:
        """Removes the files."""
        training.forget()
        return {"files": 0}

    @api.get("/training/inspection")
    def inspect() -> dict[str, Any]:
        """What would be learned from the files, and why the rest would not."""
        return training.inspected()

    @api.post("/training/start")
    def start(body: StartTraining) -> dict[str, Any]:
        """Begins a run."""
        if body.start_from is not None and body.start_from not in tools.models.all_names:
            raise MusicaeError(f"the studio has no model {body.start_from!r} to start from.")
        tasks = domain_class(body.domain).tasks
        if body.task not in tasks:
            raise MusicaeError(unknown_name("task", body.task, tasks))
        training.start(body.domain, body.start_from, body.task, body.minutes, body.steps)
        return training.state()

    @api.post("/training/stop")
    def stop() -> dict[str, Any]:
        """Ends the run; it saves first."""
        training.stop()
        return training.state()

    @api.post("/training/continue")
    def resume() -> dict[str, Any]:
        """Goes on with the run."""
        training.resume()
        return training.state()

    @api.post("/training/use")
    def use() -> dict[str, Any]:
        """Loads the run's best checkpoint among the studio's models."""
        if training.run is None:
            raise MusicaeError("there is no run to use; start one.")
        tools.models.add(str(training.run))
        return {"model": str(training.run)}

    @api.get("/training/previews/{number}", response_class=Response)
    def preview(number: Annotated[int, Field(ge=0, le=100_000)]) -> Response:
        """A preview: a picture, a sound or a score."""
        name, data = training.preview(number)
        kinds = {".png": "image/png", ".wav": "audio/wav", ".mid": "audio/midi"}
        kind = next((kind for ending, kind in kinds.items() if name.endswith(ending)), "application/octet-stream")
        return Response(data, media_type=kind)


def refused(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that is no success."""
    return JSONResponse({"error": sentence}, status, headers)
