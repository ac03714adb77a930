"""Where an overlay is served: ``rtsp:[[USER:PASSWORD@]HOST:]PORT/NAME``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from edge_runtime.errors import OptionError
from edge_runtime.sinks.messages.address import Endpoint, parse_endpoint

LOCAL = "127.0.0.1"
_NAME = re.compile(r"[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class RtspAddress:
    """An address to listen on, and who may watch."""

    endpoint: Endpoint
    name: str
    """Path of the stream, without a leading slash."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """What a player opens, without credentials."""
        return f"rtsp://{self.endpoint}/{self.name}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.endpoint.host in (LOCAL, "localhost", "::1")


def parse_rtsp(text: str) -> RtspAddress:
    """The address that ``[//][[USER:PASSWORD@]HOST:]PORT/NAME`` stands for.

    Raises:
        OptionError: it is none. The message repeats nothing of `text` that may be secret.
    """
    before, _, name = text.removeprefix("//").partition("/")
    credentials, at, place = before.rpartition("@")
    user, colon, password = credentials.partition(":")
    if not _NAME.fullmatch(name) or (at and not (user and colon and password)):
        raise OptionError(
            "expected [USER:PASSWORD@HOST:]PORT/NAME, such as 8554/front; write @, : and / of a "
            "password as %40, %3A and %2F"
        )
    endpoint = parse_endpoint(f"{LOCAL}:{place}" if place.isdigit() else place)
    if not at:
        return RtspAddress(endpoint, name)
    return RtspAddress(endpoint, name, unquote(user), unquote(password))
