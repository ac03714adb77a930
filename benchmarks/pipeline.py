"""The pipeline under policy `every` against the bare ONNX Runtime loop, same frames and graph.

The bare loop runs the backend of the pipeline on frames that were decoded and scaled beforehand and
lie in memory: the fastest any pipeline around that engine could be.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import report, summary
from edge_runtime import RunOptions, run
from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.sources import open_source
from edge_runtime.video import SourceRequest
from edge_runtime.zoo import resolve_model


def main() -> None:
    """Interleave rounds of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("video")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    path = resolve_model(options.model)
    manifest = read_manifest(path)
    request = SourceRequest(manifest.input_size, manifest.preprocess.resize)
    frames = []
    with open_source(options.video, request) as source:
        while (frame := source.read(1.0)) is not None or not source.ended:
            if frame is not None:
                frames.append(np.array(frame.image))
    pipeline, bare = [], []
    for _ in range(options.rounds):
        pipeline.append(pipeline_fps(options))
        bare.append(bare_fps(path, manifest, frames, options.threads))
    shares = [one / other for one, other in zip(pipeline, bare, strict=True)]
    report(
        {
            "model": manifest.name,
            "frames": len(frames),
            "pipeline_fps": summary(pipeline),
            "bare_loop_fps": summary(bare),
            "pipeline_over_bare": summary(shares),
        },
        options.json,
    )


def pipeline_fps(options: argparse.Namespace) -> float:
    """Results per second between the first and the last publication."""
    stamps: list[int] = []
    run(
        options.model,
        options.video,
        RunOptions(policy="every", quiet=True, threads=options.threads),
        on_result=lambda _: stamps.append(time.monotonic_ns()),
    )
    return (len(stamps) - 1) / (stamps[-1] - stamps[0]) * 1e9


def bare_fps(path: Path, manifest: Any, frames: list[Any], threads: int | None) -> float:
    """Inferences per second between the end of the first and of the last."""
    stamps = EngineStamps()
    with open_backend(path, manifest, threads=threads) as backend:
        feed = backend.feeds[manifest.inputs[0].name][0]
        first = 0
        for frame in frames:
            np.copyto(feed, frame)
            backend.infer(stamps)
            first = first or stamps.infer_end_ns
    return (len(frames) - 1) / (stamps.infer_end_ns - first) * 1e9


if __name__ == "__main__":
    main()
