"""Settings of ONNX Runtime that change its speed and, but for rounding, never its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_runtime.errors import OptionError
from edge_runtime.options import MAX_THREADS

MAX_BLOCK_BASE = 64
Spinning = Literal["off", "within-run"]


@dataclass(frozen=True)
class OrtSettings:
    """How ONNX Runtime uses the processor; the defaults are ours.

    Raises:
        OptionError: a value that cannot work.
    """

    threads: int | None = None
    """For one inference; None leaves it to ONNX Runtime: one per core."""
    spinning: Spinning = "off"
    """``within-run``: threads wait for the next operator awake, and sleep between inferences. To
    stay awake always is no choice: it takes the cores from the decoder and the sinks."""
    pinned: bool = False
    """Each thread but the caller's stays on a core of its own."""
    block_base: int | None = None
    """Work of an operator is dealt out in blocks that get smaller, beginning with one in so many;
    None deals it out evenly."""
    blocked: bool = True
    """The graph is rewritten for the machine, see `edge_runtime.backends.blocked`. No stage of the
    tuning tries it, as it moves results by rounding."""

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise OptionError(f"threads {self.threads}: expected 1 to {MAX_THREADS}")
        if self.block_base is not None and not 1 <= self.block_base <= MAX_BLOCK_BASE:
            raise OptionError(f"block base {self.block_base}: expected 1 to {MAX_BLOCK_BASE}")
        if self.pinned and (self.threads or 0) < 2:
            raise OptionError("pinned threads: expected 2 threads or more")

    def as_words(self) -> dict[str, str]:
        """What differs from the defaults, for people."""
        words = {
            "threads": None if self.threads is None else str(self.threads),
            "spinning": None if self.spinning == "off" else self.spinning,
            "pinned": "yes" if self.pinned else None,
            "block base": None if self.block_base is None else str(self.block_base),
            "blocked convolutions": None if self.blocked else "no",
        }
        return {name: value for name, value in words.items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.as_words().items()) or "defaults"
