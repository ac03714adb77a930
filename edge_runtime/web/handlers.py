"""What the page's addresses answer. All of this runs in the event loop's thread."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from edge_runtime.web.gate import HEAD_S
from edge_runtime.web.pictures import snapshot
from edge_runtime.web.screen import BOUNDARY, Channel, View
from edge_runtime.web.stats import camera_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_runtime.web.gate import Handler, Lock
    from edge_runtime.web.run import WatchedRun
    from edge_runtime.web.screen import Picture, Screen

    Route = Callable[[], tuple[bytes, str]]

MOST_STREAMS = 16
"""Viewers with pictures; each costs the network some megabits a second."""
MOST_LISTENERS = 32
"""Viewers with figures."""
MOST_DOWNLOADS = 3
"""Reports and snapshots on their way; the next one is made when there is room."""
DOWNLOAD_S = 60.0
"""How long one may take: it lies in memory meanwhile."""
WRITE_S = 5.0
"""How long a viewer may take nothing before it is sent away."""
TICK_S = 0.5
FRESH_S = 0.1
"""Figures younger than that are not made anew, however often they are asked for."""
SNAPSHOT_S = 3.0
_HTML, _CSS, _JS = "text/html", "text/css", "text/javascript"
_FILES = {
    "/": ("index.html", _HTML),
    "/page.css": ("page.css", _CSS),
    "/page.js": ("page.js", _JS),
    "/picture.js": ("picture.js", _JS),
    "/charts.js": ("charts.js", _JS),
}


class Pages:
    """The handlers of one run.

    Args:
        run: what is shown.
        screens: one per camera.
        lock: for the login.
        routes: further paths, each with what makes its body and content type.
    """

    def __init__(
        self, run: WatchedRun, screens: Sequence[Screen], lock: Lock, routes: Mapping[str, Route]
    ) -> None:
        self._run = run
        self._screens = {camera_name(screen.lane): screen for screen in screens}
        self._lock = lock
        self._routes = routes
        self._figures: Channel[bytes] = Channel()
        self._made_s = -FRESH_S
        self._streams = self._listeners = 0
        self._downloads = asyncio.Semaphore(MOST_DOWNLOADS)

    def add_to(self, app: web.Application) -> None:
        """Make the paths known."""
        folder = Path(__file__).parent / "page"
        for path, (name, kind) in _FILES.items():
            app.router.add_get(path, _resource((folder / name).read_bytes(), kind))
        app.router.add_get("/login", _login_form((folder / "login.html").read_bytes()))
        app.router.add_post("/login", self._log_in)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/api/stats", self._stats)
        app.router.add_get("/api/events", self._events, allow_head=False)
        app.router.add_get("/api/report/{camera}.json", self._report)
        app.router.add_get("/snapshot/{camera}.zip", self._snapshot)
        app.router.add_get("/stream/{camera}", self._stream, allow_head=False)
        app.router.add_get("/pair/{camera}", self._pair, allow_head=False)
        for path, make in self._routes.items():
            app.router.add_get(path, _further(make))

    async def tick(self) -> None:
        """Keep the figures of listeners fresh, until cancelled."""
        while True:
            if self._listeners:
                self._figures.publish(self._make_figures())
            for screen in self._screens.values():
                screen.review()
            await asyncio.sleep(TICK_S)

    def close(self) -> None:
        """Let all viewers end."""
        self._figures.close()
        for screen in self._screens.values():
            screen.channel.close()

    def _make_figures(self) -> bytes:
        screens = self._screens.values()
        for screen in screens:
            screen.note_interest()
        self._made_s = time.monotonic()
        return msgspec.json.encode(self._run.figures(list(screens), self._streams))

    def _screen(self, request: web.Request) -> Screen:
        screen = self._screens.get(request.match_info["camera"])
        if screen is None:
            raise web.HTTPNotFound(text=f"no such camera; there are {', '.join(self._screens)}\n")
        return screen

    async def _log_in(self, request: web.Request) -> web.Response:
        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType
        try:
            form = await asyncio.wait_for(request.post(), HEAD_S)
        except asyncio.TimeoutError:
            raise web.HTTPRequestTimeout from None
        except (ValueError, LookupError):  # bytes or a charset that are none
            raise web.HTTPBadRequest from None
        token = form.get("token", "")
        if not isinstance(token, str) or not self._lock.fits(token.strip()):
            return web.Response(status=303, headers={"Location": "/login?wrong"})
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._lock.cookie, self._lock.session, httponly=True, samesite="Strict", path="/"
        )
        return response

    async def _health(self, request: web.Request) -> web.Response:
        illness = self._run.illness()
        # The reason is for those who may come in.
        words = "ill" if illness is None or not self._lock.knows(request) else illness
        status, text = (200, "ok") if illness is None else (503, words)
        return web.Response(status=status, text=f"{text}\n")

    async def _stats(self, request: web.Request) -> web.Response:
        if self._figures.newest is None or time.monotonic() - self._made_s > FRESH_S:
            self._figures.publish(self._make_figures())
        return web.Response(body=self._figures.newest, content_type="application/json")

    async def _report(self, request: web.Request) -> web.StreamResponse:
        screen = self._screen(request)
        async with self._downloads:
            body = await asyncio.to_thread(self._run.report, screen.lane)
            name = f"report-{camera_name(screen.lane)}.json"
            return await _download(request, body, "application/json", name)

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        screen = self._screen(request)
        labels = screen.lane.engine.network.manifest.labels
        async with self._downloads:
            picture = await self._one_picture(screen)
            if picture is None:
                raise web.HTTPServiceUnavailable(text="no picture now; is the camera up?\n")
            body = await asyncio.to_thread(snapshot, picture.shot, labels)
            name = f"{camera_name(screen.lane)}-{picture.shot.index}.zip"
            return await _download(request, body, "application/zip", name)

    async def _one_picture(self, screen: Screen) -> Picture | None:
        """The next picture; an older one would not be the current frame."""
        screen.waiting += 1
        screen.review()
        try:
            return await asyncio.wait_for(screen.channel.after(screen.channel.newest), SNAPSHOT_S)
        except asyncio.TimeoutError:
            return None
        finally:
            screen.waiting -= 1

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._listeners >= MOST_LISTENERS:
            raise _full(self._listeners)
        self._listeners += 1
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            seen: bytes | None = None
            while (seen := await self._figures.after(seen)) is not None:
                await _send(request, response, b"data: " + seen + b"\n\n")
            await _send(request, response, b"event: over\ndata: {}\n\n")
        except (ConnectionError, asyncio.TimeoutError):
            pass
        finally:
            self._listeners -= 1
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        return await self._watch(request, "overlay")

    async def _pair(self, request: web.Request) -> web.StreamResponse:
        return await self._watch(request, "pair")

    async def _watch(self, request: web.Request, view: View) -> web.StreamResponse:
        screen = self._screen(request)
        if self._streams >= MOST_STREAMS:
            raise _full(self._streams)
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        response = web.StreamResponse(headers={"Content-Type": kind})
        with self._viewer(screen, view), suppress(ConnectionError, asyncio.TimeoutError):
            await response.prepare(request)
            picture: Picture | None = None
            while (picture := await screen.channel.after(picture)) is not None:
                if (part := picture.views.get(view)) is not None:
                    await _send(request, response, part)
        return response

    @contextmanager
    def _viewer(self, screen: Screen, view: View) -> Iterator[None]:
        self._streams += 1
        screen.watching[view] += 1
        screen.review()
        try:
            yield
        finally:
            self._streams -= 1
            screen.watching[view] -= 1
            screen.review()


async def _send(
    request: web.Request, response: web.StreamResponse, data: bytes, limit_s: float | None = None
) -> None:
    """Write, or send a viewer away that takes nothing.

    Raises:
        ConnectionError: it has left.
        asyncio.TimeoutError: it was sent away.
    """
    try:
        await asyncio.wait_for(response.write(data), limit_s or WRITE_S)
    except asyncio.TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise


def _full(viewers: int) -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(
        text=f"{viewers} viewers are all there may be; try again later\n",
        headers={"Retry-After": "5"},
    )


def _resource(body: bytes, kind: str) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return serve


def _login_form(form: bytes) -> Handler:
    after_wrong = form.replace(b"<!--wrong-->", b'<p class="wrong" role="alert">Wrong token.</p>')

    async def serve(request: web.Request) -> web.Response:
        body = after_wrong if "wrong" in request.query else form
        return web.Response(body=body, content_type=_HTML, charset="utf-8")

    return serve


def _further(make: Route) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        body, kind = await asyncio.to_thread(make)
        return web.Response(body=body, headers={"Content-Type": kind})

    return serve


async def _download(request: web.Request, body: bytes, kind: str, name: str) -> web.StreamResponse:
    disposition = f'attachment; filename="{name}"'
    response = web.StreamResponse(
        headers={"Content-Type": kind, "Content-Disposition": disposition}
    )
    response.content_length = len(body)
    with suppress(ConnectionError, asyncio.TimeoutError):
        await response.prepare(request)
        await _send(request, response, body, DOWNLOAD_S)
    return response
