"""What became of one fault of a camera: was it told in time, were masks back in time?"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.result import Result

TOLD_S, RESTORED_S = 2.0, 5.0
"""The promise."""
SILENCING = ("stall", "hang", "unplug", "eos", "slow-start", "corrupt", "pts-repeat", "rtsp-kill")
"""Kinds that leave no good frame, as the benchmark injects them."""


@dataclass
class Outcome:
    """What became of one fault; None where there was nothing."""

    kind: str
    told_s: float | None
    """From the last good mask to the result that says ``no-signal``."""
    restored_s: float | None
    """From the return of the source to the first good mask."""
    gap_s: float
    """Longest time without a good mask that was not told."""

    @property
    def was_seen(self) -> bool:
        """Whether silence was told in time, and masks did not stop without a word."""
        if self.kind in SILENCING:
            return self.told_s is not None and self.told_s <= TOLD_S
        return self.gap_s <= TOLD_S

    @property
    def was_restored(self) -> bool:
        """Whether masks were back in time."""
        return self.restored_s is not None and self.restored_s <= RESTORED_S


@dataclass
class Diary:
    """When one camera had masks, and when it was told that it has none. Seconds, monotonic."""

    good: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Note a result."""
        if result.state == "ok":
            self.good.append(time.monotonic())
        elif result.state == "no-signal":
            self.told.append(time.monotonic())

    def judge(self, kind: str, start_s: float, back_s: float, until_s: float) -> Outcome:
        """What became of a fault that was over, with its recovery, at `until_s`."""
        told_at = first_between(self.told, start_s, until_s)
        if kind == "hang" and told_at is not None:
            back_s = told_at  # it returns when it is opened again, and before nobody can know
        after_s = max(back_s, told_at) if told_at is not None and kind in SILENCING else back_s
        restored_at = first_between(self.good, after_s, until_s)
        told_s = None
        if told_at is not None:
            before = bisect_left(self.good, told_at)
            told_s = told_at - self.good[before - 1] if before else None
        return Outcome(
            kind,
            told_s,
            None if restored_at is None else restored_at - back_s,
            self._longest_gap(start_s, min(restored_at or until_s, until_s)),
        )

    def _longest_gap(self, start_s: float, end_s: float) -> float:
        first = max(bisect_left(self.good, start_s) - 1, 0)
        times = self.good[first : bisect_left(self.good, end_s) + 1]
        gaps = [0.0]
        for before, after in pairwise(times):
            told = first_between(self.told, before, after)
            gaps.append((after if told is None else told) - before)
        return max(gaps)


def first_between(times: list[float], start_s: float, end_s: float) -> float | None:
    """The first of increasing `times` from `start_s` on and before `end_s`."""
    at = bisect_left(times, start_s)
    return times[at] if at < len(times) and times[at] < end_s else None


def summarise(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts and maxima by kind."""
    counts = Counter(outcome.kind for outcome in outcomes)
    kinds = {kind: _figures([o for o in outcomes if o.kind == kind]) for kind in counts}
    return {
        "all_as_promised": bool(kinds)
        and all(k["seen"] == k["restored"] == k["injected"] for k in kinds.values()),
        "kinds": kinds,
    }


def _figures(outcomes: list[Outcome]) -> dict[str, Any]:
    told = [o.told_s for o in outcomes if o.told_s is not None]
    restored = [o.restored_s for o in outcomes if o.restored_s is not None]
    return {
        "injected": len(outcomes),
        "silences": outcomes[0].kind in SILENCING,
        "seen": sum(outcome.was_seen for outcome in outcomes),
        "restored": sum(outcome.was_restored for outcome in outcomes),
        "told": len(told),
        "told_max_s": round(max(told), 3) if told else None,
        "restored_max_s": round(max(restored), 3) if restored else None,
        "longest_untold_gap_s": round(max(o.gap_s for o in outcomes), 3),
    }
