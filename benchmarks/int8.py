"""INT8 against float of one model in ONNX Runtime on the CPU, and where the time goes.

Both models take the same frame by turns; the ratio is taken pair by pair. The profile is of a
separate run and says which operators the quantised graph still computes in float.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.paired import interleaved, ratio, report, summary
from edge_runtime.allocator import keep_freed_memory
from edge_runtime.backends.ort import session_options

PROFILED_RUNS, PROFILE_WARMUP = 12, 2


def session(path: Path, threads: int, profile: Path | None = None) -> ort.InferenceSession:
    """As the runtime opens a model; with a profile written to `profile` if wanted."""
    options = session_options(ort, threads)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def milliseconds_by_operator(path: Path, threads: int, frame: Any) -> dict[str, float]:
    """Median time of each kind of operator after ONNX Runtime's fusions, longest first."""
    with tempfile.TemporaryDirectory() as folder:
        profiled = session(path, threads, Path(folder) / "profile")
        name = profiled.get_inputs()[0].name
        for _ in range(PROFILED_RUNS):
            profiled.run(None, {name: frame})
        events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf-8"))
    durations: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["args"]["op_name"], event["name"]].append(event["dur"])
    total: dict[str, float] = defaultdict(float)
    for (kind, _), times in durations.items():
        total[kind] += statistics.median(times[PROFILE_WARMUP:]) / 1e3
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def measure(paths: list[Path], rounds: int, threads: int) -> dict[str, Any]:
    """The first model is what the others are compared with."""
    sessions = [session(path, threads) for path in paths]
    source = sessions[0].get_inputs()[0]
    frame = np.random.default_rng(0).integers(0, 256, source.shape, np.uint8)
    times = interleaved([lambda s=s: s.run(None, {source.name: frame}) for s in sessions], rounds)
    return {
        path.name: {
            "milliseconds": summary(found),
            "over_first": ratio(found, times[0]),
            "milliseconds_by_operator": milliseconds_by_operator(path, threads, frame),
        }
        for path, found in zip(paths, times, strict=True)
    }


def main() -> None:
    """Compare models given as files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help="FLOAT.onnx INT8.onnx...")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    report(measure(options.models, options.rounds, options.threads), options.json)


if __name__ == "__main__":
    main()
