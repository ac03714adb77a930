"""Where the web page listens, and who may see it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from edge_runtime.errors import OptionError
from edge_runtime.sinks.messages.address import parse_endpoint

DEFAULT_ADDRESS = "127.0.0.1:8080"
TOKEN_OPTION = "--web-token"
TOKEN_VARIABLE = "HYPERSEG_WEB_TOKEN"
"""Environment variable with the token."""
LEAST_TOKEN = 16
"""Characters of a token: one that can be guessed is none."""
LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without brackets, is this machine and no other."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class WebOptions:
    """The web page that is wanted.

    Raises:
        OptionError: no address, or others than this machine would see the page without a token.
    """

    host: str
    """Name or address; of IPv6 without brackets."""
    port: int
    """0 takes any that is free."""
    token: str | None = field(default=None, repr=False)
    """What a viewer must know; None lets everybody on this machine in."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise OptionError(f"web port {self.port}: expected 0 to 65535")
        if self.token is None and not is_loopback(self.host):
            raise OptionError(
                f"web address {self.host} can be reached from other machines and needs a token: "
                f"set {TOKEN_VARIABLE}, as in {TOKEN_VARIABLE}=$(openssl rand -hex 16), or listen "
                "on 127.0.0.1"
            )
        token = self.token
        if token is not None and not (len(token) >= LEAST_TOKEN and token.isascii()):
            raise OptionError(
                f"web token of {len(token)} characters: expected {LEAST_TOKEN} or more of ASCII, "
                "as `openssl rand -hex 16` gives them"
            )

    @property
    def place(self) -> str:
        """``HOST:PORT`` as it stands in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_web(text: str, token: str | None = None) -> WebOptions:
    """The page that ``PORT``, ``HOST:PORT`` or ``[IPV6]:PORT`` asks for; a port alone is local.

    Raises:
        OptionError: it is none of these, or needs a token.
    """
    host, _, port = text.rpartition(":")
    if port == "0":  # which is no port that anything could be sent to
        return WebOptions(host.strip("[]") or "127.0.0.1", 0, token)
    try:
        endpoint = parse_endpoint(f"127.0.0.1:{text}" if text.isdecimal() else text)
    except OptionError as error:
        raise OptionError(f"web address {text!r}: {error}, or PORT alone") from None
    return WebOptions(endpoint.host, endpoint.port, token)
