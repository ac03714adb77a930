"""The run as the page sees it: figures, health and the report so far, asked from other threads."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.compose import End, Start, compose_report
from edge_runtime.service.status import CameraStatus, Status, illness
from edge_runtime.web.stats import camera_name, run_figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.rig.lane import Lane
    from edge_runtime.telemetry.sampler import Sampler
    from edge_runtime.web.screen import Screen
    from edge_runtime.web.stats import RunFigures

HEALTHY_S = 10.0
"""Greatest age of the newest mask of a healthy run."""
ATTEMPTS = 3


class WatchedRun:
    """A run that goes on.

    Args:
        lanes: its cameras.
        sampler: of its telemetry.
        start: what was noted before it.
    """

    def __init__(self, lanes: Sequence[Lane], sampler: Sampler, start: Start) -> None:
        self._lanes = tuple(lanes)
        self._sampler = sampler
        self._start = start

    def figures(self, screens: Sequence[Screen], viewers: int) -> RunFigures:
        """What the page shows."""
        return run_figures(
            self._lanes,
            [screen.tap for screen in screens],
            [screen.ratios for screen in screens],
            self._sampler,
            viewers,
        )

    def illness(self) -> str | None:
        """Why the run is not healthy, by the rule of `hyperseg service health`; None if it is."""
        cameras = tuple(map(_status, self._lanes))
        status = Status(
            state="running",
            pid=os.getpid(),
            model=self._lanes[0].engine.network.key,
            published=sum(lane.recorder.tally.published for lane in self._lanes),
            written_ns=time.monotonic_ns(),
            cameras=cameras,
        )
        return illness(status, HEALTHY_S)

    def report(self, lane: Lane) -> bytes:
        """The latency report of one camera so far, as JSON; a run of its own, by its id."""
        network = lane.engine.network
        for attempt in range(ATTEMPTS):
            try:
                report = compose_report(
                    self._start,
                    End.of(lane, "error"),  # which may have cut a frame in two, as a look does
                    lane,
                    network.backend,
                    network.manifest,
                    lane.outlets,
                    self._sampler.summary(),
                )
            except (IndexError, RuntimeError):
                # A distribution grew while it was read; it does so a few times in a run.
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return replace(report, ended="running").to_json().encode()
        raise AssertionError


def _status(lane: Lane) -> CameraStatus:
    now = lane.snapshot()
    age_s = None if now.age_ms is None else now.age_ms * 1e-3
    return CameraStatus(camera_name(lane), lane.source.state, now.fps, age_s)
