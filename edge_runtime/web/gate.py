"""Who may come in: how many at once, within what time, under what name, with what token.

A connection is counted when it is accepted, before it has said a word: one that says none, or says
it byte by byte, costs a file descriptor for `HEAD_S` and no more.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from edge_runtime.web.options import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_runtime.web.options import WebOptions

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_CONNECTIONS = 256
MOST_PER_S, MOST_AT_ONCE = 30.0, 100.0
"""New connections: those beyond are closed unheard, which costs a tenth of an answer."""
HEAD_S = 5.0
"""How long a connection may take to say what it wants."""
LONGEST_LINE = 4096
"""Bytes of a request's first line, and of each of its headers."""
LARGEST_FORM = 4096
OPEN_PATHS = ("/healthz", "/login", "/page.css")
"""What is told without the token: nothing of the run but whether it is well."""
SEND_BUFFER = 256 * 1024
"""Bytes the kernel keeps for one viewer: a slow one sees few old pictures, then new ones."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Doorkeeper:
    """Counts connections and gives each a time to speak.

    Args:
        server: makes the protocol of one connection.
    """

    def __init__(self, server: Callable[[], asyncio.Protocol]) -> None:
        self._server = server
        self._waiting: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._room = MOST_AT_ONCE
        self._counted_s = time.monotonic()
        self.connections = 0

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a connection that was accepted."""
        return _Guarded(self, self._server())

    def admit(self, transport: asyncio.BaseTransport) -> bool:
        """Let a connection in, or close it."""
        self.connections += 1
        if self.connections > MOST_CONNECTIONS or not self._has_room():
            _abort(transport)
            return False
        timer = asyncio.get_running_loop().call_later(HEAD_S, _abort, transport)
        self._waiting[transport] = timer
        return True

    def _has_room(self) -> bool:
        now_s = time.monotonic()
        self._room = min(self._room + (now_s - self._counted_s) * MOST_PER_S, MOST_AT_ONCE)
        self._counted_s = now_s
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def spoken(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection has said what it wants."""
        if transport is not None and (timer := self._waiting.pop(transport, None)) is not None:
            timer.cancel()

    def left(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection is closed."""
        self.connections -= 1
        self.spoken(transport)


class _Guarded(asyncio.Protocol):
    """A connection that may have been refused, in which case its protocol never hears of it."""

    def __init__(self, keeper: Doorkeeper, inner: asyncio.Protocol) -> None:
        self._keeper = keeper
        self._inner = inner
        self._transport: asyncio.BaseTransport | None = None
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._admitted = self._keeper.admit(transport)
        if self._admitted:
            self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keeper.left(self._transport)
        if self._admitted:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._admitted:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class Lock:
    """The token, the name under which the page is asked for, and what browsers must not do.

    Args:
        options: the token, if there is one.
        cookie: name of the cookie; one per port, as browsers keep them per host.
    """

    def __init__(self, options: WebOptions, cookie: str) -> None:
        self._token = options.token
        self.cookie = cookie
        self.session = secrets.token_urlsafe(24)
        """What a browser keeps instead of the token; worth nothing after the run."""

    def fits(self, token: str) -> bool:
        """Whether this is the token, where one is needed; takes as long for a wrong one."""
        return self._token is not None and _same(token, self._token)

    def knows(self, request: web.Request) -> bool:
        """Whether the request comes with the token, or from a browser that once had it."""
        if self._token is None:
            return True
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.fits(token.strip()):
            return True
        kept = request.cookies.get(self.cookie, "")
        return _same(kept, self.session)

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer to one that may not come in; None lets it pass."""
        # With a token a page of another name has neither token nor cookie. Without one, only this
        # machine's own names are believed: any other may have been bent to point here.
        if self._token is None and not is_loopback(_host(request)):
            return web.Response(
                status=421,
                text="this page is for http://127.0.0.1 and http://localhost; to reach it under "
                "another name, start the run with a token\n",
            )
        if request.path in OPEN_PATHS or self.knows(request):
            return None
        if "text/html" in request.headers.get("Accept", "") and request.path == "/":
            return web.Response(status=303, headers={"Location": "/login"})
        return web.Response(
            status=401,
            text="this page needs its token: 'Authorization: Bearer TOKEN', or /login\n",
            headers={"WWW-Authenticate": 'Bearer realm="hyperseg"'},
        )


def middleware(keeper: Doorkeeper, lock: Lock) -> Any:
    """What every request passes first."""

    @web.middleware
    async def pass_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        keeper.spoken(request.transport)
        refusal = lock.refusal(request)
        if refusal is not None:
            return refusal
        return await handler(request)

    return pass_gate


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the browser what no page of ours does, on every answer."""
    response.headers.update(HEADERS)
    response.headers.pop("Server", None)


def _same(given: str, right: str) -> bool:
    # What is no UTF-8 in a header comes as surrogates.
    return hmac.compare_digest(given.encode(errors="surrogateescape"), right.encode())


def _host(request: web.Request) -> str:
    """The name in the Host header, without port and brackets."""
    host = request.headers.get("Host", "")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _abort(transport: asyncio.BaseTransport) -> None:
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
