"""The metrics of one run: what an exposition says, and whether the run is healthy."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from edge_runtime.prometheus.cameras import Watched, camera_families
from edge_runtime.prometheus.machine import engine_families, program_families, sensor_families
from edge_runtime.prometheus.observer import FrameObserver
from edge_runtime.service.status import CameraStatus, Status, illness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.core import Metric

    from edge_runtime.rig.lane import Lane
    from edge_runtime.service.status import State
    from edge_runtime.telemetry.sampler import Sampler

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_AGE_S = 10.0
"""Greatest age of the newest mask of a healthy run, as of ``hyperseg service health``."""


class RunMetrics(Collector):
    """Reads counters of a run when it is asked; the loop never waits for it.

    Counts begin with the run and never fall within it. The values of labels are names that the user
    or the model gave, or words of ours; their number does not grow with time.

    Args:
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._state: State = "starting"
        self._cameras: tuple[Watched, ...] = ()
        self._sampler: Sampler | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    @contextmanager
    def attend(self, lanes: Sequence[Lane], sampler: Sampler) -> Iterator[None]:
        """Note the frames of these lanes, none of which has taken one yet."""
        self._sampler = sampler
        self._cameras = tuple(Watched(lane, FrameObserver()) for lane in lanes)
        for camera in self._cameras:
            camera.lane.observers.append(camera.observer)
        try:
            yield
        finally:
            self._state = "stopping"

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type; from any thread."""
        return generate_latest(self._registry), CONTENT_TYPE

    def illness(self, max_age_s: float = MAX_AGE_S) -> str | None:
        """Why the run is not healthy, in one line, or None if it is; from any thread."""
        now_ns = self._clock()
        published = sum(camera.lane.recorder.tally.published for camera in self._cameras)
        state: State = "running" if published and self._state == "starting" else self._state
        status = Status(
            state=state,
            pid=os.getpid(),
            model=self._cameras[0].lane.engine.network.key if self._cameras else "",
            published=published,
            written_ns=now_ns,
            cameras=tuple(_status(camera, now_ns) for camera in self._cameras),
        )
        return illness(status, max_age_s, now_ns)

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment, for the client's registry."""
        yield from program_families()
        if self._sampler is not None:
            yield from sensor_families(self._sampler)
        if self._cameras:
            yield from engine_families(self._cameras[0].lane.engine)
            yield from camera_families(self._cameras, self._clock())

    def describe(self) -> Iterator[Metric]:
        """Nothing: that all names are ours is known, and there is nobody else in the registry."""
        return iter(())


def _status(camera: Watched, now_ns: int) -> CameraStatus:
    capture_ns = camera.observer.capture_ns
    age_s = None if capture_ns is None else (now_ns - capture_ns) * 1e-9
    return CameraStatus(camera.name, camera.lane.source.state, 0.0, age_s)
