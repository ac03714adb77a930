"""Messages as UDP datagrams: one for each result, sent at once or not at all."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_runtime.errors import SinkError
from edge_runtime.sinks.messages.address import Endpoint, parse_endpoint
from edge_runtime.sinks.messages.message import Messenger, encode_within

if TYPE_CHECKING:
    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec

MAX_DATAGRAM_BYTES = 1399
"""Fits an Ethernet frame behind the headers of IPv6 and of a tunnel: nothing is fragmented."""


class UdpSink:
    """Sends each result to one receiver, which may come and go.

    A datagram that the system has no room for, or that a host sent back as unwanted, is counted
    as undelivered; whether any other has arrived, UDP does not tell.

    Args:
        label: as the user named the sink.
        endpoint: the receiver; a broadcast or multicast address is fine.
        messenger: makes the messages.
    """

    def __init__(self, label: str, endpoint: Endpoint, messenger: Messenger) -> None:
        self.label = label
        self.undelivered = 0
        self._endpoint = endpoint
        self._messenger = messenger
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Find the receiver's address; nothing is sent.

        Raises:
            SinkError: the host is unknown, or cannot be reached over any interface.
        """
        endpoint = self._endpoint
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._socket.connect(address)
        except (OSError, UnicodeError) as error:
            self.close()
            reason = getattr(error, "strerror", None) or "no such host"
            raise SinkError(
                f"sink {self.label}: cannot send to {endpoint}: {reason}; expected udp:HOST:PORT"
            ) from error

    def consume(self, result: Result) -> None:
        """Send one datagram, or count it as undelivered."""
        assert self._socket is not None
        datagram = encode_within(self._messenger.message(result), MAX_DATAGRAM_BYTES)
        try:
            self._socket.send(datagram)
        except ConnectionRefusedError:
            # That is the answer to the datagram before; this one was not sent yet.
            self.undelivered += 1
            with suppress(OSError):
                self._socket.send(datagram)
        except OSError:
            self.undelivered += 1

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    discard = close


def udp(spec: SinkSpec, context: SinkContext) -> UdpSink:
    """The sink ``udp:HOST:PORT``."""
    return UdpSink(spec.text, parse_endpoint(spec.rest), Messenger.of(context))
