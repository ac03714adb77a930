"""Sets of results, one per camera, of pictures that were taken at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError
from edge_runtime.timing import Series

if TYPE_CHECKING:
    from edge_runtime.result import Result
    from edge_runtime.video import TimestampSource

OPEN_SETS = 8
"""Sets that wait for a camera at one time; beyond it the oldest is given up."""

MAY_AGREE: frozenset[TimestampSource] = frozenset({"arrival", "ntp"})
"""Clocks that become each other while a camera runs: with the reports of its sender's clock."""


@dataclass(frozen=True)
class ResultSet:
    """One result of every camera."""

    results: Mapping[str, Result]
    """By camera, in the order of the cameras; their masks are yours to keep."""
    spread_ms: float
    """From the first capture to the last."""


@dataclass
class _OpenSet:
    first_ns: int
    last_ns: int
    clock: TimestampSource
    results: dict[str, Result] = field(default_factory=dict)

    def spread_with(self, capture_ns: int) -> int:
        return max(self.last_ns, capture_ns) - min(self.first_ns, capture_ns)

    def add(self, camera: str, result: Result) -> None:
        self.first_ns = min(self.first_ns, result.capture_ns)
        self.last_ns = max(self.last_ns, result.capture_ns)
        self.results[camera] = replace(
            result, mask=None if result.mask is None else result.mask.copy()
        )


class SetMatcher:
    """Groups results by capture time and delivers a group as soon as it is complete.

    A result joins the group that it spreads least. With a tolerance below half the frame interval
    that is the only one it fits. Groups that cannot be completed any more are counted. A group has
    times of one clock only: a stream's are those of arrival until its first report of the sender's
    clock, and such results wait in vain for one of a stream that has had its report.

    Args:
        cameras: names; a set has a result of each.
        tolerance_ns: greatest time between the first and the last capture of a set.
        deliver: called with each complete set, in the thread that adds; None only counts.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        tolerance_ns: int,
        deliver: Callable[[ResultSet], None] | None = None,
    ) -> None:
        self.tolerance_ms = tolerance_ns * 1e-6
        self.complete = 0
        self.incomplete = 0
        """Groups that lacked a camera."""
        self.spread = Series()
        """Of complete sets, from the first capture to the last."""
        self._cameras = tuple(cameras)
        self._tolerance_ns = tolerance_ns
        self._deliver = deliver
        self._open: list[_OpenSet] = []
        self._clocks: dict[str, TimestampSource] = {}

    def add(self, camera: str, result: Result) -> None:
        """Take a camera's next result; those without a mask belong to no set.

        Raises:
            OptionError: the capture times of the cameras can never be compared.
        """
        if result.mask is None:
            return
        if camera not in self._clocks:
            self._clocks[camera] = result.timestamp_source
            self._check_clocks()
        self._give_up_before(camera, result.capture_ns - self._tolerance_ns)
        group = self._find(camera, result)
        group.add(camera, result)
        if len(group.results) == len(self._cameras):
            self._complete(group)
        elif len(self._open) > OPEN_SETS:
            self._drop(self._open[:1])

    def close(self) -> None:
        """No result follows: what is open stays incomplete."""
        self._drop(list(self._open))

    def _find(self, camera: str, result: Result) -> _OpenSet:
        capture_ns, clock = result.capture_ns, result.timestamp_source
        fitting = [
            group
            for group in self._open
            if camera not in group.results
            and group.clock == clock
            and group.spread_with(capture_ns) <= self._tolerance_ns
        ]
        if fitting:
            return min(fitting, key=lambda group: group.spread_with(capture_ns))
        self._open.append(_OpenSet(capture_ns, capture_ns, clock))
        return self._open[-1]

    def _give_up_before(self, camera: str, limit_ns: int) -> None:
        """Groups without this camera that began before the limit will never have it."""
        self._drop([
            group
            for group in self._open
            if camera not in group.results and group.first_ns < limit_ns
        ])  # fmt: skip

    def _complete(self, group: _OpenSet) -> None:
        self._open.remove(group)
        # Every camera is past those that began earlier: its captures only grow.
        self._drop([other for other in self._open if other.last_ns < group.first_ns])
        self.complete += 1
        spread_ns = group.last_ns - group.first_ns
        self.spread.add_ns(spread_ns)
        if self._deliver is not None:
            ordered = {camera: group.results[camera] for camera in self._cameras}
            self._deliver(ResultSet(ordered, spread_ns * 1e-6))

    def _drop(self, groups: Sequence[_OpenSet]) -> None:
        for group in groups:
            self._open.remove(group)
        self.incomplete += len(groups)

    def _check_clocks(self) -> None:
        for camera, clock in self._clocks.items():
            if clock == "file":
                raise OptionError(
                    f"match: {camera} is a file, whose frames have no capture times to compare; "
                    "match cameras and streams only"
                )
        clocks = set(self._clocks.values())
        if len(clocks) > 1 and not clocks <= MAY_AGREE:
            named = ", ".join(f"{camera} by {clock}" for camera, clock in self._clocks.items())
            raise OptionError(
                f"match: capture times of different clocks cannot be compared ({named}); use "
                "cameras of one kind, or leave the match out"
            )
