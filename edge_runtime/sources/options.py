"""Options written behind a source, as in ``test:?size=540x960&fps=30``."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.sizes import parse_size
from edge_runtime.suggest import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class UriOptions:
    """Options of cameras and test pictures; each source takes some of them."""

    size: tuple[int, int] | None = None
    """(height, width), written ``540x960``."""
    fps: float | None = None
    seed: int | None = None
    frames: int | None = None
    """After how many frames the stream ends."""


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not (isfinite(value) and 0 < value <= 1000):
        raise ValueError(text)
    return value


_READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "size": (parse_size, "HEIGHTxWIDTH such as 540x960"),
    "fps": (_rate, "frames a second such as 30"),
    "seed": (_seed, "a whole number, 0 or more"),
    "frames": (_count, "a whole number, 1 or more"),
}


def parse_options(uri: str, query: str, allowed: tuple[str, ...]) -> UriOptions:
    """Read ``name=value&name=value``.

    Args:
        uri: what the options belong to, for messages.
        query: the text behind the question mark.
        allowed: which fields of `UriOptions` this source takes.

    Raises:
        SourceError: an unknown option or a value that cannot be read.
    """
    values: dict[str, object] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            raise SourceError(f"{uri}: unknown option {name!r}; {suggestion(name, allowed)}")
        read, expected = _READERS[name]
        try:
            values[name] = read(text)
        except (ValueError, OptionError):
            raise SourceError(f"{uri}: {name}={text!r} cannot be read; give {expected}") from None
    return UriOptions(**values)  # type: ignore[arg-type]
