"""Feed pictures that Python makes or reads into a pipeline, on demand or at a camera's pace."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_runtime.gst import Gst

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pictures(Protocol):
    """A numbered sequence of pictures."""

    fps: float | None
    """A live camera's rate; None delivers pictures as fast as they are taken."""

    def picture(self, index: int) -> NDArray[np.uint8] | None:
        """Picture `index`, (H, W, 3) uint8 BGR, or None behind the last one.

        Raises:
            SourceError: the picture cannot be read.
        """
        ...


class Feeder:
    """Answers an appsrc's calls for data, on its streaming thread, one picture a call.

    A live camera that is late delivers its next picture at once and goes on from there: it becomes
    a slower camera and never a burst.
    """

    def __init__(self, pictures: Pictures) -> None:
        self.failure: Exception | None = None
        """What ended the feed before its end, for the reader to raise."""
        self._pictures = pictures
        self._index = 0
        self._due_s: float | None = None
        self._stopped = threading.Event()

    def attach(self, appsrc: Any) -> None:
        """Answer this appsrc from now on."""
        appsrc.connect("need-data", self._need_data)

    def stop(self) -> None:
        """Make a waiting call return at once."""
        self._stopped.set()

    def _need_data(self, appsrc: Any, _length: int) -> None:
        try:
            picture = self._pictures.picture(self._index)
        except Exception as error:  # noqa: BLE001  (bindings swallow it here; read() raises it)
            self.failure = error
            picture = None
        if picture is None:
            appsrc.end_of_stream()
        elif self._wait_until_due():
            appsrc.push_sample(_sample(picture, self._index, self._pictures.fps))
            self._index += 1

    def _wait_until_due(self) -> bool:
        """Keep the camera's pace; False when stopped meanwhile."""
        if self._pictures.fps is None:
            return not self._stopped.is_set()
        now = time.monotonic()
        due = now if self._due_s is None else self._due_s
        stopped = self._stopped.wait(max(due - now, 0.0))
        self._due_s = max(due, now) + 1.0 / self._pictures.fps
        return not stopped


def _sample(picture: NDArray[np.uint8], index: int, fps: float | None) -> Any:
    height, width, _ = picture.shape
    stride = (width * 3 + 3) // 4 * 4  # GStreamer's rows of BGR begin at multiples of four bytes
    rows = np.zeros((height, stride), np.uint8)
    rows[:, : width * 3] = picture.reshape(height, width * 3)
    buffer = Gst.Buffer.new_wrapped(rows.tobytes())
    buffer.pts = round(index * Gst.SECOND / (fps or 1.0))
    rate = Fraction(fps or 0).limit_denominator(1001)
    caps = Gst.Caps.from_string(
        f"video/x-raw,format=BGR,width={width},height={height},pixel-aspect-ratio=1/1,"
        f"framerate={rate.numerator}/{rate.denominator}"
    )
    return Gst.Sample.new(buffer, caps, None, None)
