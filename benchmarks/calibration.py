"""What calibrating costs in memory and time, by the number of images.

Each number of images is calibrated in a process of its own, as `hyperseg calibrate` does it, from
the folder to the ranges of every method and the INT8 file. The ranges of a smaller number are no
prefix of a larger one's, so nothing is carried over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.paired import report
from edge_runtime.sources.images import images_in
from edge_runtime.zoo import resolve_model

CHILD = """
import json, resource, sys
from pathlib import Path
from calibration.calibrate import calibrate
from calibration.options import CalibrateOptions
from calibration.samples import SampleOptions
made = json.loads(sys.argv[1])
samples = SampleOptions(made["frames"], made["samples"])
outcome = calibrate(
    Path(made["model"]),
    CalibrateOptions(
        Path(made["output"]), samples, method=made["method"], policy=made["policy"],
        rounding=made["rounding"], threads=made["threads"],
    ),
)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_seconds": used.ru_utime + used.ru_stime,
                  "peak_mb": used.ru_maxrss / 1024, "frames": len(outcome.report["samples"]),
                  "ranges_sha256": outcome.report["ranges_sha256"]}))
"""


def gathered(folders: list[Path], target: Path) -> Path:
    """One folder with links to the images of all."""
    target.mkdir()
    for number, folder in enumerate(folders):
        for path in images_in(folder):
            (target / f"{number}-{path.name}").symlink_to(path.resolve())
    return target


def one(options: argparse.Namespace, images: Path, count: int, folder: Path) -> dict[str, Any]:
    """Calibrate on `count` images in a fresh process."""
    made = {
        "model": str(options.model), "frames": str(images), "samples": count,
        "output": str(folder / f"{count}.onnx"), "method": options.method,
        "policy": options.policy, "rounding": options.rounding, "threads": options.threads,
    }  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(made)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["frames"] != count:
        raise SystemExit(
            f"the folders have {found['frames']} distinct images, not {count}: give more"
        )
    return {"seconds": time.perf_counter() - start, **found}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak memory, and what memory grows by from the fewest to the most images."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        images = gathered(options.frames, Path(folder) / "images")
        for count in options.counts:
            rows[count] = one(options, images, count, Path(folder))
            print(f"{count} images: {rows[count]}", file=sys.stderr, flush=True)
    peaks = [row["peak_mb"] for row in rows.values()]
    return {
        "model": options.model.name, "policy": options.policy, "method": options.method,
        "rounding": options.rounding, "threads": options.threads, "images": rows,
        "largest_over_smallest_peak": max(peaks) / min(peaks),
    }  # fmt: skip


def main() -> None:
    """Calibrate on a few, on more and on many images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="FLOAT.onnx, or the name of a shipped model")
    parser.add_argument("--frames", type=Path, nargs="+", required=True, help="folders of images")
    parser.add_argument("--counts", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--policy", default="ort-cpu")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--rounding", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.model = resolve_model(options.model)
    report(measure(options), options.json)


if __name__ == "__main__":
    main()
