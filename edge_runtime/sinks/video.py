"""Sinks that are GStreamer pipelines: overlay video, mask video and window."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from edge_runtime.errors import SinkError
from edge_runtime.overlay import Overlay
from edge_runtime.places import why_unwritable
from edge_runtime.result import FrameMasks
from edge_runtime.sinks.encoders import MUXERS, ffv1_launch, h264_launch, require
from edge_runtime.sinks.timeline import Timeline
from edge_runtime.sinks.writer import GstWriter, RawVideo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec

DEFAULT_FPS = 30.0
"""For sources that do not tell; frames are shown at their own times in any case."""

LEAST_SIDE = 16
"""In pixels: the H.264 encoders refuse less."""


class VideoSink(ABC):
    """Pushes one picture per result into a pipeline that is built for the first one's size.

    Args:
        label: as the user named the sink.
        path: the file to write; None writes none.
        fps: nominal frames per second of the source, asked for with the first frame.
    """

    raw_format: Literal["BGR", "GRAY8"] = "BGR"
    interpolation = cv2.INTER_LINEAR
    least_side = LEAST_SIDE
    """In pixels, even; smaller pictures are enlarged."""

    def __init__(
        self, label: str, path: Path | None, fps: Callable[[], float | None] = lambda: None
    ) -> None:
        self.label = label
        self._fps = fps
        self._path = path
        self._part = None if path is None else path.with_name(path.name + ".part")
        self._writer: GstWriter | None = None
        self._size = (0, 0)
        self._timeline = Timeline()
        self._uses_pts = True

    @abstractmethod
    def picture(self, result: Result) -> NDArray[np.uint8]:
        """What is shown for a result, (height, width, 3) BGR or (height, width) uint8."""

    @abstractmethod
    def launch(self, size: tuple[int, int]) -> str:
        """Launch text from raw video of (height, width) to the last element but the file."""

    def open(self) -> None:
        """Check that the encoder exists and the place can be written.

        Raises:
            SinkError: it does not or cannot.
        """
        self.launch((2, 2))
        if self._path is not None and (reason := why_unwritable(self._path)) is not None:
            raise SinkError(f"cannot write {self._path}: {reason}")

    def consume(self, result: Result) -> None:
        """Show or encode one result.

        Raises:
            SinkError: the encoder, the disk or the display failed.
        """
        picture = self.picture(result)
        if self._writer is None:
            self._size = even_size(picture.shape[:2], self.least_side)
            self._uses_pts = result.pts_ns is not None
            self._writer = GstWriter(
                self.label,
                self.launch(self._size),
                RawVideo(self.raw_format, self._size, self._fps() or DEFAULT_FPS),
                self._part,
            )
        time_ns = result.pts_ns if self._uses_pts else result.capture_ns
        fitted = fit(picture, self._size, self.interpolation)
        self._writer.push(fitted, self._timeline.place(time_ns, _captured_ns(result)))

    def close(self) -> None:
        """End the stream properly and give the file its name."""
        if self._writer is None:
            return
        self._writer.finish()
        if self._part is not None and self._path is not None:
            self._part.replace(self._path)

    def discard(self) -> None:
        """Stop and remove the half-written file."""
        if self._writer is not None:
            self._writer.stop()
        if self._part is not None:
            self._part.unlink(missing_ok=True)


def _captured_ns(result: Result) -> int | None:
    """When its frame was captured; None if that says nothing about its presentation time."""
    if result.timestamp_source == "file" or result.state == "no-signal":
        return None
    return result.capture_ns


class OverlaySink(VideoSink):
    """The overlay as H.264 in MP4 or Matroska."""

    def __init__(
        self,
        label: str,
        path: Path | None,
        labels: LabelSet,
        fps: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__(label, path, fps)
        self._overlay = Overlay(labels)

    def picture(self, result: Result) -> NDArray[np.uint8]:
        """The overlay, (height, width, 3) BGR."""
        return self._overlay.draw(result)

    def launch(self, size: tuple[int, int]) -> str:
        """H.264 and the muxer of the file's suffix."""
        assert self._path is not None
        muxer = MUXERS[self._path.suffix.lower()]
        require(muxer, "gstreamer1.0-plugins-good")
        return f"{h264_launch(size)} ! {muxer}"


class WindowSink(OverlaySink):
    """The overlay on the screen, each frame as soon as it is there."""

    def __init__(self, label: str, labels: LabelSet) -> None:
        super().__init__(label, None, labels)

    def open(self) -> None:
        """Check that there is a display.

        Raises:
            SinkError: there is none.
        """
        # Without one, autovideosink tries plug-ins of which some crash the process.
        names = ("DISPLAY", "WAYLAND_DISPLAY")
        if sys.platform == "linux" and not any(os.environ.get(name) for name in names):
            raise SinkError(
                "no display for the sink window: neither DISPLAY nor WAYLAND_DISPLAY is set; "
                "write a file instead: --sink FILE.mp4"
            )
        super().open()

    def launch(self, size: tuple[int, int]) -> str:
        """Whatever display there is."""
        require("autovideosink", "gstreamer1.0-plugins-good")
        return "videoconvert ! autovideosink sync=false"


class MaskVideoSink(VideoSink):
    """Class ids as lossless grey video; a frame without a mask is all `ignore_index`."""

    raw_format = "GRAY8"
    least_side = 2
    interpolation = cv2.INTER_NEAREST_EXACT

    def __init__(
        self,
        label: str,
        path: Path | None,
        ignore_index: int,
        fps: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__(label, path, fps)
        self._ignore_index = ignore_index
        self._masks = FrameMasks()

    def picture(self, result: Result) -> NDArray[np.uint8]:
        """The mask at the size of the frame, (height, width) uint8."""
        mask = self._masks.of(result)
        if mask is None:
            return np.full(result.geometry.frame, self._ignore_index, np.uint8)
        return mask

    def launch(self, size: tuple[int, int]) -> str:
        """FFV1 in Matroska."""
        require("matroskamux", "gstreamer1.0-plugins-good")
        return f"{ffv1_launch()} ! matroskamux"


def overlay(spec: SinkSpec, context: SinkContext) -> OverlaySink:
    """The sink ``FILE.mp4`` or ``FILE.mkv``."""
    return OverlaySink(spec.text, spec.path, context.labels, context.fps)


def window(spec: SinkSpec, context: SinkContext) -> WindowSink:
    """The sink ``window``."""
    return WindowSink(spec.text, context.labels)


def mask_video(spec: SinkSpec, context: SinkContext) -> MaskVideoSink:
    """The sink ``maskvideo:FILE.mkv``."""
    return MaskVideoSink(spec.text, spec.path, context.labels.ignore_index, context.fps)


def even_size(size: tuple[int, ...], least: int) -> tuple[int, int]:
    """(height, width) rounded down to even numbers, which encoders want; at least `least`."""
    height, width = (max(side // 2 * 2, least) for side in size)
    return height, width


def fit(
    picture: NDArray[np.uint8], size: tuple[int, int], interpolation: int = cv2.INTER_LINEAR
) -> NDArray[np.uint8]:
    """A picture at the (height, width) of a stream: an odd row or column is cut, others scaled."""
    height, width = size
    if 0 <= picture.shape[0] - height <= 1 and 0 <= picture.shape[1] - width <= 1:
        return picture[:height, :width]
    scaled: NDArray[np.uint8] = cv2.resize(
        picture, (width, height), interpolation=interpolation
    ).astype(np.uint8, copy=False)
    return scaled
