"""Serves the metrics of a run over HTTP, to readers that may be slow, many or rude."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Protocol

from edge_runtime.errors import SinkError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.sinks.messages.address import Endpoint

CONNECTIONS = 16
"""At one time; who comes when all are taken is turned away."""
SILENCE_S = 5.0
"""How long a reader may keep silent."""
PATIENCE_S = 10.0
"""How long a connection may last, whatever its reader does."""
POLL_S = 0.2
_PLAIN = "text/plain; charset=utf-8"


class Exposition(Protocol):
    """What is served."""

    def exposition(self) -> tuple[bytes, str]:
        """The metrics and their content type."""
        ...

    def illness(self) -> str | None:
        """Why the run is not healthy, or None."""
        ...


class MetricsServer:
    """Serves ``/metrics`` and ``/healthz`` from threads of its own. A context manager.

    Args:
        endpoint: where to listen.
        metrics: what to serve.

    Raises:
        SinkError: on entering, nothing can be served there (yet: an address may still come up).
    """

    def __init__(self, endpoint: Endpoint, metrics: Exposition) -> None:
        self.url = f"http://{endpoint}/metrics"
        self._endpoint = endpoint
        self._metrics = metrics
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._server = server = _Server(self._endpoint, self._metrics)
        except OSError as error:
            raise SinkError(
                f"cannot serve metrics at {self._endpoint}: {error.strerror or error}; give "
                "another [ADDR:]PORT"
            ) from error
        self._thread = threading.Thread(
            target=server.serve_forever, args=(POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()
        self._server.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, endpoint: Endpoint, metrics: Exposition) -> None:
        self.metrics = metrics
        self._since_s: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        family, _, _, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self.address_family = family
        super().__init__((str(address[0]), int(address[1])), _Handler)

    def server_bind(self) -> None:
        """Without asking for the name of the address, which may take long and is not needed."""
        TCPServer.server_bind(self)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Whether there is room for one more."""
        assert isinstance(request, socket.socket)
        with self._lock:
            if len(self._since_s) >= CONNECTIONS:
                return False
            self._since_s[request] = time.monotonic()
        return True

    def shutdown_request(self, request: object) -> None:
        """A connection is over."""
        assert isinstance(request, socket.socket)
        with self._lock:
            self._since_s.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut connections that last too long; called every `POLL_S`."""
        self._cut(time.monotonic() - PATIENCE_S)

    def close(self) -> None:
        """Let go of the address and of all connections."""
        self._cut(time.monotonic())
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that breaks off is no news; all else is a defect and shows."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def _cut(self, begun_before_s: float) -> None:
        with self._lock:
            for request, begun_s in self._since_s.items():
                if begun_s < begun_before_s:
                    with suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENCE_S
    server_version = "hyperseg"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            content, content_type = self.server.metrics.exposition()
            self._answer(HTTPStatus.OK, content, content_type)
        elif path == "/healthz":
            reason = self.server.metrics.illness()
            status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{reason or 'healthy'}\n".encode(), _PLAIN)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"there are /metrics and /healthz\n", _PLAIN)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: HTTPStatus, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape a second is no news."""
