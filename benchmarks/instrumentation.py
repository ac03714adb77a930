"""What recording costs: frames with and without it alternate within one run.

Every other frame is recorded in full (fates, eight stages, four latencies, jitter, live window); of
those between only the fate is kept. The time compared is that from taking a frame to being ready
for the next one. The stamps themselves, a dozen readings of the clock, are taken either way.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.paired import report
from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import open_backend
from edge_runtime.loop import Loop, LoopOptions
from edge_runtime.policy import EVERY
from edge_runtime.recorder import Recorder
from edge_runtime.soak.accelerate import accelerated
from edge_runtime.sources import open_source
from edge_runtime.video import SourceRequest
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from edge_runtime.timing import FrameStamps
    from edge_runtime.video import Frame

WARM_UP_FRAMES = 100


class EveryOther(Recorder):
    """Records while it is told to."""

    records = True

    def published(self, stamps: FrameStamps) -> None:
        """Record a frame, or count it only."""
        if self.records:
            super().published(stamps)
        else:
            self.tally.published += 1


class TimedLoop(Loop):
    """Notes how long each frame takes, with and without its record."""

    def begin(self) -> None:
        """Take the place of the recorder before the first frame."""
        self.recorder = self._every_other = EveryOther()
        self.times_ns: dict[bool, list[int]] = {True: [], False: []}

    def take(self, frame: Frame) -> bool:
        """As the loop does."""
        records = frame.index % 2 == 0
        self._every_other.records = records
        start_ns = time.monotonic_ns()
        taken = super().take(frame)
        self.times_ns[records].append(time.monotonic_ns() - start_ns)
        return taken


def main() -> None:
    """One run over colour bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="street-edge-n")
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    path = resolve_model(options.model)
    manifest = read_manifest(path)
    preprocess = manifest.preprocess
    request = SourceRequest(manifest.input_size, preprocess.resize, preprocess.color, latest=False)
    source = open_source(accelerated(f"test:bars?frames={options.frames}"), request)
    with open_backend(path, manifest, threads=options.threads) as backend, source:
        loop = TimedLoop(backend, source, manifest, LoopOptions(policy=EVERY))
        loop.begin()
        loop.run()
    report(figures(loop.times_ns), options.json)


def figures(times_ns: dict[bool, list[int]]) -> dict[str, Any]:
    """Medians in ms, and the median difference between neighbours as a share."""
    recorded, bare = (times[WARM_UP_FRAMES // 2 :] for times in (times_ns[True], times_ns[False]))
    pairs = min(len(recorded), len(bare))
    cost_ns = median(a - b for a, b in zip(recorded[:pairs], bare[:pairs], strict=True))
    return {
        "pairs": pairs,
        "recorded_ms": median(recorded) * 1e-6,
        "bare_ms": median(bare) * 1e-6,
        "cost_ms": cost_ns * 1e-6,
        "share": cost_ns / median(bare),
    }


if __name__ == "__main__":
    main()
