"""What can be wrong with a data set, one finding at a time.

Reading raises the first one as a `DataError`; `hyperseg data check` collects them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_runtime.errors import SourceError

Kind = Literal[
    "bad list",
    "missing file",
    "label without image",
    "stem mismatch",
    "unreadable file",
    "unusable label format",
    "size mismatch",
    "turned image",
    "unknown ids",
    "binary masks",
    "image in two splits",
    "repeated image",
    "missing split",
    "no labelled pixels",
    "absent class",
]


@dataclass(frozen=True)
class Problem:
    """One finding."""

    kind: Kind
    message: str
    """One line: what came, what was expected, what to do."""
    split: str = ""
    """Where; empty if it concerns the whole data set."""
    file: str = ""
    """The file to look at; empty if there is none."""
    ids: tuple[tuple[str, int], ...] = ()
    """Stored ids (or ``#rrggbb`` colours) that nothing explains, with their pixel counts."""
    fatal: bool = True
    """False for what may be meant so: it is told, and training goes on."""


class DataError(SourceError):
    """A `Problem` that ends the reading."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
