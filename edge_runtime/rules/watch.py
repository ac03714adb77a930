"""The state of one rule over time: raised and cleared with hysteresis, unknown without a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edge_runtime.rules.spec import Rule

State = Literal["unknown", "clear", "raised"]
"""``unknown``: not seen long enough, or not seen at all; it never stands for ``clear``."""


@dataclass(frozen=True)
class RuleState:
    """A rule after one result."""

    state: State
    ratio: float | None
    """Share of its classes in its region, 0..1; None without a mask."""
    since_ns: int
    """When it took this state, on the rules' clock (see `RuleBook.evaluate`)."""


@dataclass(frozen=True)
class Event:
    """A rule changed its state."""

    rule: str
    state: State
    """From now on."""
    before: State
    ratio: float | None
    """Share of its classes in its region, 0..1, when it changed; None without a mask."""
    time_ns: int
    """On the rules' clock."""


class Watch:
    """Follows one rule. Times are nanoseconds of one clock that may jump, but not be absent."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._for_ns, self._clear_ns, self._hold_ns = (
            round(seconds * 1e9) for seconds in (rule.for_s, rule.clear_s, rule.hold_s)
        )
        self._state: State = "unknown"
        self._since_ns = 0
        self._seen_ns: int | None = None
        self._wanted: State = "unknown"
        self._wanted_since_ns = 0

    def see(self, ratio: float, time_ns: int) -> tuple[RuleState, Event | None]:
        """Judge one frame, whose share of the rule's classes in its region is `ratio`."""
        wanted = self._target(ratio)
        went_back = self._seen_ns is not None and time_ns < self._seen_ns
        if wanted != self._wanted or went_back:
            self._wanted, self._wanted_since_ns = wanted, time_ns
        self._seen_ns = time_ns
        wait_ns = self._for_ns if wanted == "raised" else self._clear_ns
        due = time_ns - self._wanted_since_ns >= wait_ns
        return self._become(wanted if due else self._state, ratio, time_ns)

    def miss(self, time_ns: int, *, hold: bool) -> tuple[RuleState, Event | None]:
        """Take notice of a frame that could not be judged.

        Args:
            time_ns: when.
            hold: believe the state for `Rule.hold_s` yet.
        """
        if hold and self._seen_ns is not None and 0 <= time_ns - self._seen_ns < self._hold_ns:
            return self._become(self._state, None, time_ns)
        self._wanted = "unknown"
        return self._become("unknown", None, time_ns)

    def _target(self, ratio: float) -> State:
        if self.rule.raises_at(ratio):
            return "raised"
        if self._state == "raised" and not self.rule.clears_at(ratio):
            return "raised"
        return "clear"

    def _become(
        self, state: State, ratio: float | None, time_ns: int
    ) -> tuple[RuleState, Event | None]:
        event = None
        if state != self._state:
            event = Event(self.rule.name, state, self._state, ratio, time_ns)
            self._state, self._since_ns = state, time_ns
        return RuleState(self._state, ratio, self._since_ns), event
