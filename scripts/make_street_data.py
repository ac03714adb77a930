"""Render the street-scene data set the demo's model is trained on.

    .venv/bin/python scripts/make_street_data.py FOLDER [SEEDS]

Writes train, val and test splits of disjoint seeds in the layout ``folder:FOLDER`` reads.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_runtime.street import write_dataset


def main() -> None:
    """Render and say what was written."""
    folder = Path(sys.argv[1])
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 240
    counts = write_dataset(folder, seeds=range(seeds), frames_per_seed=6, stride=45)
    print(folder, counts)


if __name__ == "__main__":
    main()
