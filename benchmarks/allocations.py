"""Does the frame loop allocate? Python memory over thousands of frames, and the peak in each.

The whole runtime runs: colour bars through GStreamer, ONNX Runtime, and sinks in their threads.
What is traced is what Python's allocators give out, arrays of numpy and OpenCV among them; memory
inside GStreamer, OpenCV and ONNX Runtime is not, and is what `benchmarks.soak` watches.

The peak of a frame counts from when it is read until the next one is; that of a sink while it takes
a frame. It tells arrays that are made anew for each frame, even if they are gone when it ends.

Left out of the growth is what grows up to a bound, and not with the number of frames: the sketches
that percentiles are read from, with the range of the durations up to 72 kB each
(`edge_runtime.timing`), and the history of latencies, with time up to 120 windows
(`edge_runtime.history`).
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paired import report, summary
from benchmarks.soak import reduced_network
from edge_runtime import recorder
from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import open_backend
from edge_runtime.decode import mask_size
from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import STREET_8
from edge_runtime.loop import LoopOptions
from edge_runtime.policy import EVERY
from edge_runtime.result import Result
from edge_runtime.runner import execute
from edge_runtime.sinks.outlets import make_sink, open_outlets
from edge_runtime.sinks.spec import SinkContext, parse_sink
from edge_runtime.soak.accelerate import accelerated
from edge_runtime.sources import open_source
from edge_runtime.timing import FrameStamps
from edge_runtime.video import SourceRequest
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.video import Frame, Source, SourceCounters, SourceInfo

RUNS = {
    "no sink": (),
    "messages and shared memory": ("jsonl:{folder}/results.jsonl", "shm:{name}"),
    "overlay and mask video": ("{folder}/overlay.mp4", "maskvideo:{folder}/masks.mkv"),
}
"""Sinks of each run. A recording is not among them: it holds a chunk of up to 2 MB on its way."""
SLOW, SLOW_SHARE = "overlay and mask video", 5
"""What encodes gets one frame in so many."""
LIVE_WINDOW = 200
"""Frames that live figures are of in these runs. The 4096 or 10 s of the runtime are more or fewer
frames as the machine is fast, which would show as growth."""
SINKS = (
    "jsonl:{folder}/results.jsonl",
    "shm:{name}",
    "{folder}/overlay.mp4",
    "maskvideo:{folder}/masks.mkv",
    "masks:{folder}/masks",
    "{folder}/recording.mcap",
)
FRAME = (360, 640)
"""(height, width) of the pictures."""
SINK_FRAMES = 30
SHOWN_LINES = 5
FIXED_MEMORY = ("*/ddsketch/*", "*/edge_runtime/history.py")
"""Files whose allocations have a bound of their own."""


@dataclass
class Watch:
    """Looks at Python's memory before each frame is read, when all of the one before is over."""

    settled: int
    """Frames before growth counts, and peaks."""
    frames: int
    """In all."""
    grown_bytes: int = 0
    lines: list[str] = field(default_factory=list)
    """What grew most, and by how much."""
    peaks: list[int] = field(default_factory=list)
    """Bytes above what was allocated before the frame was read, by frame."""
    taken: int = 0
    """Frames read so far."""

    def __post_init__(self) -> None:
        self._seen = self._level = 0

    def look(self) -> None:
        """Take note of the frame that is over, if one is."""
        if self.taken > self._seen:
            self._seen = self.taken
            if self.taken > self.settled:
                self.peaks.append(tracemalloc.get_traced_memory()[1] - self._level)
            if self.taken == self.settled:
                self._before = _snapshot()
            if self.taken == self.frames:
                self._compare(self._before, _snapshot())
        self._level = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()

    def _compare(self, before: tracemalloc.Snapshot, after: tracemalloc.Snapshot) -> None:
        changes = after.compare_to(before, "lineno")
        self.grown_bytes = sum(change.size_diff for change in changes)
        changes.sort(key=lambda change: -change.size_diff)
        self.lines = [
            f"{change.traceback}: {change.size_diff} bytes" for change in changes[:SHOWN_LINES]
        ]


class WatchedSource:
    """A source whose reader looks at the memory first. Implements `edge_runtime.video.Source`."""

    def __init__(self, source: Source, watch: Watch) -> None:
        self._source = source
        self._watch = watch

    @property
    def info(self) -> SourceInfo:
        """Of the source."""
        return self._source.info

    @property
    def counters(self) -> SourceCounters:
        """Of the source."""
        return self._source.counters

    @property
    def ended(self) -> bool:
        """Of the source."""
        return self._source.ended

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def read(self, timeout_s: float) -> Frame | None:
        """As the source reads."""
        self._watch.look()
        frame = self._source.read(timeout_s)
        self._watch.taken += frame is not None
        return frame


def watch(model: Path, sinks: Sequence[str], frames: int, settled: int) -> Watch:
    """Run a model on colour bars of 360x640, and watch the memory.

    Args:
        model: the file.
        sinks: as after ``--sink``.
        frames: in all.
        settled: how many of them come before growth counts.
    """
    manifest = read_manifest(model)
    specs = [parse_sink(text) for text in sinks]
    outlets = open_outlets(
        specs, SinkContext(manifest.labels, mask_size(manifest)), stopping=lambda: False
    )
    preprocess = manifest.preprocess
    request = SourceRequest(
        manifest.input_size,
        preprocess.resize,
        preprocess.color,
        latest=False,
        with_picture=any(spec.wants_picture for spec in specs),
    )
    bars = accelerated(f"test:bars?size=360x640&frames={frames}")
    found = Watch(settled, frames)
    window, recorder.WINDOW_FRAMES = recorder.WINDOW_FRAMES, LIVE_WINDOW
    tracemalloc.start()
    try:
        with open_backend(model, manifest, threads=1) as backend:
            source = WatchedSource(open_source(bars, request), found)
            options = LoopOptions(policy=EVERY, outlets=outlets)
            outcome = execute(backend, source, manifest, options)
    finally:
        tracemalloc.stop()
        recorder.WINDOW_FRAMES = window
    if outcome.failure is not None:
        raise outcome.failure
    return found


def _snapshot() -> tracemalloc.Snapshot:
    gc.collect()
    # What snapshots themselves hold is no growth of the loop.
    left_out = (tracemalloc.__file__, __file__, *FIXED_MEMORY)
    return tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(False, name) for name in left_out]
    )


def sink_peaks(text: str, mask_size: tuple[int, int] = (256, 512)) -> list[int]:
    """Bytes that a sink allocates at most while it takes a frame, of each but the first third.

    In one thread: of what runs beside the loop nobody could say to which frame it belongs.

    Args:
        text: as after ``--sink``.
        mask_size: (height, width) of the masks; the frames are larger, `FRAME`.
    """
    sink = make_sink(parse_sink(text), SinkContext(STREET_8, mask_size))
    # Stripes, which are encoded to next to nothing: what is encoded may be allocated.
    mask = np.zeros(mask_size, np.uint8)
    mask[:] = np.arange(mask_size[1]) * len(STREET_8) // mask_size[1]
    picture = np.full((*FRAME, 3), 128, np.uint8)
    peaks = []
    sink.open()
    tracemalloc.start()
    for index in range(SINK_FRAMES):
        now = time.monotonic_ns()
        result = Result(
            index=index,
            pts_ns=index * 33_000_000,
            state="ok",
            timestamp_source="file",
            capture_ns=now,
            geometry=FrameGeometry(FRAME, mask_size, "stretch"),
            mask=mask,
            picture=picture,
            stamps=FrameStamps(*[now] * 11),
        )
        level = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        sink.consume(result)
        peaks.append(tracemalloc.get_traced_memory()[1] - level)
    tracemalloc.stop()
    sink.close()
    return peaks[SINK_FRAMES // 3 :]


def measure(model: Path, frames: int) -> dict[str, Any]:
    """Growth over runs, and the peaks of the loop and of each kind of sink."""
    growth, peaks = {}, {}
    with tempfile.TemporaryDirectory() as folder:

        def filled(form: str) -> str:
            return form.format(folder=folder, name=Path(folder).name)

        for name, forms in RUNS.items():
            count = frames // SLOW_SHARE if name == SLOW else frames
            found = watch(model, [filled(form) for form in forms], count, count // 2)
            growth[name] = {"frames": count, "bytes": found.grown_bytes, "at": found.lines}
            if not forms:
                peaks["loop"] = summary(found.peaks)
        for form in SINKS:
            peaks[form.replace("{folder}/", "")] = summary(sink_peaks(filled(form)))
    return {"growth": growth, "peak_bytes_of_a_frame": peaks}


def main() -> None:
    """Measure one model, or the reduced one of the soak, with several kinds of sinks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="[default: a small one with random weights]")
    parser.add_argument(
        "--frames",
        type=int,
        default=10_000,
        help="half of them come before growth counts",
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = resolve_model(options.model) if options.model else reduced_network(Path(folder))
        report(measure(model, options.frames), options.json)


if __name__ == "__main__":
    main()
