"""Frames and where they come from: the contract between a source, the loop and the sinks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from edge_runtime.copies import Copies

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.nvmm.base import Bridge, Surface
    from edge_runtime.pixels import YuvFormat

TimestampSource = Literal["sensor", "driver", "ntp", "arrival", "file"]
"""Which clock `Frame.capture_ns` comes from; written beside every latency figure."""


@dataclass
class Frame:
    """One picture on its way. Stamps are CLOCK_MONOTONIC nanoseconds.

    ``capture_ns <= arrival_ns <= ready_ns <= dequeue_ns``; between arrival and ready GStreamer
    decodes, scales and converts, between ready and dequeue the frame waits for its consumer.
    """

    index: int
    """Sequence number at the source, from 0; gaps are frames that were dropped on the way."""
    pts_ns: int | None
    """Presentation time of the stream; 0 is valid, None is a stream without time."""
    image: NDArray[np.uint8]
    """(network height, network width, 3) uint8, in the manifest's colour order; valid until the
    next `read` of its source. For a model that takes YUV the bytes of its input, as
    `edge_runtime.pixels.YuvFormat.rows` says. Empty where there is a `surface`."""
    size: tuple[int, int]
    """(height, width) of the frame before scaling."""
    capture_ns: int
    arrival_ns: int
    ready_ns: int
    dequeue_ns: int
    picture: NDArray[np.uint8] | None = None
    """(height, width, 3) uint8 BGR at full size, owned by the frame; None unless asked for."""
    name: str | None = None
    """File name of an image, without its suffix unless another image differs in that alone."""
    damaged: bool = False
    """Marked by its decoder as incomplete or put together from what was left."""
    surface: Surface | None = None
    """The frame in NVMM memory, instead of `image`; valid as long as that."""
    copies: Copies = field(default_factory=Copies)
    """What its pixels went through so far; who copies them counts it here."""
    timestamp_source: TimestampSource | None = None
    """The clock of its own `capture_ns`: that of its source may be another by the time the frame is
    looked at. None: as `SourceInfo.timestamp_source` says."""


@dataclass
class SourceCounters:
    """Frames by fate, so far; all that was captured but is not counted below is in flight.

    ``captured = read + dropped_queue + damaged + repeated + outage + in flight``
    """

    captured: int = 0
    dropped_queue: int = 0
    damaged: int = 0
    """Marked as damaged by the decoder of a live source, and not handed on."""
    repeated: int = 0
    """Came with the presentation time of the frame before: a source that hangs."""
    outage: int = 0
    """Were under way when their source was lost."""
    source_gap: int = 0
    """Frames the camera numbered but never delivered; not part of `captured`."""

    @property
    def dropped(self) -> int:
        """Captured frames that are never read."""
        return self.dropped_queue + self.damaged + self.repeated + self.outage


@dataclass(frozen=True)
class SourceInfo:
    """What a source turned out to be once it delivered its first frame."""

    uri: str
    """With credentials removed: safe to print and to write into reports."""
    live: bool
    size: tuple[int, int]
    """(height, width) of the first frame."""
    fps_nominal: float | None
    caps: str
    """GStreamer caps of the decoded frames."""
    timestamp_source: TimestampSource
    """Of the newest frame read."""


class Source(Protocol):
    """Delivers frames. A context manager: the camera or file is open between enter and exit."""

    @property
    def info(self) -> SourceInfo:
        """What it is; complete after the first frame was read."""
        ...

    @property
    def counters(self) -> SourceCounters:
        """Frames by fate, so far."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the end of the stream was reached; a live source never ends by itself."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None after `timeout_s` or at the end of the stream.

        Raises:
            SourceError: the source failed: device gone, codec missing, file damaged.
        """
        ...


@dataclass(frozen=True)
class SourceRequest:
    """How frames are wanted."""

    network: tuple[int, int]
    """(height, width) of `Frame.image`."""
    resize: Literal["stretch", "letterbox"] = "stretch"
    color: Literal["RGB", "BGR"] = "RGB"
    yuv: YuvFormat | None = None
    """Deliver these bytes instead of `color`."""
    latest: bool | None = None
    """True drops all but the newest frame; False keeps every frame; None: what suits the source
    (live: newest, file: every)."""
    with_picture: bool = False
    """Also deliver the full-size BGR picture, for overlays."""
    open_timeout_s: float = 10.0
    """How long the first frame may take."""
    bridge: Bridge | None = None
    """Carries frames in NVMM memory to the network without a copy, if it can."""
