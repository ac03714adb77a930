"""Keep credentials out of messages, logs and reports."""

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


def redact(text: str) -> str:
    """`text` with the credentials of every URI and property in it replaced by ``***``."""
    return _ASSIGNMENT.sub(r"\1\2***", _USER_INFO.sub(r"\1***@", text))
