"""What a check found: seen, expected, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem", "not-applicable"]
"""``warning``: it works, but slower, less safely or not as tested; ``problem``: it does not."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    check: str
    """``group.name``, which stays the same between versions, such as ``python.bindings``."""
    status: Status
    seen: str
    expected: str = ""
    """Empty where `seen` is as expected."""
    fix: str = ""
    """A command to copy into a shell, or, after ``#``, what no command does."""

    @property
    def group(self) -> str:
        """What the check is about, such as ``python``."""
        return self.check.partition(".")[0]


def ok(check: str, seen: str) -> Finding:
    """As expected."""
    return Finding(check, "ok", seen)


def warning(check: str, seen: str, expected: str, fix: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(check, "warning", seen, expected, fix)


def problem(check: str, seen: str, expected: str, fix: str) -> Finding:
    """It keeps a run from working."""
    return Finding(check, "problem", seen, expected, fix)


def absent(check: str, seen: str) -> Finding:
    """The machine has nothing to check."""
    return Finding(check, "not-applicable", seen)
