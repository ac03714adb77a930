"""How long a user waits: for the import, for `hyperseg --help`, and for a video's first mask."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.paired import interleaved, report, summary

FIRST_MASK = """
import sys, time
from edge_runtime import RunOptions, run
def stop(result):
    print(time.monotonic_ns())
    raise SystemExit
run(sys.argv[1], sys.argv[2], RunOptions(quiet=True), on_result=stop)
"""


def main() -> None:
    """Time fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("video")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout

    bare, imported, help_text = interleaved(
        [
            lambda: python("-c", "pass"),
            lambda: python("-c", "import edge_runtime"),
            lambda: python("-m", "edge_runtime.cli", "--help"),
        ],
        options.rounds,
    )
    first = []
    for _ in range(options.rounds):
        start = time.monotonic_ns()
        first.append((int(python("-c", FIRST_MASK, options.model, options.video)) - start) * 1e-6)
    report(
        {
            "python_ms": summary(bare),
            "import_edge_runtime_ms": summary(
                [one - other for one, other in zip(imported, bare, strict=True)]
            ),
            "help_ms": summary(help_text),
            "first_mask_ms": summary(first),
        },
        options.json,
    )


if __name__ == "__main__":
    main()
