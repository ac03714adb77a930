"""Whose turn it is when several cameras have a frame and one network can take one."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Turns:
    """Fair turns by start-time fair queueing; nobody saves up turns while it has no frame.

    With equal weights it is the camera whose last turn is longest ago. Else one of twice the weight
    gets twice the turns as long as both have frames. In either case, while camera i has a frame
    waiting, camera j gets at most ``ceil(w_j / w_i)`` turns before it.

    Args:
        weights: of the cameras, above 0.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.counts = [0] * len(weights)
        """Turns each camera has had."""
        # Whole numbers: a tie must be one, or the bound above would not hold.
        steps = [1 / Fraction(str(weight)) for weight in weights]
        scale = lcm(*(step.denominator for step in steps))
        self._steps = [int(step * scale) for step in steps]
        self._due = [0] * len(weights)
        self._last = [0] * len(weights)
        self._now = 0
        """When the latest turn was due: the virtual time."""

    def order(self) -> list[int]:
        """The cameras, the one whose turn it is first."""
        return sorted(range(len(self._due)), key=self._rank)

    def take(self, camera: int) -> None:
        """This camera has had a turn."""
        self._now = max(self._due[camera], self._now)
        self._due[camera] = self._now + self._steps[camera]
        self.counts[camera] += 1
        self._last[camera] = sum(self.counts)

    def _rank(self, camera: int) -> tuple[int, int]:
        return self._due[camera], self._last[camera]
