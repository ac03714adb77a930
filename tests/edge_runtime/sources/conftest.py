"""Material for the sources: numbered pictures, clips made of them by GStreamer, an RTSP server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.sources import open_source
from edge_runtime.video import SourceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_runtime.video import Frame

BITS = 8


def paint_number(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A (height, width, 3) picture that shows `number` as black and white columns."""
    height, width = size
    bits = (number >> np.arange(BITS)) & 1
    columns = np.repeat(bits, width // BITS).astype(np.uint8) * 255
    return np.ascontiguousarray(np.broadcast_to(columns[None, :, None], (height, width, 3)))


def read_number(image: NDArray[np.uint8]) -> int:
    """The number shown in a picture, whatever became of its size."""
    width = image.shape[1]
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return int(((image[image.shape[0] // 2, centres].mean(axis=-1) > 127) << np.arange(BITS)).sum())


ReadAll = Callable[[object, SourceRequest], "list[Frame]"]
Record = Callable[..., Path]


@pytest.fixture(name="read_number")
def _read_number() -> Callable[[NDArray[np.uint8]], int]:
    return read_number


@pytest.fixture(name="paint_number")
def _paint_number() -> Callable[[int, tuple[int, int]], NDArray[np.uint8]]:
    return paint_number


@pytest.fixture
def read_all() -> ReadAll:
    """Every frame of a source, with images copied so that they outlive it."""

    def read(text: object, request: SourceRequest) -> list[Frame]:
        frames = []
        with open_source(str(text), request) as source:
            while not source.ended:
                frame = source.read(5.0)
                assert frame is not None or source.ended, "the source stalls"
                if frame is not None:
                    frame.image = frame.image.copy()
                    frames.append(frame)
        return frames

    return read


@pytest.fixture(scope="session")
def record() -> Record:
    """Writes H.264 clips whose frames show their number."""
    pytest.importorskip("gi")
    from edge_runtime.gst import Gst, has_element

    if not has_element("openh264enc"):
        pytest.skip("no openh264enc: apt-get install gstreamer1.0-plugins-bad")

    def write(
        path: Path,
        *,
        frames: int = 12,
        size: tuple[int, int] = (96, 160),
        mux: str = "mp4mux",
        audio: bool = False,
        pixel_aspect_ratio: str = "1/1",
    ) -> Path:
        sound = "audiotestsrc num-buffers=20 ! audioconvert ! avenc_aac ! m. " if audio else ""
        # The sound comes first, so that a source that takes the first stream would fail.
        pipeline = Gst.parse_launch(
            f"{mux} name=m ! filesink name=file {sound} appsrc name=pictures format=time "
            f"! videoconvert ! openh264enc complexity=low ! h264parse ! m."
        )
        pipeline.get_by_name("file").set_property("location", str(path))
        _push(pipeline, frames, size, pixel_aspect_ratio)
        return path

    return write


def _push(pipeline: Any, frames: int, size: tuple[int, int], pixel_aspect_ratio: str) -> None:
    from edge_runtime.gst import Gst

    height, width = size
    pictures = pipeline.get_by_name("pictures")
    pictures.set_property(
        "caps",
        Gst.Caps.from_string(
            f"video/x-raw,format=BGR,height={height},width={width},framerate=25/1,"
            f"pixel-aspect-ratio={pixel_aspect_ratio}"
        ),
    )
    pipeline.set_state(Gst.State.PLAYING)
    for number in range(frames):
        buffer = Gst.Buffer.new_wrapped(paint_number(number, size).tobytes())
        buffer.pts, buffer.duration = number * 40 * Gst.MSECOND, 40 * Gst.MSECOND
        pictures.push_buffer(buffer)
    pictures.end_of_stream()
    message = pipeline.get_bus().timed_pop_filtered(
        20 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR
    )
    pipeline.set_state(Gst.State.NULL)
    assert message is not None
    assert message.type == Gst.MessageType.EOS, message.parse_error()


@pytest.fixture(scope="session")
def clip(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 40 numbered frames, (96, 160) pixels, 25 frames a second."""
    return record(tmp_path_factory.mktemp("clips") / "numbers.mp4", frames=40)


@pytest.fixture
def real_clip() -> Iterator[Path]:
    """A dashcam clip of 221 frames, where it is present beside the repository."""
    repository = Path(__file__).resolve().parents[3]
    path = repository.parent / "shared/data/video/udacity_solidWhiteRight_960x540_25fps.mp4"
    if not path.is_file():
        pytest.skip(f"{path.name} is not present")
    return path
