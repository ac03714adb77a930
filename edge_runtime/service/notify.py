"""What a service tells systemd, by the protocol of ``sd_notify(3)``."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_managed(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a service manager listens."""
    return bool(environ.get("NOTIFY_SOCKET"))


@dataclass(frozen=True)
class Notifier:
    """Sends datagrams to a service manager; one that is not there harms nothing.

    Args:
        address: a path, or a name in the abstract namespace after ``@``.
        watchdog_s: a ``WATCHDOG=1`` must come at least so often; None: nobody waits for it.
    """

    address: str
    watchdog_s: float | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier | None:
        """The manager of this process; None without one."""
        if not is_managed(environ):
            return None
        usec = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = is_ours and usec.isdecimal() and int(usec) > 0
        return cls(environ["NOTIFY_SOCKET"], int(usec) * 1e-6 if watched else None)

    def tell(self, *lines: str) -> bool:
        """Send lines such as ``READY=1`` as one message; False if nobody took it."""
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
        return True
