"""Reports in files: written as their suffix says, read from JSON or from a page."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import OptionError
from edge_runtime.page.page import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EMBEDDED = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)


def write_page(path: Path, report: object) -> None:
    """Write the page of a report.

    Args:
        path: the file.
        report: a report of ours, as an object or as its JSON reads.

    Raises:
        OptionError: the file cannot be written, or the report has no page.
    """
    write_text_atomic(path, render(msgspec.to_builtins(report)))


def is_page(path: Path) -> bool:
    """Whether the name of a file asks for a page."""
    return path.suffix.lower() in (".html", ".htm")


@contextmanager
def complete(name: object) -> Iterator[None]:
    """What is done within with a report ends in one line where the report lacks something.

    Args:
        name: of the report's file.

    Raises:
        OptionError: it lacks a part, or has another thing in its place.
    """
    try:
        yield
    except KeyError as error:
        raise OptionError(
            f"{name} is no complete report of ours: it lacks {error.args[0]!r}; write it anew"
        ) from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise OptionError(
            f"{name} is no complete report of ours: {error}; write it anew"
        ) from error


def read_report(path: Path) -> dict[str, Any]:
    """A report from its JSON, or from its page.

    Raises:
        OptionError: the file cannot be read or holds no report.
    """
    try:
        text = path.read_text(encoding="utf-8")
        embedded = _EMBEDDED.search(text) if is_page(path) else None
        report = msgspec.json.decode(embedded[1] if embedded else text)
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} holds no report of ours: {error}") from error
    if not isinstance(report, dict):
        raise OptionError(f"{path} holds no report of ours: expected one JSON object")
    return report
