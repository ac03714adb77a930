"""What goes on beside the loop of a run: its model is watched, its manager is told."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

from edge_runtime.reload import Reloader
from edge_runtime.service.notify import Notifier
from edge_runtime.service.warden import Warden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from edge_runtime.options import RunOptions
    from edge_runtime.prometheus.metrics import RunMetrics
    from edge_runtime.rig.lane import Lane
    from edge_runtime.stop import Stop
    from edge_runtime.telemetry.sampler import Sampler
    from edge_runtime.web.server import WebPage

    Attend: TypeAlias = Callable[[Sequence[Lane], Sampler], AbstractContextManager[object]]


def alone(lanes: Sequence[Lane], sampler: Sampler) -> AbstractContextManager[object]:
    """Nothing goes on beside the loop."""
    return nullcontext()


class Staff(ExitStack):
    """Opens the model of a run and looks after the run. A context manager.

    Args:
        path: the model file.
        manifest: its manifest, already checked against the file.
        options: of the run.
        stop: what its loop looks at.
        say: takes lines in words, also from another thread.

    Raises:
        HypersegError: the model cannot be opened, see `edge_runtime.serving.serve`, or nothing
            can be served at the address for metrics or for the page.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        options: RunOptions,
        stop: Stop,
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._warden = Warden(stop, options.status, Notifier.from_environment())
        with ExitStack() as opening:
            self._metrics = _serve_metrics(options, say, opening)
            self._page = _serve_page(options, say, opening, self._metrics)
            self._reloader = opening.enter_context(
                Reloader(path, manifest, options, say, self._warden.reloading)
            )
            self.enter_context(opening.pop_all())
        self.served = self._reloader.served
        """The model that the run begins with."""

    @contextmanager
    def attend(self, lanes: Sequence[Lane], sampler: Sampler) -> Iterator[None]:
        """Watch and tell while the lanes, which share one engine, take frames."""
        with ExitStack() as stack:
            if self._metrics is not None:
                stack.enter_context(self._metrics.attend(lanes, sampler))
            if self._page is not None:
                stack.enter_context(self._page.attend(lanes, sampler))
            stack.enter_context(self._warden.attend(lanes))
            stack.enter_context(self._reloader.attend(lanes))
            yield


def _serve_metrics(
    options: RunOptions, say: Callable[[str], None], stack: ExitStack
) -> RunMetrics | None:
    if options.metrics is None:
        return None
    # Imported here: the client of Prometheus is an extra.
    from edge_runtime.prometheus.address import parse_listen
    from edge_runtime.prometheus.metrics import RunMetrics
    from edge_runtime.prometheus.server import MetricsServer

    metrics = RunMetrics()
    server = stack.enter_context(MetricsServer(parse_listen(options.metrics), metrics))
    say(f"metrics at {server.url}")
    return metrics


def _serve_page(
    options: RunOptions, say: Callable[[str], None], stack: ExitStack, metrics: RunMetrics | None
) -> WebPage | None:
    if options.web is None:
        return None
    # Imported here: the web framework is an extra.
    from edge_runtime.web.server import WebPage

    routes = {} if metrics is None else {"/metrics": metrics.exposition}
    return stack.enter_context(WebPage(options.web, say, routes))
