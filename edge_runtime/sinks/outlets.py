"""All sinks of a run as one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from edge_runtime.timing import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.labels import LabelSet
    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkSpec
    from edge_runtime.sinks.worker import Sink, SinkWorker


class Outlets:
    """Hands every result to all sinks. A context manager; leaving it completes all outputs.

    Args:
        workers: one per sink that does work.
        null: whether there is also a consumer that takes everything and keeps nothing.
    """

    def __init__(self, workers: Sequence[SinkWorker] = (), *, null: bool = True) -> None:
        self.workers = tuple(workers)
        self._null = null
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for worker in self.workers:
                stack.enter_context(worker)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def offer(self, result: Result, *, wait: bool) -> bool:
        """Hand a result to all sinks; False if none had room for it.

        Raises:
            SinkError: a sink has failed.
        """
        taken = self._null
        for worker in self.workers:
            taken = worker.offer(result, wait=wait) or taken
        return taken

    def render(self) -> Series | None:
        """From hand-over to drawn and written, over all sinks; None without any."""
        if not self.workers:
            return None
        total = Series()
        for worker in self.workers:
            total.merge(worker.render)
        return total


def open_outlets(
    specs: Sequence[SinkSpec],
    labels: LabelSet,
    mask_size: tuple[int, int],
    *,
    fps: Callable[[], float | None],
    stopping: Callable[[], bool],
) -> Outlets:
    """The outlets that `specs` ask for; none at all is a ``null`` sink.

    Args:
        specs: one per sink.
        labels: names and palette of the classes.
        mask_size: (height, width) of the masks.
        fps: nominal frames per second of the source, asked for with the first frame.
        stopping: whether the run was told to stop.
    """
    from edge_runtime.sinks.worker import SinkWorker

    workers = [
        SinkWorker(_make(spec, labels, fps), mask_size, stopping=stopping)
        for spec in specs
        if spec.kind != "null"
    ]
    return Outlets(workers, null=len(workers) < len(specs) or not specs)


def _make(spec: SinkSpec, labels: LabelSet, fps: Callable[[], float | None]) -> Sink:
    if spec.path is None:
        from edge_runtime.sinks.video import WindowSink

        return WindowSink(spec.text, labels)
    if spec.kind == "masks":
        from edge_runtime.sinks.images import MaskImages

        return MaskImages(spec.text, spec.path)
    if spec.kind == "maskvideo":
        from edge_runtime.sinks.video import MaskVideoSink

        return MaskVideoSink(spec.text, spec.path, labels.ignore_index, fps)
    from edge_runtime.sinks.video import OverlaySink

    return OverlaySink(spec.text, spec.path, labels, fps)
