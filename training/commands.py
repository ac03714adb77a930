"""Command lines as others may read them: without the folders of this machine."""

from __future__ import annotations

import re

from edge_runtime.redact import redact

_TRAILING = re.compile(r"(?<=[^\s/])/+(?=\s|$)")
_FOLDERS = re.compile(r"(?:[^\s=:/]*/)+")


def public_command(command: str) -> str:
    """A command line in which every path is its last part, and no secret is left.

    ``--data camvid:/data/camvid --run runs/a`` becomes ``--data camvid:camvid --run a``.
    """
    return _FOLDERS.sub("", _TRAILING.sub("", redact(command)))
