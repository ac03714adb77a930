"""Rounds: in each, every model runs once, in an order that is drawn anew.

What disturbs a machine, another program or heat, lasts longer than a round and so falls on all
models alike; and none is always the one that runs after the slowest. With several models each turn
begins with a query that is not counted: it brings the model's weights back into the caches, so that
what counts is the model as it runs alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bench.figures import trtexec_percentile
from edge_runtime.bench.options import MIN_QUERIES
from edge_runtime.recorder import WarmUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.bench.options import BenchOptions, WarmUpPlan
    from edge_runtime.bench.subject import Subject
    from edge_runtime.telemetry.readings import Readings


@dataclass(frozen=True)
class Warmed:
    """The warm-up of one model; none of it is in any other figure."""

    queries: int
    seconds: float
    """Of all models together: they warm up in the same rounds that are measured."""
    first_ms: float
    """The very first query after the masks were looked at."""
    stable: bool | None
    """Whether the criterion was met within its limit; null where there was none."""


@dataclass(frozen=True)
class Window:
    """One point of the curve: a model in one stretch of a sustained measurement."""

    t_s: float
    """Its end, seconds since the measurement began."""
    queries: int
    p50_ms: float
    """Of the wall time, as all figures of a window."""
    p99_ms: float
    max_ms: float
    clocks_mhz: dict[str, float] = field(default_factory=dict)
    """As the sensors said last, like the next three."""
    temperatures_c: dict[str, float] = field(default_factory=dict)
    power_w: float | None = None
    throttling: tuple[str, ...] = ()


@dataclass
class Hooks:
    """What a measurement asks and tells between two rounds, where it costs no query anything."""

    stopped: Callable[[], bool] = lambda: False
    tick: Callable[[float], None] = lambda share: None
    """Told how much is done, 0..1."""
    sensors: Callable[[], Readings | None] = lambda: None


class Measurement:
    """Rounds over subjects.

    Args:
        subjects: at least one.
        options: how long, and the seed of the order.
        hooks: what goes on beside it.
        clock: nanoseconds.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        options: BenchOptions,
        hooks: Hooks,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.subjects = subjects
        self.seconds = 0.0
        """Length of the measurement; complete after `run`."""
        self.curve: dict[str, list[Window]] = {subject.label: [] for subject in subjects}
        self._options, self._hooks, self._clock = options, hooks, clock
        self._rng = np.random.default_rng(options.seed)
        self._round = 0
        self._shown: dict[str, int] = dict.fromkeys(self.curve, 0)

    def warm_up(self) -> list[Warmed]:
        """Run rounds until every model is warm; of each subject how that went.

        Raises:
            BackendError: an engine failed.
        """
        plan = self._options.warmup
        criteria = [WarmUp() for _ in self.subjects]
        firsts: dict[int, int] = {}
        begin_ns, rounds = self._clock(), 0
        while rounds == 0 or not self._is_warm(plan, rounds, begin_ns, criteria):
            for place in self._order():
                wall_ns = self.subjects[place].query(self._round, counted=False)
                firsts.setdefault(place, wall_ns)
                if not criteria[place].over:
                    criteria[place].add(wall_ns, self._clock())
            rounds += 1
            self._hooks.tick(0.0)
        seconds = (self._clock() - begin_ns) * 1e-9
        asked = plan.queries is None and plan.seconds is None
        return [
            Warmed(rounds, seconds, firsts[i] * 1e-6, one.converged if asked else None)
            for i, one in enumerate(criteria)
        ]

    def _is_warm(
        self, plan: WarmUpPlan, rounds: int, begin_ns: int, criteria: Sequence[WarmUp]
    ) -> bool:
        if self._hooks.stopped():
            return True
        if plan.queries is not None:
            return rounds >= plan.queries
        if plan.seconds is not None:
            return self._clock() - begin_ns >= plan.seconds * 1e9
        return all(one.over for one in criteria)

    def run(self) -> None:
        """Measure; the subjects hold the figures.

        Raises:
            BackendError: an engine failed.
        """
        begin_ns = self._clock()
        window_ns = round((self._options.window_length_s or 0.0) * 1e9)
        next_ns = begin_ns + window_ns
        done = 0
        while not self._is_over(done, begin_ns):
            for place in self._order():
                subject = self.subjects[place]
                if len(self.subjects) > 1:
                    subject.query(self._round, counted=False)
                subject.query(self._round, counted=True)
            done += 1
            now_ns = self._clock()
            if window_ns and now_ns >= next_ns:
                self._add_point((now_ns - begin_ns) * 1e-9)
                next_ns += window_ns * ((now_ns - next_ns) // window_ns + 1)
            self._hooks.tick(self._share(done, now_ns - begin_ns))
        self.seconds = (self._clock() - begin_ns) * 1e-9
        for subject in self.subjects:
            subject.finish()

    def _is_over(self, done: int, begin_ns: int) -> bool:
        # A first round in any case: there are no figures of nothing.
        if done and self._hooks.stopped():
            return True
        limit_s = self._options.limit_s
        if limit_s is None:
            return done >= (self._options.iterations or 0)
        return done >= MIN_QUERIES and self._clock() - begin_ns >= limit_s * 1e9

    def _share(self, done: int, spent_ns: int) -> float:
        limit_s = self._options.limit_s
        share = done / (self._options.iterations or 1) if limit_s is None else spent_ns * 1e-9
        return min(share / (limit_s or 1.0), 1.0)

    def _order(self) -> Sequence[int]:
        """The models of the next round, by their place."""
        self._round += 1
        if len(self.subjects) == 1:
            return (0,)
        order: list[int] = self._rng.permutation(len(self.subjects)).tolist()
        return order

    def _add_point(self, t_s: float) -> None:
        readings = self._hooks.sensors()
        for subject in self.subjects:
            begin = self._shown[subject.label]
            values = sorted(subject.values["wall"][begin:])
            self._shown[subject.label] = begin + len(values)
            self.curve[subject.label].append(
                Window(
                    t_s=t_s,
                    queries=len(values),
                    p50_ms=trtexec_percentile(values, 50),
                    p99_ms=trtexec_percentile(values, 99),
                    max_ms=values[-1],
                    clocks_mhz=dict(readings.clocks_mhz) if readings else {},
                    temperatures_c=dict(readings.temperatures_c) if readings else {},
                    power_w=readings.total_w if readings else None,
                    throttling=tuple(sorted(readings.throttling)) if readings else (),
                )
            )
