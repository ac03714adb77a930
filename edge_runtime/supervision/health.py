"""How a source is doing, and the record of what was wrong with it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.report import Fault, Outages

if TYPE_CHECKING:
    from collections.abc import Iterator

SignalState = Literal["up", "degraded", "stalled", "reconnecting", "failed"]
"""``degraded``: frames come, but too few or with faults. ``stalled``: none comes and nothing says
why. ``reconnecting``: the source is lost and is being opened again. ``failed``: given up."""

Cause = Literal["stall", "lost", "end"]
"""Silence; an error such as a pulled cable or a closed connection; the sender ended the stream."""

KEPT_FAULTS = 200
"""Faults told one by one; memory stays flat however long a run lasts."""

EPISODE_NS = 2 * 10**9
"""Irregular frames closer than this are one fault."""

DEGRADED_NS = 5 * 10**9
"""How long a source counts as degraded after an irregular frame, and the window of its rate."""

LOW_RATE = 0.5
"""Below this share of its nominal rate a source is degraded."""


class FaultLog:
    """The faults of a run: the first ones in full, all of them by number."""

    def __init__(self) -> None:
        self.total = 0
        self._kept: list[Fault] = []

    def append(self, fault: Fault) -> None:
        """Note a fault."""
        self.total += 1
        if len(self._kept) < KEPT_FAULTS:
            self._kept.append(fault)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._kept)


@dataclass
class Outage:
    """A time without signal that is not over."""

    cause: Cause
    reason: str
    """In one line, without credentials."""
    since_ns: int
    """When the last good frame was taken."""
    fault: Fault
    failed_attempts: int = 0
    """How often the source was opened in vain, by the reconnection under way."""
    reconnected: bool = False


class SignalRecord:
    """What is known about the signal of one source over a run."""

    def __init__(self) -> None:
        self.faults = FaultLog()
        self.outage: Outage | None = None
        """The one that is going on."""
        self._first_ns: int | None = None
        self._up_since_ns = 0
        self._count = 0
        self._total_ns = 0
        self._longest_ns = 0
        self._failed_attempts = 0
        self.causes: Counter[str] = Counter()
        """Outages by `Cause`."""
        self.reconnects: Counter[str] = Counter()
        """Those of them that ended when the source was opened again."""
        self._irregular: Counter[str] = Counter()
        self._irregular_at_ns: dict[str, int] = {}

    @property
    def has_begun(self) -> bool:
        """Whether there was a good frame."""
        return self._first_ns is not None

    def begin(self, cause: Cause, reason: str, since_ns: int, now_ns: int) -> Outage:
        """An outage was noticed, whose last good frame came at `since_ns`."""
        fault = Fault(t_s=self._t_s(now_ns), kind=cause, reason=reason)
        self.faults.append(fault)
        self._count += 1
        self.causes[cause] += 1
        self.outage = Outage(cause, reason, since_ns, fault)
        return self.outage

    def attempted(self, failed: int) -> None:
        """The reconnection under way has opened the source in vain so often."""
        if self.outage is not None:
            self._failed_attempts += failed - self.outage.failed_attempts
            self.outage.failed_attempts = failed

    def reopened(self) -> None:
        """The source delivers again; whether its frames are good is still to be seen."""
        if self.outage is not None:
            self.outage.reconnected = True
            self.outage.failed_attempts = 0

    def good(self, now_ns: int) -> None:
        """A good frame came; an outage, if there was one, is over."""
        if self._first_ns is None:
            self._first_ns = self._up_since_ns = now_ns
        if self.outage is None:
            return
        duration_ns = now_ns - self.outage.since_ns
        self.outage.fault.recovered_after_s = duration_ns * 1e-9
        self._total_ns += duration_ns
        self._longest_ns = max(self._longest_ns, duration_ns)
        if self.outage.reconnected:
            self.reconnects[self.outage.cause] += 1
        self._up_since_ns = now_ns
        self.outage = None

    def irregular(self, kind: str, reason: str, now_ns: int) -> None:
        """A frame came, but not as it should; those close together are one fault."""
        before_ns = self._irregular_at_ns.get(kind)
        self._irregular_at_ns[kind] = now_ns
        if before_ns is None or now_ns - before_ns > EPISODE_NS:
            self._irregular[kind] += 1
            self.faults.append(Fault(self._t_s(now_ns), kind, recovered_after_s=0.0, reason=reason))

    def up_s(self, now_ns: int) -> float:
        """Seconds since the first good frame or the end of the last outage; 0 before any."""
        return (now_ns - self._up_since_ns) * 1e-9 if self.has_begun else 0.0

    def is_irregular(self, now_ns: int) -> bool:
        """Whether there was an irregular frame of late."""
        latest_ns = max(self._irregular_at_ns.values(), default=None)
        return latest_ns is not None and now_ns - latest_ns < DEGRADED_NS

    def summary(self, now_ns: int) -> Outages:
        """The account so far, an outage that is not over included."""
        current = self.outage
        lasting_ns = 0 if current is None else now_ns - current.since_ns
        return Outages(
            count=self._count,
            total_s=(self._total_ns + lasting_ns) * 1e-9,
            longest_s=max(self._longest_ns, lasting_ns) * 1e-9,
            reconnects=self.reconnects.total(),
            failed_attempts=self._failed_attempts,
            causes=dict(sorted(self.causes.items())),
            irregular=dict(sorted(self._irregular.items())),
        )

    def _t_s(self, now_ns: int) -> float:
        return 0.0 if self._first_ns is None else (now_ns - self._first_ns) * 1e-9


class RateWatch:
    """Whether a source delivers what it promised."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque(maxlen=8)

    def add(self, captured: int, now_ns: int) -> None:
        """Take note, once a second at most, of how many frames were captured so far."""
        if not self._seen or now_ns - self._seen[-1][0] >= 10**9:
            self._seen.append((now_ns, captured))

    def reset(self) -> None:
        """Forget: the source was opened anew."""
        self._seen.clear()

    def is_low(self, captured: int, fps_nominal: float | None, now_ns: int) -> bool:
        """Whether less than half of the nominal rate came in the last seconds."""
        old = [entry for entry in list(self._seen) if now_ns - entry[0] >= DEGRADED_NS]
        if not fps_nominal or not old:
            return False
        then_ns, then = old[-1]
        return (captured - then) / ((now_ns - then_ns) * 1e-9) < LOW_RATE * fps_nominal
