"""Keep credentials, and folders of this machine, out of messages, logs and reports."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(://|\b(?:mqtts?|rtsp):)[^\s\"'@/:]*(?::[^\s\"']*)?@")
"""``user:password@`` of a URI, a broker or a server. An unescaped ``@`` or ``/`` belongs to the
password: hiding a part of an unusual host or path is a lesser harm than showing a secret."""

_ASSIGNMENT = re.compile(
    r"(pass(?:word|wd|phrase|code)?s?|pwd|psw|loginpas|token|secret|credentials?"
    r"|(?:api|auth|access|stream)[-_]?key|user-pw|user-id|proxy-pw|proxy-id)"
    r"(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s&;\"']+)",
    re.IGNORECASE,
)
"""``password=...`` as in camera URIs and in properties of GStreamer elements, also within a word as
recorders write it: ``user=admin_password=..._channel=1``."""

_SHORTEST = 4
"""Characters of a secret that is looked for by itself; a shorter one is in every other word."""
_revealed: set[str] = set()


_TRAILING = re.compile(r"(?<=[^\s/])/+(?=\s|$)")
_FOLDERS = re.compile(r"(?:[^\s=:,/]*/)+")


def remember_secret(secret: str) -> None:
    """Let `redact` hide this text wherever it stands, whatever stands before it."""
    if len(secret) >= _SHORTEST:
        _revealed.add(secret)


def redact(text: str) -> str:
    """`text` with each credential of a URI or property, and each known secret, as ``***``."""
    for secret in sorted(_revealed, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _ASSIGNMENT.sub(r"\1\2***", _USER_INFO.sub(r"\1***@", text))


def public_command(command: str) -> str:
    """A command line in which every path is its last part, and no secret is left.

    ``--data camvid:/data/camvid --run runs/a`` becomes ``--data camvid:camvid --run a``.
    """
    return _FOLDERS.sub("", _TRAILING.sub("", redact(command)))
