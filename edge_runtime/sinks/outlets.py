"""All sinks of a run as one."""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING

from edge_runtime.timing import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec
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

    @property
    def has_room(self) -> bool:
        """Whether all sinks would take a result at once, or raise."""
        return all(worker.has_room for worker in self.workers)

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
    specs: Sequence[SinkSpec], context: SinkContext, *, stopping: Callable[[], bool]
) -> Outlets:
    """The outlets that `specs` ask for; none at all is a ``null`` sink.

    Args:
        specs: one per sink.
        context: what the sinks may know of the run.
        stopping: whether the run was told to stop.
    """
    from edge_runtime.sinks.worker import SinkWorker

    workers = [
        SinkWorker(make_sink(spec, context), context.mask_size, stopping=stopping)
        for spec in specs
        if spec.scheme.maker
    ]
    return Outlets(workers, null=len(workers) < len(specs) or not specs)


def make_sink(spec: SinkSpec, context: SinkContext) -> Sink:
    """One sink without a thread of its own, not open yet; of any kind but ``null``."""
    module, _, function = spec.scheme.maker.partition(":")
    sink: Sink = getattr(import_module(module), function)(spec, context)
    return sink
