"""What the text behind ``blackbox:`` means: ``DIR?seconds=20&after=5&on=late,rule``."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from edge_runtime.errors import OptionError

TRIGGERS = ("late", "no-signal", "throttle", "rule", "crash", "stop")
"""What a black box can be written on. ``stop``: Ctrl-C or SIGTERM."""


@dataclass(frozen=True)
class BlackBoxOptions:
    """What a black box keeps, and when it is written.

    Raises:
        OptionError: a value that cannot work.
    """

    folder: Path
    """Where boxes are written; made if it does not exist."""
    seconds: float = 20.0
    """How much from before the event it holds, as far as `memory_mb` allows."""
    after: float = 5.0
    """Seconds after the event that are recorded too."""
    cooldown: float = 60.0
    """Seconds for which an event must have been gone to count as another one."""
    keep: int = 20
    """Files in `folder`; older ones are removed."""
    keep_mb: float = 1000.0
    """Size of all files in `folder` together, MB (10^6 bytes)."""
    memory_mb: float = 128.0
    """Most that is kept in memory, MB (10^6 bytes); twice that while a box is written."""
    on: frozenset[str] = frozenset(TRIGGERS)
    """Of `TRIGGERS`."""

    def __post_init__(self) -> None:
        for name in ("seconds", "keep", "keep_mb", "memory_mb"):
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name):g}: expected a number above 0")
        for name in ("after", "cooldown"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name):g}: expected a number, 0 or above")
        if self.memory_mb > self.keep_mb:
            raise OptionError(
                f"memory_mb={self.memory_mb:g} is more than keep_mb={self.keep_mb:g}: no box would "
                "fit; lower the first"
            )
        if unknown := sorted(self.on - set(TRIGGERS)):
            raise OptionError(f"on={unknown[0]}: expected some of {','.join(TRIGGERS)}")


def parse_black_box(rest: str) -> BlackBoxOptions:
    """The options that ``DIR?name=value&name=value`` stands for.

    Raises:
        OptionError: no folder, no such option, or a value that cannot work.
    """
    folder, _, query = rest.partition("?")
    if not folder:
        raise OptionError("expected a folder, as in blackbox:DIR?seconds=20")
    kinds = {field.name: type(field.default) for field in fields(BlackBoxOptions)[1:-1]}
    values: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name == "on":
            values["on"] = frozenset(text.split(","))
        elif name in kinds:
            values[name] = _number(name, text, kinds[name])
        else:
            raise OptionError(f"{name!r}: expected some of {', '.join((*kinds, 'on'))}")
    return BlackBoxOptions(Path(folder), **values)


def black_box_folder(rest: str) -> Path:
    """The folder, of options that can work."""
    return parse_black_box(rest).folder


def _number(name: str, text: str, kind: type[Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise OptionError(f"{name}={text}: expected a number") from None
