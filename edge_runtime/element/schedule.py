"""Which frames of a stream are inferred: every (n+1)-th, and none that would come too late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["infer", "interval", "late"]
"""``interval``: not its turn. ``late``: its turn, but the sink would not show it in time."""


@dataclass(frozen=True)
class Qos:
    """What the latest quality-of-service event asked for."""

    proportion: float
    """How many times the ideal rate the stream has to become faster to be in time."""
    earliest_ns: int
    """Running time from which on frames can still be in time."""


class Schedule:
    """Judges frame by frame. `note` may be called from another thread than the rest."""

    def __init__(self) -> None:
        self.qos: Qos | None = None
        self._since: int | None = None

    def reset(self) -> None:
        """The stream starts anew, after a seek, a flush or a change of its format."""
        self.qos = None
        self._since = None

    def note(self, proportion: float, diff_ns: int, timestamp_ns: int | None) -> None:
        """Take note of a quality-of-service event.

        Args:
            proportion: as the event says.
            diff_ns: how late (above 0) or early the frame was.
            timestamp_ns: running time of the frame; None for an event without one.
        """
        if timestamp_ns is None:
            self.qos = None
        else:
            self.qos = Qos(proportion, max(timestamp_ns + diff_ns, 0))

    def judge(self, running_ns: int | None, *, interval: int, heed_qos: bool) -> Fate:
        """What is done with the next frame.

        Args:
            running_ns: its running time; None for a frame without a time, which is never late.
            interval: how many frames pass between two that are inferred.
            heed_qos: whether `note` counts.
        """
        if self._since is not None and self._since < interval:
            self._since += 1
            return "interval"
        if heed_qos and running_ns is not None and self._comes_too_late(running_ns):
            return "late"
        self._since = 0
        return "infer"

    def _comes_too_late(self, running_ns: int) -> bool:
        qos = self.qos
        return qos is not None and running_ns <= qos.earliest_ns
