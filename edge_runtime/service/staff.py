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
    from edge_runtime.rig.lane import Lane
    from edge_runtime.stop import Stop

    Attend: TypeAlias = Callable[[Sequence[Lane]], AbstractContextManager[object]]


def alone(lanes: Sequence[Lane]) -> AbstractContextManager[object]:
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
        HypersegError: the model cannot be opened; see `edge_runtime.serving.serve`.
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
        self._reloader = self.enter_context(
            Reloader(path, manifest, options, say, self._warden.reloading)
        )
        self.served = self._reloader.served
        """The model that the run begins with."""

    @contextmanager
    def attend(self, lanes: Sequence[Lane]) -> Iterator[None]:
        """Watch and tell while the lanes, which share one engine, take frames."""
        with self._warden.attend(lanes), self._reloader.attend(lanes):
            yield
