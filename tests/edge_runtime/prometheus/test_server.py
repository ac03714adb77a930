"""The server of metrics, with readers that are slow, many or rude."""

import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress

import pytest

from edge_runtime.errors import SinkError
from edge_runtime.prometheus import server as serving
from edge_runtime.prometheus.address import parse_listen
from edge_runtime.prometheus.server import CONNECTIONS, MetricsServer


class Fixed:
    """Metrics that are always the same."""

    def __init__(self, reason=None):
        self.reason = reason

    def exposition(self):
        return b"hyperseg_x 1\n", "text/plain; version=0.0.4"

    def illness(self):
        return self.reason


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server():
    with MetricsServer(parse_listen(str(free_port())), Fixed()) as running:
        yield running


def get(url, path="/metrics", method="GET"):
    request = urllib.request.Request(url.removesuffix("/metrics") + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def connect(server):
    host, _, port = server.url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_it_serves_metrics_to_this_machine_only(server):
    status, content, headers = get(server.url)

    assert (status, content) == (200, b"hyperseg_x 1\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4"
    assert headers["Content-Length"] == "13"
    assert server.url.startswith("http://127.0.0.1:")


def test_a_head_has_no_content(server):
    status, content, headers = get(server.url, method="HEAD")

    assert (status, content, headers["Content-Length"]) == (200, b"", "13")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/metrics/../../etc/passwd", "GET", 404),
        ("/healthz/x", "GET", 404),
        ("/metrics?x=1", "GET", 200),
        ("/metrics", "POST", 501),
        ("/" + "a" * 70_000, "GET", 414),
    ],
)
def test_other_requests_are_refused(server, path, method, status):
    assert get(server.url, path, method)[0] == status


@pytest.mark.parametrize(
    ("reason", "status", "says"),
    [(None, 200, b"healthy\n"), ("no mask yet", 503, b"no mask yet\n")],
)
def test_health_is_a_status_with_a_reason(reason, status, says):
    with MetricsServer(parse_listen(str(free_port())), Fixed(reason)) as running:
        assert get(running.url, "/healthz")[:2] == (status, says)


def test_a_port_that_is_taken_is_told_in_one_line(server):
    endpoint = parse_listen(server.url.removeprefix("http://").removesuffix("/metrics"))

    with (
        pytest.raises(SinkError, match=r"cannot serve metrics at 127.0.0.1:"),
        MetricsServer(endpoint, Fixed()),
    ):
        pass


def test_an_address_that_is_not_ours_is_told_in_one_line():
    with (
        pytest.raises(SinkError, match=r"cannot serve metrics at 192.0.2.1:9101"),
        MetricsServer(parse_listen("192.0.2.1:9101"), Fixed()),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "host"), [("9101", "127.0.0.1"), ("0.0.0.0:9101", "0.0.0.0"), ("[::1]:9101", "::1")]
)
def test_another_address_must_be_said(text, host):
    assert (parse_listen(text).host, parse_listen(text).port) == (host, 9101)


def test_readers_that_never_end_are_cut_off(server, monkeypatch):
    # given a time that a test can wait for, every place taken by a reader that drips, and one more
    monkeypatch.setattr(serving, "PATIENCE_S", 1.0)
    over = threading.Event()

    def drip_on(connections):
        while not over.wait(0.1):
            for connection in connections:
                with suppress(OSError):
                    connection.sendall(b"x")

    with ExitStack() as stack:
        drips = [stack.enter_context(connect(server)) for _ in range(CONNECTIONS)]
        for drip in drips:
            drip.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        with connect(server) as extra:
            assert received(extra) == b"", "turned away at once"

        # when they drip on for longer than that
        thread = threading.Thread(target=drip_on, args=(drips,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        deadline_s, status = time.monotonic() + 20, 0
        while status != 200 and time.monotonic() < deadline_s:
            time.sleep(0.2)
            with suppress(OSError):
                status = get(server.url)[0]

    # then there is room again
    assert status == 200


def test_leaving_does_not_wait_for_readers():
    with MetricsServer(parse_listen(str(free_port())), Fixed()) as running:
        silent = connect(running)
        silent.sendall(b"GET")
        begin_s = time.monotonic()
    took_s = time.monotonic() - begin_s

    with silent:
        assert received(silent) == b""
    assert took_s < 4


def received(connection):
    try:
        return connection.recv(1000)
    except OSError:
        return b""
