"""`Guard`: refuses requests that come from elsewhere, are too large, or have no token where one is needed.

A page of another site can send requests to this machine, and by DNS rebinding under a name of its own. So the names
of the host are known beforehand, and so is the origin of scripts. The page itself may load nothing from elsewhere.
"""

import hmac
import json
from collections.abc import Collection
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from socket import gethostname

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-musicae-token"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """Wraps an application.

    Args:
        app: the application.
        hosts: names of this host, with the port, as browsers write them.
        policy: what the page may load, as a Content-Security-Policy.
        most_bytes: of a request's body.
        token: that a request for `/api` must bring; None: none.
        any_address_at: a port at which this host may also be named by any address of numbers, since it has several;
            None: only by `hosts`. For DNS rebinding a page needs a name.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str], policy: str, most_bytes: int,
        token: str | None = None, any_address_at: int | None = None,
    ) -> None:  # fmt: skip
        self.app, self.hosts, self.policy = app, frozenset(hosts), policy
        self.most_bytes, self.token, self.any_address_at = most_bytes, token, any_address_at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request, or passes it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await self._answer(send, *refusal)
            return
        received, is_cut = 0, False

        async def limited() -> Message:
            nonlocal received, is_cut
            message = await receive()
            received += len(message.get("body", b""))
            if received <= self.most_bytes:
                return message
            # A body without a stated length that goes on and on: it is answered here, the application hears no more.
            if not is_cut:
                is_cut = True
                await self._answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._too_large)
            return {"type": "http.disconnect"}

        async def headed(message: Message) -> None:
            if is_cut:
                return
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers()]
            await send(message)

        try:
            await self.app(scope, limited, headed)
        except ClientDisconnect:
            if not is_cut:
                raise

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[HTTPStatus, str] | None:
        host = headers.get("host", "").lower()
        if host not in self.hosts and not (self.any_address_at and _is_address(host, self.any_address_at)):
            return HTTPStatus.FORBIDDEN, "the studio is not at that address; open the one that it printed."
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{each}" for each in (*self.hosts, host)}:
            return HTTPStatus.FORBIDDEN, "the studio answers no page but its own."
        if headers.get("sec-fetch-site") == "cross-site" and scope["path"].startswith("/api"):
            return HTTPStatus.FORBIDDEN, "the studio answers no page but its own."
        given = headers.get(TOKEN_HEADER, "").encode()
        if self.token and scope["path"].startswith("/api") and not hmac.compare_digest(given, self.token.encode()):
            return HTTPStatus.UNAUTHORIZED, "the studio asks for its token; open the whole address that it printed."
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.most_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"this is larger than the {self.most_bytes // 2**20} MB that the studio takes."

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-security-policy", self.policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"x-frame-options", b"DENY"),
        ]

    async def _answer(self, send: Send, status: HTTPStatus, sentence: str) -> None:
        body = json.dumps({"error": sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": int(status), "headers": [*headers, *self._headers()]})
        await send({"type": "http.response.body", "body": body})


def _is_address(host: str, port: int) -> bool:
    """Whether a host as browsers write it is an address of numbers with a port."""
    place, _, number = host.rpartition(":")
    with suppress(ValueError):
        ip_address(place.removeprefix("[").removesuffix("]"))
        return number == str(port)
    return False


def is_every_address(host: str) -> bool:
    """Whether it stands for all addresses of this machine."""
    return host in ("0.0.0.0", "::")


def names_of(host: str, port: int) -> set[str]:
    """How browsers may write an address: a loopback address by all its names, all addresses also by the machine's."""
    if is_loopback(host):
        names = set(_LOOPBACK)
    elif is_every_address(host):
        names = {*_LOOPBACK, gethostname().lower()}
    else:
        names = {f"[{host}]" if ":" in host else host.lower()}
    written = {f"{name}:{port}" for name in names}
    return written | names if port == 80 else written


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine can reach an address."""
    return host in ("127.0.0.1", "localhost", "::1")
