"""Render the street-scene data set the demo's model is trained on.

    .venv/bin/python scripts/make_street_data.py FOLDER [SEEDS]

Writes train, val and test splits of disjoint seeds in the layout ``folder:FOLDER`` reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_runtime.street import write_dataset


def main() -> None:
    """Render and say what was written."""
    parser = argparse.ArgumentParser(
        description="Render the street-scene data set the demo's model is trained on."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("seeds", type=int, nargs="?", default=240, metavar="SEEDS")
    given = parser.parse_args()
    folder, seeds = given.folder, given.seeds
    counts = write_dataset(folder, seeds=range(seeds), frames_per_seed=6, stride=45)
    print(folder, counts)


if __name__ == "__main__":
    main()
