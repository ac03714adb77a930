"""What a mistyped name may have been meant to be."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


MAX_FILES = 500
"""So many names of a folder are looked at, for somebody who waits: the first in their order."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error's sentence: the nearest name, or all of them.

    Args:
        name: what was given.
        known: what could have been.
    """
    names = list(known)
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else f"expected one of {', '.join(names)}"


def hint(name: str, known: Iterable[str]) -> str:
    """The nearest name as a question with a blank behind it; nothing if none is near."""
    near = nearest(name, known)
    return f"did you mean {near!r}? " if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that comes nearest, whatever its case; None if none is near."""
    lower = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), lower, n=1)
    return lower[close[0]] if close else None
