"""200,000 frames through `hyperseg soak --accelerated`: does memory, a descriptor or latency grow?

The shipped networks take 12 ms a frame on two cores, which would be 40 minutes. So this takes the
layers of `street-n` at 64x128 with random weights: the same graph, engine, pipeline, sinks and
accounting, some 1 ms a frame. What is watched runs in a process of its own, without torch.
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

SIZE = (64, 128)
SOURCE = "test:bars?size=96x192"


def main() -> None:
    """Make the network, run the command, keep its verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for one inference")
    parser.add_argument("--model", type=Path, help="another model than the reduced one")
    parser.add_argument("--soak-report", type=Path, help="also keep all samples (JSON)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = options.model or reduced_network(folder)
        kept = (options.soak_report or folder / "soak.json").absolute()
        began_s = time.monotonic()
        done = subprocess.run(command(model, kept, folder, options), check=False)
        if not kept.exists():
            sys.exit(done.returncode or 1)
        figures = summarise(json.loads(kept.read_text(encoding="utf-8")))
    report({**figures, "wall_s": round(time.monotonic() - began_s, 1)}, options.json)
    sys.exit(done.returncode)


def reduced_network(folder: Path) -> Path:
    """`street-n` at 64x128 with random weights, as an artefact that the runtime takes."""
    # Imported here: another model needs no torch.
    from benchmarks.forms import calibrated
    from benchmarks.graphs import write_model
    from export.to_onnx import to_onnx

    net = calibrated("street-n")
    graph = to_onnx(net, SIZE, "mask")
    return write_model(graph, folder / "reduced.onnx", net.config, "street-n reduced")


def command(model: Path, kept: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    """What a user types, with sinks that write each result to a file and to shared memory."""
    return [
        *(sys.executable, "-m", "edge_runtime.cli", "soak", str(model), SOURCE, "--accelerated"),
        *("--frames", str(options.frames), "--threads", str(options.threads), "--quiet"),
        *("--sink", f"jsonl:{folder / 'results.jsonl'}", "--sink", f"shm:{folder.name}"),
        *("--report", str(kept)),
    ]


def summarise(soaked: dict[str, Any]) -> dict[str, Any]:
    """The verdict without the samples, and how far each quantity ranged after the warm-up."""
    columns = soaked["samples"]["columns"]
    after = [row for row in soaked["samples"]["rows"] if row[0] >= soaked["length"]["warm_up_s"]]
    ranges = {}
    for name in ("rss_mb", "pss_mb", "descriptors", "threads", "python_blocks", "p50_ms", "p99_ms"):
        values = [row[columns.index(name)] for row in after]
        present = [value for value in values if value is not None]
        if present:
            ranges[name] = {
                "first": present[0],
                "last": present[-1],
                "min": min(present),
                "max": max(present),
            }
    frames = (soaked["run"] or {}).get("frames")
    return {
        **{key: soaked[key] for key in ("passed", "ended", "criteria", "length", "failure")},
        "frames": frames,
        "after_warm_up": ranges,
    }


if __name__ == "__main__":
    main()
