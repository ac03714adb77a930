"""One life of the element between NULL and NULL: its model, its figures, and the mask it keeps."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edge_runtime.element.painting import Painter
from edge_runtime.element.results import FrameResult
from edge_runtime.element.schedule import Schedule
from edge_runtime.element.segmenter import open_segmenter
from edge_runtime.element.tally import DeclaredLatency, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.element.schedule import Fate
    from edge_runtime.element.segmenter import Picture
    from edge_runtime.element.settings import Settings
    from edge_runtime.labels import LabelSet


class Session:
    """A loaded model and what has become of the frames.

    Args:
        settings: read again for every frame where a property may change while playing.
        say: takes lines in words, also from another thread.

    Raises:
        HypersegError: a setting cannot work, or the model cannot be loaded.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.tally = Tally()
        self.schedule = Schedule()
        self.latency = DeclaredLatency()
        self.latency_changed = False
        """Whether the last frame has changed `latency`."""
        self.output = settings.output
        self._settings = settings
        self._index = 0
        self._last_ns = 0
        self._kept: tuple[NDArray[np.uint8], int] | None = None
        self._painter: Painter | None = None
        with ExitStack() as stack:
            model, options = settings.check(), settings.run_options()
            self._segmenter = stack.enter_context(open_segmenter(model, options, say))
            self.latency.assume(self._segmenter.warm_up())
            self._stack = stack.pop_all()

    @property
    def labels(self) -> LabelSet:
        """Of the model."""
        return self._segmenter.manifest.labels

    @property
    def painter(self) -> Painter:
        """For the pictures that `expect` has announced."""
        assert self._painter is not None
        return self._painter

    def close(self) -> None:
        """Give the model back."""
        self._stack.close()

    def expect(self, picture: Picture) -> None:
        """The stream has, from now on, pictures of this format."""
        self._segmenter.expect(picture)
        self._painter = Painter(self.labels, picture)
        self.restart()

    def restart(self) -> None:
        """What comes next does not go on from what came before: no mask is kept."""
        self.schedule.reset()
        self._kept = None

    def heed(self, proportion: float, diff_ns: int, timestamp_ns: int | None) -> bool:
        """Take note of a quality-of-service event; its values are those of `Schedule.note`.

        Returns:
            Whether the lateness is no more than one inference explains. Elements upstream, which
            would drop frames to make up for it, need not hear of it: letting frames pass does.
        """
        self.schedule.note(proportion, diff_ns, timestamp_ns)
        return self._settings.qos and 0 < diff_ns <= self._last_ns

    def fate(self, running_ns: int | None) -> Fate:
        """What is done with the next frame; `running_ns` is its running time, if it has one."""
        settings = self._settings
        return self.schedule.judge(running_ns, interval=settings.interval, heed_qos=settings.qos)

    def infer(self, pixels: NDArray[np.uint8], pts: int) -> FrameResult:
        """The result of a frame that is inferred.

        Raises:
            BackendError: the engine failed.
        """
        self._kept = None  # its memory is overwritten now
        start = time.monotonic_ns()
        mask = self._segmenter.segment(pixels)
        self._last_ns = duration_ns = time.monotonic_ns() - start
        self.tally.count("infer", duration_ns)
        self.latency_changed = self.latency.add(duration_ns)
        self._kept = mask, pts
        return self._result(pts, "ok", mask, pts, duration_ns)

    def skip(self, fate: Fate, pts: int) -> FrameResult:
        """The result of a frame that passes without inference."""
        self.tally.count(fate)
        self.latency_changed = False
        if self._kept is None or not self._settings.reuse_mask:
            return self._result(pts, "stale")
        mask, mask_pts = self._kept
        return self._result(pts, "reused", mask, mask_pts)

    def _result(
        self,
        pts: int,
        state: str,
        mask: NDArray[np.uint8] | None = None,
        mask_pts: int | None = None,
        latency_ns: int | None = None,
    ) -> FrameResult:
        index, self._index = self._index, self._index + 1
        return FrameResult(
            unique_id=self._settings.unique_id,
            index=index,
            pts=pts,
            state=state,
            model=self._segmenter.manifest.name,
            classes=len(self.labels),
            mask=mask,
            mask_pts=pts if mask_pts is None else mask_pts,
            latency_ns=latency_ns,
        )
