"""Which frames are segmented when the network is slower than the source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from edge_runtime.errors import OptionError
from edge_runtime.suggest import hint

PolicyName = Literal["every", "latest", "deadline"]


@dataclass(frozen=True)
class Policy:
    """A frame policy.

    ``every`` loses nothing and lets the source wait. ``latest`` takes the newest frame and drops
    older ones, so that the age of a result is bounded. ``deadline`` is ``latest``, and a frame that
    is already older than the deadline when inference would start is not inferred.
    """

    name: PolicyName
    deadline_ms: float | None = None
    """Greatest age of a frame at the start of its inference; for ``deadline`` only.

    Raises:
        OptionError: missing for ``deadline``, given for another policy, or not a positive number.
    """

    def __post_init__(self) -> None:
        if (self.name == "deadline") != (self.deadline_ms is not None):
            raise OptionError(
                f"policy {self.name!r} with deadline {self.deadline_ms}: a deadline belongs to "
                "the policy 'deadline', such as deadline=50"
            )
        if self.deadline_ms is not None and not (
            self.deadline_ms > 0 and math.isfinite(self.deadline_ms)
        ):
            raise OptionError(f"deadline={self.deadline_ms:g}: expected milliseconds above 0")

    @property
    def lossless(self) -> bool:
        """Whether every frame must be published, however long it takes."""
        return self.name == "every"

    @property
    def deadline_ns(self) -> int | None:
        """`deadline_ms` in nanoseconds."""
        return None if self.deadline_ms is None else round(self.deadline_ms * 1e6)

    def __str__(self) -> str:
        return self.name if self.deadline_ms is None else f"deadline={self.deadline_ms:g}"


EVERY = Policy("every")
LATEST = Policy("latest")


def parse_policy(text: str) -> Policy:
    """The policy that ``every``, ``latest`` or ``deadline=MS`` stands for.

    Raises:
        OptionError: anything else.
    """
    name, equals, value = text.partition("=")
    if not equals and name == "every":
        return EVERY
    if not equals and name == "latest":
        return LATEST
    if equals and name == "deadline":
        try:
            return Policy("deadline", float(value))
        except ValueError:
            raise OptionError(
                f"policy {text!r}: {value!r} is not a number of milliseconds, as in deadline=50"
            ) from None
    meant = hint(name, get_args(PolicyName))
    raise OptionError(
        f"policy {text!r}: {meant}expected every, latest or deadline=MS, as in deadline=50"
    )


def default_policy(*, live: bool) -> Policy:
    """``latest`` for live sources, ``every`` for files."""
    return LATEST if live else EVERY
