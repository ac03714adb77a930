"""The web page of a run, in a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edge_runtime.compose import Start
from edge_runtime.errors import SinkError
from edge_runtime.web.gate import (
    LARGEST_FORM,
    LONGEST_LINE,
    SEND_BUFFER,
    Doorkeeper,
    Lock,
    middleware,
    secure,
)
from edge_runtime.web.handlers import Pages
from edge_runtime.web.options import WebOptions, is_loopback
from edge_runtime.web.run import WatchedRun
from edge_runtime.web.screen import Darkroom

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.rig.lane import Lane
    from edge_runtime.telemetry.sampler import Sampler
    from edge_runtime.web.handlers import Route
    from edge_runtime.web.screen import Picture, Screen

BACKLOG = 128
KEEP_ALIVE_S = 15.0
CLOSE_S = 1.0
"""How long the end of a run waits for viewers to be sent away."""
SWITCH_S = 0.0005
"""A tenth of Python's own value."""
COMPLAINTS = 10
"""Defects of a handler that are told; an attacker shall not fill a disk with them."""


class WebPage:
    """Serves the page of one run. A context manager; entering it takes the address.

    Args:
        options: address and token.
        say: takes a line with the page's address.
        routes: further paths, such as ``/metrics``, each with what makes its body and content
            type; it is called in threads of the page.
    """

    def __init__(
        self,
        options: WebOptions,
        say: Callable[[str], None] = lambda _: None,
        routes: Mapping[str, Route] | None = None,
    ) -> None:
        self._options = options
        self._say = say
        self._routes = dict(routes or {})
        self._socket: socket.socket | None = None
        self._start = Start()
        self.url = ""
        """Where the page is, once it is entered."""

    def __enter__(self) -> Self:
        """Take the address.

        Raises:
            SinkError: it cannot be listened on.
        """
        options = self._options
        self._socket = listener = _listen(options)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        port = listener.getsockname()[1]
        place = WebOptions(options.host, port, options.token).place
        self.url = f"http://{place}/"
        note = ""
        if not is_loopback(options.host):
            note = " (asks for the token; what it shows travels unencrypted)"
        self._say(f"page at {self.url}{note}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @contextmanager
    def attend(self, lanes: Sequence[Lane], sampler: Sampler) -> Iterator[None]:
        """Serve while these lanes take frames."""
        assert self._socket is not None, "enter the page first"
        loop = asyncio.new_event_loop()

        def deliver(screen: Screen, picture: Picture) -> None:
            loop.call_soon_threadsafe(screen.channel.publish, picture)

        darkroom = Darkroom(lanes, deliver)
        over = asyncio.Event()
        run = WatchedRun(lanes, sampler, self._start)
        thread = threading.Thread(
            target=_live,
            args=(loop, self._serve(self._socket, run, darkroom.screens, over)),
            name="web page",
            daemon=True,
        )
        patience_s = sys.getswitchinterval()
        # How long the frame loop may have to wait for the interpreter while the page has it.
        sys.setswitchinterval(SWITCH_S)
        darkroom.start()
        thread.start()
        try:
            yield
        finally:
            sys.setswitchinterval(patience_s)
            darkroom.stop()
            with suppress(RuntimeError):  # it has ended already, of a defect that it has told
                loop.call_soon_threadsafe(over.set)
            thread.join()

    async def _serve(
        self,
        listener: socket.socket,
        run: WatchedRun,
        screens: Sequence[Screen],
        over: asyncio.Event,
    ) -> None:
        lock = Lock(self._options, cookie=f"hyperseg-{listener.getsockname()[1]}")
        pages = Pages(run, screens, lock, self._routes)
        app = web.Application(client_max_size=LARGEST_FORM)
        pages.add_to(app)
        app.on_response_prepare.append(secure)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_logger(),
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=CLOSE_S,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            handler_cancellation=True,
            shutdown_timeout=CLOSE_S,
        )

        def connect() -> asyncio.Protocol:
            assert runner.server is not None, "set up before anybody can connect"
            return runner.server()

        keeper = Doorkeeper(connect)
        app.middlewares.append(middleware(keeper, lock))
        await runner.setup()
        server = await asyncio.get_running_loop().create_server(
            keeper, sock=listener.dup(), backlog=BACKLOG
        )
        ticking = asyncio.create_task(pages.tick())
        await over.wait()
        ticking.cancel()
        pages.close()
        server.close()
        await runner.cleanup()


def _live(loop: asyncio.AbstractEventLoop, serve: Coroutine[Any, Any, None]) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(serve)
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _listen(options: WebOptions) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
            stack.pop_all()
    except OSError as error:
        raise SinkError(
            f"cannot serve the page at {options.place}: {error.strerror or error}; choose another "
            "address or port for --web"
        ) from error
    return listener


def _logger() -> logging.Logger:
    """Tells defects of ours, and nothing of what hostile clients send."""
    logger = logging.Logger("edge_runtime.web", logging.ERROR)
    told = 0

    def is_ours(record: logging.LogRecord) -> bool:
        nonlocal told
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (HttpProcessingError, ConnectionError)):
            return False
        told += 1
        return told <= COMPLAINTS

    logger.addFilter(is_ours)
    return logger
