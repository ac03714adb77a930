"""Where messages go: ``HOST:PORT``, or ``USER:PASSWORD@HOST:PORT/TOPIC`` that is never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from edge_runtime.errors import OptionError

_HOST_PORT = re.compile(r"(\[[^\[\]]+\]|[^\[\]:/@\s]+)(?::([0-9]+))?")
_MAX_TOPIC_BYTES = 1024
"""Far below the 65,535 of MQTT, so that the parts we append fit any broker's limit."""


@dataclass(frozen=True)
class Endpoint:
    """A host and a port."""

    host: str
    """Name or address; of IPv6 without brackets."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class BrokerAddress:
    """Where an MQTT broker listens, and as whom and under what topic we speak."""

    endpoint: Endpoint
    topic: str
    """The part of the topic that is the user's; ours are below it."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_endpoint(text: str, default_port: int | None = None) -> Endpoint:
    """The endpoint that ``HOST:PORT`` or ``[IPV6]:PORT`` stands for.

    Raises:
        OptionError: it is none; without a default the port must be there.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise OptionError("expected HOST:PORT; write an IPv6 address as [ADDRESS]:PORT")
    port = int(match[2][:6]) if match[2] else default_port
    if port is None:
        raise OptionError("expected HOST:PORT; the port is missing")
    if not 1 <= port <= 65535:
        raise OptionError(f"port {port} is none of 1 to 65535")
    return Endpoint(match[1].strip("[]"), port)


def parse_broker(text: str, default_port: int) -> BrokerAddress:
    """The broker and topic that ``[//][USER[:PASSWORD]@]HOST[:PORT]/TOPIC`` stands for.

    Raises:
        OptionError: it is none. The message repeats nothing of `text` that may be secret.
    """
    before, slash, topic = text.removeprefix("//").partition("/")
    credentials, at, place = before.rpartition("@")
    if not slash or "@" in topic:
        raise OptionError(
            "expected [USER:PASSWORD@]HOST[:PORT]/TOPIC; write @, : and / of a password as "
            "%40, %3A and %2F, or give it in HYPERSEG_MQTT_PASSWORD"
        )
    endpoint = parse_endpoint(place, default_port)
    _check_topic(topic)
    if not at:
        return BrokerAddress(endpoint, topic)
    user, colon, password = credentials.partition(":")
    return BrokerAddress(endpoint, topic, unquote(user), unquote(password) if colon else None)


def check_node_name(name: str) -> None:
    """Raise `OptionError` unless ROS takes `name` for a node."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", name):
        raise OptionError(
            "a ROS node has a name of letters, digits and _ that begins with no digit, such as "
            "front_camera"
        )


def without_credentials(text: str) -> str:
    """The text of a sink with everything up to its last ``@`` hidden, whatever it is."""
    kind, colon, rest = text.partition(":")
    if not colon or "@" not in rest:
        return text
    slashes = "//" if rest.startswith("//") else ""
    return f"{kind}:{slashes}***@{rest.rpartition('@')[2]}"


def _check_topic(topic: str) -> None:
    if not topic or topic[0] in "/$" or topic[-1] == "/" or set(topic) & set("+#\0"):
        raise OptionError(
            f"topic {topic!r}: expected levels such as car/front, without + and #, not beginning "
            "with / or $ and not ending with /"
        )
    if not topic.isprintable() or len(topic.encode()) > _MAX_TOPIC_BYTES:
        raise OptionError(f"topic: expected at most {_MAX_TOPIC_BYTES} bytes of printable text")
