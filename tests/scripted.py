"""Deterministic stand-ins for the outside world of the loop: a clock, a camera and an engine.

Nothing sleeps: time passes only when a camera waits or an engine computes. The frame number is
painted into the picture and comes back as the mask, so that a mask can be matched to its frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_runtime.artifacts import CreatedBy, Manifest, Preprocess, TensorSpec
from edge_runtime.errors import BackendError, SourceError
from edge_runtime.labels import LabelSet
from edge_runtime.video import Frame, SourceCounters, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_runtime.backends.base import EngineStamps

MS = 1_000_000
SIZE = (4, 6)
"""(height, width) of the network input; frames are twice as large."""
LABELS = LabelSet("scripted", ("a", "b", "c"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))


class FakeClock:
    """CLOCK_MONOTONIC nanoseconds that pass when told to."""

    def __init__(self, now_ns: int = 5_000 * MS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def pass_ms(self, duration_ms: float) -> None:
        self.now_ns += round(duration_ms * MS)

    def pass_until(self, then_ns: int) -> None:
        self.now_ns = max(self.now_ns, then_ns)


def scripted_manifest(head: Literal["mask", "logits"] = "mask") -> Manifest:
    height, width = SIZE
    output = (
        TensorSpec("mask", (1, height, width), "uint8")
        if head == "mask"
        else TensorSpec("logits", (1, len(LABELS), height, width), "float32")
    )
    return Manifest(
        kind="onnx",
        name="scripted",
        sha256="0" * 64,
        created_by=CreatedBy("test", "0"),
        labels=LABELS,
        preprocess=Preprocess((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        inputs=(TensorSpec("frame", (1, height, width, 3), "uint8"),),
        outputs=(output,),
        head=head,
    )


@dataclass
class ScriptedBackend:
    """An engine that takes a programmed time and copies the first channel to the mask."""

    clock: FakeClock
    infer_ms: float | list[float] = 10.0
    """One time for all frames, or one per frame; the last one stays."""
    copies_ms: float = 0.0
    """Duration of each device copy; 0 is an engine without them."""
    fail_at: int | None = None
    """Number of the inference, from 0, that fails."""
    manifest: Manifest = field(default_factory=scripted_manifest)
    name: str = "scripted 1.0"

    def __post_init__(self) -> None:
        self.has_device_copies = self.copies_ms > 0
        self.inputs, self.outputs = self.manifest.inputs, self.manifest.outputs
        self.feeds: dict[str, NDArray[Any]] = {}
        self.fetches: dict[str, NDArray[Any]] = {}
        self.calls = 0

    def __enter__(self) -> ScriptedBackend:
        self.feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.inputs}
        self.fetches = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.feeds, self.fetches = {}, {}

    def infer(self, stamps: EngineStamps) -> None:
        if self.calls == self.fail_at:
            raise BackendError("the scripted engine failed")
        times = self.infer_ms if isinstance(self.infer_ms, list) else [self.infer_ms]
        duration_ms = times[min(self.calls, len(times) - 1)]
        self.calls += 1
        stamps.start_ns = self.clock()
        self.clock.pass_ms(self.copies_ms)
        stamps.h2d_end_ns = self.clock()
        self.clock.pass_ms(duration_ms)
        channel = self.feeds["frame"][0, :, :, 0]
        if "mask" in self.fetches:
            self.fetches["mask"][0] = channel
        else:
            classes = np.arange(self.fetches["logits"].shape[1])[:, None, None]
            self.fetches["logits"][0] = channel[None] == classes
        stamps.infer_end_ns = self.clock()
        self.clock.pass_ms(self.copies_ms)
        stamps.d2h_end_ns = self.clock()


@dataclass
class Shot:
    """One frame a scripted camera is going to take."""

    at_ns: int
    index: int
    decode_ms: float = 2.0


@dataclass
class ScriptedSource:
    """A camera or file on the fake clock.

    A live source takes frames at their times whether or not anybody reads them; with `latest` it
    keeps the newest only. A file has each frame ready as soon as it is asked for.
    """

    clock: FakeClock
    count: int = 100
    fps: float = 30.0
    live: bool = True
    latest: bool = True
    gaps: tuple[int, ...] = ()
    """Indices that the camera numbers but never delivers."""
    pauses_ms: dict[int, float] = field(default_factory=dict)
    """Silence before the frame of this index."""
    pts_jumps_ms: dict[int, float] = field(default_factory=dict)
    arrival_ms: float = 0.0
    """From capture to arrival; above 0 the source tells capture times (``driver``)."""
    fail_after: int | None = None
    """Fails after so many frames were read."""
    with_picture: bool = False

    def __post_init__(self) -> None:
        self._counters = SourceCounters()
        self._shots = self._plan()
        self._next = next(self._shots, None)
        self._read = 0
        self.closed = False

    def _plan(self) -> Iterator[Shot]:
        at_ns = self.clock()
        for index in range(self.count):
            at_ns += round(1e9 / self.fps + self.pauses_ms.get(index, 0.0) * MS)
            if index in self.gaps:
                self._counters.source_gap += 1
                continue
            yield Shot(at_ns, index)

    @property
    def info(self) -> SourceInfo:
        clock: Literal["driver", "arrival", "file"] = "driver" if self.arrival_ms else "arrival"
        size = (2 * SIZE[0], 2 * SIZE[1])
        return SourceInfo(
            "scripted:", self.live, size, self.fps, "video/x-raw", clock if self.live else "file"
        )

    @property
    def counters(self) -> SourceCounters:
        return self._counters

    @property
    def ended(self) -> bool:
        return self._next is None

    def __enter__(self) -> ScriptedSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.closed = True

    def read(self, timeout_s: float) -> Frame | None:
        if self._read == self.fail_after:
            raise SourceError("the scripted camera is gone")
        if self._next is None:
            return None
        shot = self._wait(timeout_s) if self.live else self._take()
        if shot is None:
            return None
        self._read += 1
        return self._frame(shot)

    def _wait(self, timeout_s: float) -> Shot | None:
        assert self._next is not None
        latest_ns = self.clock() + round(timeout_s * 1e9)
        if self._ready_ns(self._next) > latest_ns:
            self.clock.pass_until(latest_ns)
            return None
        self.clock.pass_until(self._ready_ns(self._next))
        shot = self._take()
        while self.latest and self._next and self._ready_ns(self._next) <= self.clock():
            self._counters.dropped_queue += 1
            shot = self._take()
        return shot

    def _take(self) -> Shot:
        assert self._next is not None
        shot, self._next = self._next, next(self._shots, None)
        self._counters.captured += 1
        return shot

    def _ready_ns(self, shot: Shot) -> int:
        return shot.at_ns + round((self.arrival_ms + shot.decode_ms) * MS)

    def _frame(self, shot: Shot) -> Frame:
        height, width = SIZE
        now = self.clock()
        capture = shot.at_ns if self.live else now
        arrival = capture + round(self.arrival_ms * MS) if self.live else now
        picture = None
        if self.with_picture:
            picture = np.full((2 * height, 2 * width, 3), shot.index % 256, np.uint8)
        jump_ms = sum(ms for index, ms in self.pts_jumps_ms.items() if index <= shot.index)
        return Frame(
            index=shot.index,
            pts_ns=round(shot.index * 1e9 / self.fps + jump_ms * MS),
            image=np.full((height, width, 3), shot.index % 256, np.uint8),
            size=(2 * height, 2 * width),
            capture_ns=capture,
            arrival_ns=arrival,
            ready_ns=self._ready_ns(shot) if self.live else now,
            dequeue_ns=now,
            picture=picture,
            name=None,
        )


def write_identity_onnx(path: Path, size: tuple[int, int]) -> Manifest:
    """Write a real ONNX model whose mask is the frame's first channel; gives its manifest."""
    import onnx
    from onnx import TensorProto, helper

    height, width = size
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, (1, height, width, 3))
    mask = helper.make_tensor_value_info("mask", TensorProto.UINT8, (1, height, width))
    index = helper.make_tensor("first", TensorProto.INT64, (), (0,))
    node = helper.make_node("Gather", ["frame", "first"], ["mask"], axis=3)
    graph = helper.make_graph([node], "identity", [frame], [mask], [index])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test"
    )
    onnx.save(model, path)
    return Manifest(
        kind="onnx",
        name="identity",
        sha256="",
        created_by=CreatedBy("test", "0"),
        labels=LABELS,
        preprocess=Preprocess((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        inputs=(TensorSpec("frame", (1, height, width, 3), "uint8"),),
        outputs=(TensorSpec("mask", (1, height, width), "uint8"),),
        head="mask",
    )
