"""Age of the masks of several live cameras on one network, with and without a faulty one.

The promise: for each camera p99 age <= service time + 2 frame intervals, and a fault of one camera
changes nothing for the others. Age is from capture to publication; service time is what one frame
costs from its turn to its publication. Runs without and with the fault alternate.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paired import report, summary
from edge_runtime import RigOptions, RunOptions, run_many

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.rig.report import RigReport

WARMUP_S = 3.0
FAULTY = "camera1"


@dataclass(frozen=True)
class Played:
    """One run."""

    report: RigReport
    ages_ms: dict[str, NDArray[np.float64]]
    """By camera, after the warm-up."""


def main() -> None:
    """Run the cameras in turns, once without and once with the fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--size", default="360x640", help="height and width of the pictures")
    parser.add_argument(
        "--fault", default="stall@5+3", help="schedule of the first camera's faults"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pairs = [
        (play(options, fault=None), play(options, options.fault)) for _ in range(options.rounds)
    ]
    report(figures(pairs, options.fps), options.json)


def play(options: argparse.Namespace, fault: str | None) -> Played:
    """One run of all cameras."""
    camera = f"test:bars?fps={options.fps:g}&size={options.size}"
    named = {f"camera{number}": camera for number in range(1, options.cameras + 1)}
    if fault is not None:
        named[FAULTY] = f"fault:{fault}:{camera}"
    with tempfile.TemporaryDirectory() as folder:
        run = RunOptions(
            policy="latest",
            duration_s=options.seconds,
            frames_log=Path(folder) / "{camera}.jsonl",
            threads=options.threads,
            quiet=True,
        )
        outcome = run_many(options.model, named, RigOptions(run))
        ages = {name: read_ages(Path(folder) / f"{name}.jsonl") for name in named}
    return Played(outcome, ages)


def read_ages(log: Path) -> NDArray[np.float64]:
    """Ages of one camera's results in ms, after the first seconds."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    done = [row for row in rows if row["latency_ms"] is not None]
    time_s = np.array([row["t_publish"] for row in done]) * 1e-9
    ages = np.array([row["latency_ms"]["result"] for row in done])
    return ages[time_s - time_s[0] > WARMUP_S]


def figures(pairs: list[tuple[Played, Played]], fps: float) -> dict[str, Any]:
    """Ages by camera and kind of run, the bound, and the paired change of the good cameras."""
    kinds = dict(zip(("well", "faulty"), zip(*pairs, strict=True), strict=True))
    service = {
        kind: float(np.median([run.report.engine.service_ms.p50 for run in runs]))
        for kind, runs in kinds.items()
    }
    bound_ms = {kind: value + 2 * 1000.0 / fps for kind, value in service.items()}
    good = [name for name in pairs[0][0].ages_ms if name != FAULTY]
    change = [
        percentile(ill.ages_ms[name], 99) - percentile(well.ages_ms[name], 99)
        for well, ill in pairs
        for name in good
    ]
    return {
        "service_p50_ms": service,
        "bound_ms": bound_ms,
        "utilisation": {
            kind: [run.report.engine.utilisation for run in runs] for kind, runs in kinds.items()
        },
        "cameras": {
            kind: {
                name: age_figures([run.ages_ms[name] for run in runs], bound_ms[kind])
                for name in pairs[0][0].ages_ms
            }
            for kind, runs in kinds.items()
        },
        "outages_of_faulty": [run.report.camera(FAULTY).outages.count for _, run in pairs],
        "p99_change_of_good_cameras_ms": summary(change),
    }


def age_figures(runs: list[NDArray[np.float64]], bound_ms: float) -> dict[str, Any]:
    """One camera's ages over all runs of a kind."""
    ages = np.concatenate(runs)
    p99 = percentile(ages, 99)
    return {
        "results": len(ages),
        "p50_ms": percentile(ages, 50),
        "p99_ms": p99,
        "max_ms": float(ages.max()),
        "p99_within_bound": p99 <= bound_ms,
    }


def percentile(ages: NDArray[np.float64], rank: float) -> float:
    """The nearest-rank percentile."""
    return float(np.percentile(ages, rank, method="inverted_cdf"))


if __name__ == "__main__":
    main()
