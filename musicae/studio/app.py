"""`studio`: the application, of its page, its API and its guard; and `serve`, which runs it until Ctrl-C."""

import base64
import re
import secrets
import socket
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from threading import Timer
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from musicae.errors import MusicaeError, sentence_of
from musicae.studio.api import refused, router
from musicae.studio.desk import BusyError, Desk, StoppedError, TooLongError
from musicae.studio.guard import Guard, is_every_address, is_loopback, names_of
from musicae.studio.media import MOST_UPLOAD_BYTES
from musicae.studio.model_rack import ModelRack
from musicae.studio.operations import Tools
from musicae.studio.page_scripts import PAGE, SCRIPTS, missing, sound_font
from musicae.studio.shelf import NotThereError, Shelf
from musicae.studio.trainings import Training

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotThereError, 404),
    (BusyError, 429),
    (StoppedError, 409),
    (TooLongError, 504),
    (MusicaeError, 422),
    (ValueError, 422),
)
"""Error → status; the first that fits."""
_RETRY_S = "1"
_OPENED_AFTER_S = 0.4


def studio(
    models: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
) -> ASGIApp:
    """The application.

    Args:
        models: shipped names and folders of runs.
        host, port: where it will be reached, which requests must name.
        token: that requests for the API must bring; None: none.
    """
    desk, tools, training = Desk(), Tools(ModelRack(models), Shelf()), Training()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tools.models.start()
        yield
        desk.close()
        training.close()

    app = FastAPI(
        title="musicae studio", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=lifespan
    )
    app.include_router(router(tools, desk, training))
    # A library of the page writes styles of its own; it is told the word by which they are let in.
    nonce = secrets.token_urlsafe(16)
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    page = page.replace('name="style-nonce" content=""', f'name="style-nonce" content="{nonce}"')

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/font.sf2", include_in_schema=False)
    def font() -> Any:
        file = sound_font()
        return refused(404, "there is no sound font here.") if file is None else FileResponse(file)

    for script in SCRIPTS:
        app.get(script.address, include_in_schema=False)(
            lambda file=script.file: (
                FileResponse(file, media_type="text/javascript")
                if file.is_file()
                else refused(404, "this script is not installed.")
            )
        )
    app.mount("/assets", StaticFiles(directory=PAGE / "assets"))
    for kind, status in _STATUS:
        app.add_exception_handler(kind, _answer_with(status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)
    app.add_exception_handler(HTTPException, _plain)
    policy = policy_of(page, nonce)
    return Guard(
        app, hosts=names_of(host, port), policy=policy, most_bytes=MOST_UPLOAD_BYTES, token=token,
        any_address_at=port if is_every_address(host) else None,
    )  # fmt: skip


def policy_of(page: str, nonce: str) -> str:
    """What the page may load: its own things, and of scripts in itself exactly those that it has."""
    inside = re.findall(r"<script[^>]*type=\"importmap\"[^>]*>(.*?)</script>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in inside]
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {' '.join(hashes)}; "
        f"style-src 'self' 'nonce-{nonce}'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def serve(models: Sequence[str], host: str, port: int, *, opens: bool) -> None:
    """Runs the studio until Ctrl-C.

    Args:
        models: as in `studio`.
        host: an address of this machine; one that others can reach gets a token.
        port: 0 takes a free one.
        opens: whether a browser is opened.

    Raises:
        MusicaeError: the page's scripts are not installed, or the address can't be used.
    """
    import click
    import uvicorn

    absent = missing()
    if absent:
        raise MusicaeError(
            f"the page lacks {len(absent)} scripts, such as {absent[0]}; run make in a checkout, or reinstall musicae."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol said asyncio sends small answers at once; else each would wait 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # who comes before the server is there waits
    except OSError as error:
        listener.close()
        raise MusicaeError(
            f"{host}:{port} can't be used ({error.strerror}); choose another with --port, or 0 for any that is free."
        ) from None
    port = listener.getsockname()[1]
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    shown = socket.gethostname() if is_every_address(host) else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/" + (f"#token={token}" if token else "")
    click.echo(address)
    click.echo("Ctrl-C ends the studio.", err=True)
    if opens:
        Timer(_OPENED_AFTER_S, webbrowser.open, (address,)).start()
    config = uvicorn.Config(
        studio(models, host=host, port=port, token=token), log_level="warning", access_log=False,
        server_header=False, timeout_graceful_shutdown=3,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _answer_with(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> Any:
        headers = {"Retry-After": _RETRY_S} if status == 429 else None
        return refused(status, sentence_of(error) + ".", headers)

    return answer


async def _unexpected(_: Request, error: Exception) -> Any:
    """The studio's own mistake; the server writes where it happened."""
    return refused(500, f"something went wrong in the studio ({type(error).__name__}); its window says more.")


async def _invalid(_: Request, error: Exception) -> Any:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return refused(422, sentence_of(f"{place or 'the request'}: {first['msg']}") + ".")


async def _plain(_: Request, error: Exception) -> Any:
    assert isinstance(error, HTTPException)
    return refused(error.status_code, sentence_of(error.detail) + ".", dict(error.headers or {}))
