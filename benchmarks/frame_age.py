"""Age of masks when a live camera is faster than the network, under policy `latest`.

The promise: p99 age <= service time + 2 frame intervals, and flat over time. Age is from capture to
publication; service time is what one frame costs from the loop taking it to its publication.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import report
from edge_runtime import RunOptions, run

WARMUP_S = 3.0


def main() -> None:
    """Run a live source for a while."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "frames.jsonl"
        outcome = run(
            options.model,
            f"test:bars?fps={options.fps:g}",
            RunOptions(
                policy="latest",
                duration_s=options.seconds,
                frames_log=log,
                threads=options.threads,
                quiet=True,
            ),
        )
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    report(figures(rows, outcome, options.fps), options.json)


def figures(rows: list[dict[str, Any]], outcome: Any, fps: float) -> dict[str, Any]:
    """Ages and service times of the frames after the first seconds."""
    done = [row for row in rows if row["latency_ms"]["result"] is not None]
    age = np.array([row["latency_ms"]["result"] for row in done])
    stages = [row["latency_ms"]["stages"] for row in done]
    service = np.array(
        [sum(stage[k] or 0.0 for k in ("infer", "postprocess", "publish")) for stage in stages]
    )
    time_s = np.array([row["t_publish"] for row in done]) * 1e-9
    time_s -= time_s[0]
    keep = time_s > WARMUP_S
    age, service, time_s = age[keep], service[keep], time_s[keep]
    interval = 1000.0 / fps
    bound = float(np.percentile(service, 50)) + 2 * interval
    ends = {"first": time_s < WARMUP_S + 10, "last": time_s > time_s[-1] - 10}
    return {
        "frames": {
            "captured": outcome.frames.captured,
            "published": outcome.frames.published,
            "dropped_queue": outcome.frames.dropped.queue,
        },
        "service_ms": {"p50": float(np.percentile(service, 50)), "max": float(service.max())},
        "age_ms": {
            "p50": float(np.percentile(age, 50)),
            "p99": float(np.percentile(age, 99, method="inverted_cdf")),
            "max": float(age.max()),
        },
        "bound_ms": bound,
        "p99_within_bound": bool(np.percentile(age, 99, method="inverted_cdf") <= bound),
        "age_p50_ms_of_10s": {k: float(np.percentile(age[mask], 50)) for k, mask in ends.items()},
    }


if __name__ == "__main__":
    main()
