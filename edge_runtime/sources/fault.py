"""A camera that fails on purpose: ``fault:SCHEDULE:SOURCE`` wraps any other source.

The schedule is a list of faults with their times, or draws them by a seed, so that what happened
once can be made to happen again:

    fault:stall@5+3:test:                        at 5 s nothing comes for 3 s, and nothing says so
    fault:unplug@5+3,jitter=0.2@12+4:/dev/video0 at 5 s gone for 3 s; at 12 s up to 0.2 s late for 4
    fault:every=10,seed=7:rtsp://camera/stream   some fault about each 10 s
    fault:every=10,kinds=stall/eos:test:         one of these two

Times count from the first opening and go on while the source is closed: a camera that is unplugged
cannot be opened until it is back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count
from math import inf, isfinite
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError
from edge_runtime.redact import redact
from edge_runtime.suggest import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEME = "fault:"


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    meaning: str
    duration_s: float
    """How long it lasts unless the schedule says otherwise; 0 for what only happens at one time."""
    amount: float | None = None
    """How much of it, unless the schedule says otherwise; None: it has no amount."""
    lowest: float = 0.0
    highest: float = 1.0


KINDS = {
    "stall": Kind("delivers nothing and reports nothing", 3.0),
    "hang": Kind("delivers nothing until it is opened again", 0.0),
    "unplug": Kind("fails, and cannot be opened until it is back", 3.0),
    "eos": Kind("ends the stream; can be opened again at once", 0.0),
    "slow-start": Kind("the next opening delivers nothing for so long", 3.0),
    "jitter": Kind("frames are late by up to AMOUNT seconds", 3.0, 0.1, 0.0, 60.0),
    "burst": Kind("for AMOUNT seconds none comes, then all come at once", 3.0, 0.5, 0.0, 60.0),
    "drop": Kind("a share AMOUNT of the frames is numbered but never delivered", 3.0, 0.5),
    "corrupt": Kind("a share AMOUNT of the frames is noise, marked as damaged", 3.0, 0.5),
    "size": Kind("frames are AMOUNT times as high and wide", 3.0, 0.5, 0.1, 4.0),
    "pts-jump": Kind("from then on times are AMOUNT seconds ahead", 0.0, 10.0, -1e6, 1e6),
    "pts-repeat": Kind("the presentation time stands still", 3.0),
    "pts-missing": Kind("frames have no presentation time", 3.0),
}  # fmt: skip
"""The faults by name."""

EXPECTED = "expected KIND[=AMOUNT]@START[+DURATION] in seconds, or every=SECONDS, as in stall@5+3"


@dataclass(frozen=True)
class InjectedFault:
    """One fault of a schedule. Seconds since the first opening."""

    kind: str
    start_s: float
    duration_s: float
    amount: float = 0.0

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.start_s + self.duration_s


@dataclass(frozen=True)
class FaultSchedule:
    """Which faults occur when."""

    text: str
    """As it was written."""
    planned: tuple[InjectedFault, ...] = ()
    """By time."""
    every_s: float | None = None
    """Mean time between drawn faults; None draws none."""
    kinds: tuple[str, ...] = tuple(KINDS)
    """What is drawn from."""
    seed: int = 0

    @property
    def may_occur(self) -> frozenset[str]:
        """The kinds that can ever occur."""
        drawn = () if self.every_s is None else self.kinds
        return frozenset([*drawn, *(fault.kind for fault in self.planned)])

    def faults(self) -> Iterator[InjectedFault]:
        """All faults by time; drawn ones never end."""
        yield from self.planned
        if self.every_s is None:
            return
        rng = random.Random(self.seed)
        after_s = max((fault.end_s for fault in self.planned), default=0.0)
        for number in count(1):
            kind = rng.choice(self.kinds)
            start_s = after_s + self.every_s * (number + rng.uniform(-0.25, 0.25))
            duration_s = KINDS[kind].duration_s * rng.uniform(0.5, 1.5)
            yield InjectedFault(kind, start_s, duration_s, KINDS[kind].amount or 0.0)


def split_fault(text: str) -> tuple[str, str]:
    """The schedule and the source of a text that begins with ``fault:``.

    Raises:
        SourceError: one of them is missing.
    """
    schedule, colon, source = text.removeprefix(SCHEME).partition(":")
    if not colon or not schedule.strip() or not source.strip():
        raise SourceError(
            f"{redact(text)}: expected fault:SCHEDULE:SOURCE, as in fault:stall@5+3:test:"
        )
    return schedule.strip(), source.strip()


def parse_schedule(text: str) -> FaultSchedule:
    """Read ``stall@5+3,jitter=0.2@12`` or ``every=10,seed=7,kinds=stall/unplug``.

    Raises:
        SourceError: an unknown kind or option, or a value that cannot be used.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    planned = [_read_fault(item) for item in items if "@" in item]
    options = dict(_read_option(item) for item in items if "@" not in item)
    if not planned and "every" not in options:
        raise SourceError(f"fault schedule {text!r} has no fault in it; {EXPECTED}")
    return FaultSchedule(
        text=text,
        planned=tuple(sorted(planned, key=lambda fault: fault.start_s)),
        every_s=None if "every" not in options else _seconds(options["every"], text, above=0.0),
        kinds=_read_kinds(options["kinds"]) if "kinds" in options else tuple(KINDS),
        seed=_read_seed(options.get("seed", "0")),
    )


def _read_fault(item: str) -> InjectedFault:
    head, _, when = item.partition("@")
    name, equals, amount = head.partition("=")
    kind = KINDS[_known(name)]
    start, plus, duration = when.partition("+")
    if equals and kind.amount is None:
        raise SourceError(f"fault {item!r}: {name} takes no amount; {EXPECTED}")
    if plus and not kind.duration_s:
        raise SourceError(f"fault {item!r}: {name} happens at one time and takes no +DURATION")
    value = _number(amount, item) if equals else kind.amount or 0.0
    if kind.amount is not None and not kind.lowest <= value <= kind.highest:
        raise SourceError(
            f"fault {item!r}: amount {value:g}, expected {kind.lowest:g} to {kind.highest:g}"
        )
    return InjectedFault(
        name,
        _seconds(start, item),
        _seconds(duration, item, above=0.0) if plus else kind.duration_s,
        value,
    )


def _read_option(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or name not in ("every", "kinds", "seed"):
        raise SourceError(f"fault schedule: {item!r} cannot be read; {EXPECTED}")
    return name, value


def _read_kinds(text: str) -> tuple[str, ...]:
    return tuple(_known(name) for name in text.split("/"))


def _known(name: str) -> str:
    if name not in KINDS:
        raise SourceError(f"no fault {name!r}; {suggestion(name, KINDS)}")
    return name


def _read_seed(text: str) -> int:
    if not text.isdecimal():
        raise SourceError(f"fault schedule: seed={text!r}; expected a whole number, 0 or more")
    return int(text)


def _seconds(text: str, item: str, *, above: float = -inf) -> float:
    value = _number(text, item)
    if value < 0 or value <= above:
        raise SourceError(f"fault {item!r}: {value:g} s; expected seconds above 0")
    return value


def _number(text: str, item: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise SourceError(f"fault {item!r}: {text!r} is no number; {EXPECTED}") from None
    if not isfinite(value):
        raise SourceError(f"fault {item!r}: {text!r} is no usable number; {EXPECTED}")
    return value
