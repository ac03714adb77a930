"""The loop: newest frame in, network, mask out, every boundary stamped.

One thread reads, infers and publishes; sinks that encode have their own. `Loop` takes its backend,
source and clock as arguments; `edge_runtime.runner.run` opens real ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.rig.engine import Engine
from edge_runtime.rig.lane import Lane, LaneOptions
from edge_runtime.rig.scheduler import POLL_S, Rig, RigOrders
from edge_runtime.stop import Stop
from edge_runtime.supervision.source import SupervisedSource

if TYPE_CHECKING:
    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.report import Ending
    from edge_runtime.video import Source


@dataclass
class LoopOptions(LaneOptions):
    """What a loop does with its frames, and when it ends."""

    duration_s: float | None = None
    """Since the first frame."""
    stop: Stop = field(default_factory=Stop)


class Loop(Lane):
    """Runs a network on a source: a rig of one camera, which is waited for in its own thread.

    Args:
        backend: already entered.
        source: already entered. One that is not supervised yet is watched, but never opened again.
        manifest: of the backend's model.
        options: policy, outlets, clock.
    """

    def __init__(
        self, backend: Backend, source: Source, manifest: Manifest, options: LoopOptions
    ) -> None:
        if not isinstance(source, SupervisedSource):
            source = SupervisedSource(source, clock=options.clock)
        super().__init__(Engine(backend, manifest), source, options)
        self._orders = RigOrders(
            stop=options.stop,
            duration_s=options.duration_s,
            clock=options.clock,
            poll_s=POLL_S,
        )

    def run(self) -> Ending:
        """Take frames until the stream, the duration or the patience of the user ends.

        Raises:
            SourceError: the source failed.
            BackendError: the engine failed.
            SinkError: a sink failed.
        """
        ended = Rig([self], self._orders).run()
        if self.failure is not None:
            raise self.failure
        return ended
