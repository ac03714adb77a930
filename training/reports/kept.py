"""What the validation of the kept weights showed, kept for the pages that are made later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.page.pictures import colours_of
from training.evaluation.frames import worst_frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_runtime.metrics import ConfusionMatrix
    from training.data.datasets import Dataset
    from training.evaluation.observers import Ranked

KEPT_FILE = "kept.json"


def write_kept(
    run: Path, step: int, dataset: Dataset, matrix: ConfusionMatrix, worst: Sequence[Ranked]
) -> None:
    """Write the file, complete or not at all.

    Args:
        run: its folder.
        step: of the kept weights.
        dataset: what they were validated on.
        matrix: of that validation.
        worst: of that validation, worst first.

    Raises:
        OptionError: the folder cannot be written.
        SourceError: an image cannot be read.
    """
    values = {
        "step": step,
        "dataset": dataset.name,
        "classes": list(dataset.labels.names),
        "colours": colours_of(dataset.labels),
        "confusion": matrix.counts.tolist(),
        "frames": worst_frames(dataset, worst),
    }
    write_text_atomic(run / KEPT_FILE, json.dumps(values) + "\n")


def read_kept(run: Path, step: int | None) -> dict[str, Any] | None:
    """What `write_kept` wrote; None if there is nothing readable of that step."""
    try:
        values = json.loads((run / KEPT_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    wanted = {"step", "dataset", "classes", "colours", "confusion", "frames"}
    if not isinstance(values, dict) or not wanted <= values.keys() or values["step"] != step:
        return None
    return values
