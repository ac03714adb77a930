"""Which way frames take while the zero-copy bridge is compared, trusted, failing or refused.

The pipeline is the real one with a desktop converter and system memory in place of Jetson's. The
bridge is one over system memory: it shows when a bridge is used, and nothing about CUDA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.nvmm.base import BridgeError
from edge_runtime.nvmm.trust import CHECKS, FAILURES, Trust
from edge_runtime.sources import open_source
from edge_runtime.video import Frame, SourceRequest

if TYPE_CHECKING:
    from edge_runtime.nvmm.base import DeviceFeed, Place

pytestmark = pytest.mark.gst

NETWORK = (16, 48)
CONTENT = (0, 8, 16, 32)
"""Where a frame twice as wide as high lies in it."""
FRAMES = 14


class MemorySurface:
    """A frame in system memory."""

    def __init__(self, picture: np.ndarray) -> None:
        self._picture = picture

    def picture(self) -> np.ndarray:
        return self._picture

    def write_to(self, feed: DeviceFeed) -> None:
        raise AssertionError("nothing here has a device")


class MemoryBridge:
    """Carries RGBA frames of system memory; fails on, or shifts, the frames it is told to."""

    def __init__(self, *, fail: tuple[int, ...] = (), wrong: tuple[int, ...] = ()) -> None:
        self.said: list[str] = []
        self.trust = Trust(self.said.append)
        self.carried = 0
        self.forgotten = 0
        self._fail, self._wrong = fail, wrong

    def surface(self, buffer: Any, place: Place) -> MemorySurface:
        from edge_runtime.gst import Gst

        number = self.carried
        self.carried += 1
        if number in self._fail:
            raise BridgeError("it was told to")
        top, left, height, width = place.content
        assert place.content == CONTENT
        done, memory = buffer.map(Gst.MapFlags.READ)
        assert done
        rgba = np.frombuffer(memory.data, np.uint8).reshape(height, width, 4).copy()
        buffer.unmap(memory)
        picture = np.zeros((*place.network, 3), np.uint8)
        picture[top : top + height, left : left + width] = rgba[:, :, :3]
        return MemorySurface(np.roll(picture, number in self._wrong, axis=1))

    def forget(self) -> None:
        self.forgotten += 1
        self.trust.restart()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads all frames of a pattern through a bridge."""
    from edge_runtime.gst import has_element
    from edge_runtime.sources import opening, placement, tail

    if not has_element("videoconvertscale"):
        pytest.skip("no videoconvertscale before GStreamer 1.22")

    def stand_in(request: SourceRequest, *_: object, **__: object) -> str:
        return tail._surface_tail(request, "videoconvertscale").replace("(memory:NVMM)", "")

    monkeypatch.setattr(opening, "tail_launch", stand_in)
    monkeypatch.setattr(placement, "fit_caps", lambda *_, **__: "video/x-raw,format=RGBA")

    def through(bridge: MemoryBridge) -> list[Frame]:
        request = SourceRequest(
            NETWORK, resize="letterbox", latest=False, with_picture=True, bridge=bridge
        )
        frames = []
        text = f"test:bars?size=32x64&frames={FRAMES}&fps=100"
        with open_source(text, request) as source:
            while not source.ended:
                if (frame := source.read(5.0)) is not None:
                    frame.image = frame.image.copy()
                    frames.append(frame)
        counters = source.counters
        assert counters.captured == FRAMES == len(frames) + counters.dropped_queue
        assert all(frame.picture is not None for frame in frames)
        assert bridge.forgotten == 1
        return frames

    return through


def ways(frames: list[Frame]) -> str:
    """One letter per frame: (d)efault or (s)urface."""
    return "".join("d" if frame.surface is None else "s" for frame in frames)


def test_frames_take_the_bridge_once_its_pictures_were_right(read: Any) -> None:
    bridge = MemoryBridge()

    frames = read(bridge)

    assert ways(frames) == "d" * CHECKS + "s" * (FRAMES - CHECKS)
    assert bridge.said == []
    default, carried = frames[0], frames[-1]
    np.testing.assert_allclose(carried.surface.picture(), default.image, atol=2)
    assert carried.image.size == 0
    assert (default.copies.checked_frames, default.copies.device_to_host_copies) == (1, 1)
    assert carried.copies.host_pixel_maps == 1, "of the full picture alone"
    assert carried.copies.checked_frames == carried.copies.device_to_host_copies == 0


def test_a_wrong_picture_is_never_handed_on(read: Any) -> None:
    bridge = MemoryBridge(wrong=(1,))

    frames = read(bridge)

    assert ways(frames) == "d" * FRAMES
    assert len(bridge.said) == 1
    assert "differs from the default one" in bridge.said[0]
    assert bridge.carried == 2, "asked for no frame after that"
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame.image, frames[0].image)


def test_a_frame_that_fails_later_is_lost_and_the_bridge_compared_anew(read: Any) -> None:
    bridge = MemoryBridge(fail=(CHECKS + 1,))

    frames = read(bridge)

    taken = ways(frames)
    assert taken.startswith("d" * CHECKS + "s" + "d" * CHECKS)
    assert len(frames) < FRAMES
    assert bridge.said == []
    assert all((frame.surface is None) == (frame.image.size > 0) for frame in frames)


def test_a_bridge_that_keeps_failing_is_given_up(read: Any) -> None:
    bridge = MemoryBridge(fail=tuple(range(FRAMES)))

    frames = read(bridge)

    assert ways(frames) == "d" * FRAMES
    assert bridge.carried == FAILURES
    assert len(bridge.said) == 1
    assert "it was told to" in bridge.said[0]
