"""`udp:HOST:PORT` against real sockets: one datagram a result, and never a wait."""

import socket
import time

import msgspec
import pytest

from edge_runtime.errors import SinkError
from edge_runtime.sinks.messages.address import parse_endpoint
from edge_runtime.sinks.messages.message import Message
from edge_runtime.sinks.messages.udp import MAX_DATAGRAM_BYTES, UdpSink
from edge_runtime.sinks.outlets import open_outlets
from edge_runtime.sinks.spec import parse_sink
from tests.results import make_context, make_messenger, make_result


def receiver(family=socket.AF_INET, host="127.0.0.1"):
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((host, 0))
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    sock.settimeout(10)
    return sock


def outlets(address):
    return open_outlets([parse_sink(f"udp:{address}")], make_context(), stopping=lambda: False)


@pytest.mark.parametrize(
    ("family", "host", "form"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "localhost"),
        (socket.AF_INET6, "::1", "[::1]"),
    ],
)
def test_each_result_is_one_datagram(family, host, form):
    with receiver(family, host) as sock:
        if form == "localhost" and socket.getaddrinfo(form, 1)[0][4][0] != host:
            pytest.skip("localhost is another address here")
        with outlets(f"{form}:{sock.getsockname()[1]}") as run:
            for index in range(3):
                run.offer(make_result(index, 5), wait=True)
        got = [msgspec.json.decode(sock.recv(65536), type=Message) for _ in range(3)]

    assert [message.index for message in got] == [0, 1, 2]
    assert got[0].classes == {"Road": 0.75, "Pedestrian": 0.25}
    assert (run.workers[0].consumed, run.workers[0].dropped) == (3, 0)


def test_a_crowded_message_stays_one_small_datagram():
    polygon = [[0, 0], [1, 0], [1, 1]]
    rules = {"regions": [{"name": f"{n}{'r' * 60}", "polygon": polygon} for n in range(64)]}
    with receiver() as sock:
        address = parse_sink(f"udp:127.0.0.1:{sock.getsockname()[1]}")
        sink = UdpSink(address.text, parse_endpoint(address.rest), make_messenger(rules))
        sink.open()
        sink.consume(make_result(0, 5))
        raw = sock.recv(65536)
        sink.close()

    assert len(raw) <= MAX_DATAGRAM_BYTES
    assert msgspec.json.decode(raw, type=Message).omitted == ("regions",)


def test_a_receiver_that_is_away_costs_its_datagrams_and_may_come_back():
    with receiver() as sock:
        port = sock.getsockname()[1]
    with outlets(f"127.0.0.1:{port}") as run:
        for index in range(5):
            run.offer(make_result(index), wait=True)
        # when the receiver comes, all results from then on reach it
        while run.workers[0].consumed < 5:
            time.sleep(0.005)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))
            sock.settimeout(10)
            run.offer(make_result(5), wait=True)
            message = msgspec.json.decode(sock.recv(65536), type=Message)

    (worker,) = run.workers
    assert message.index == 5
    assert worker.consumed + worker.dropped == 6
    assert worker.dropped >= 1


def test_datagrams_from_the_receiver_are_of_no_interest():
    with receiver() as sock, outlets(f"127.0.0.1:{sock.getsockname()[1]}") as run:
        run.offer(make_result(0), wait=True)
        _, peer = sock.recvfrom(65536)
        for junk in (b"", b"\xff" * 60_000, b'{"schema": "hyperseg-result/1"}'):
            sock.sendto(junk, peer)
        run.offer(make_result(1), wait=True)
        assert msgspec.json.decode(sock.recv(65536), type=Message).index == 1

    assert run.workers[0].dropped == 0


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 300])
def test_a_host_that_does_not_exist_is_told_before_the_run(host):
    with (
        pytest.raises(SinkError, match=r"cannot send to [a-z.]+:9: .+; expected udp:HOST:PORT"),
        outlets(f"{host}:9"),
    ):
        pass
