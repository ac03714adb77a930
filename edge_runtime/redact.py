"""Keep credentials, and folders of this machine, out of messages, logs and reports."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(://|\b(?:mqtts?|rtsp):)[^\s\"'@/:]*(?::[^\s\"']*)?@")
"""``user:password@`` of a URI, a broker or a server. An unescaped ``@`` or ``/`` belongs to the
password: hiding a part of an unusual host or path is a lesser harm than showing a secret."""

_ASSIGNMENT = re.compile(
    r"\b(passwords?|passwd|pwd|pass|token|secret|api[-_]?key|user-pw|user-id|proxy-pw|proxy-id)"
    r"(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s&;\"']+)",
    re.IGNORECASE,
)
"""``password=...`` as in camera URIs and in properties of GStreamer elements."""


_TRAILING = re.compile(r"(?<=[^\s/])/+(?=\s|$)")
_FOLDERS = re.compile(r"(?:[^\s=:,/]*/)+")


def redact(text: str) -> str:
    """`text` with the credentials of every URI and property in it replaced by ``***``."""
    return _ASSIGNMENT.sub(r"\1\2***", _USER_INFO.sub(r"\1***@", text))


def public_command(command: str) -> str:
    """A command line in which every path is its last part, and no secret is left.

    ``--data camvid:/data/camvid --run runs/a`` becomes ``--data camvid:camvid --run a``.
    """
    return _FOLDERS.sub("", _TRAILING.sub("", redact(command)))
