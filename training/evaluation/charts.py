"""Charts of evaluations and runs, drawn by matplotlib (the extra 'reports').

Only its figures are used, never pyplot, which keeps global state and looks for a display.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from edge_runtime.artifacts import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.metrics import ConfusionMatrix

_NUMBERED = 32
"""Classes up to which the cells of a confusion matrix are numbered."""


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, complete or not at all.

    Raises:
        OptionError: the place cannot be written.
    """
    with atomic_file(path) as aside:
        figure.savefig(aside, format="png", dpi=100)


def draw_confusion(path: Path, matrix: ConfusionMatrix, title: str) -> None:
    """Write a confusion matrix as a PNG: each row is a labelled class, in shares of its pixels.

    Args:
        path: where.
        matrix: the counts.
        title: over the chart.

    Raises:
        OptionError: the place cannot be written.
    """
    names, counts = matrix.labels.names, matrix.counts
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = 3 + 0.45 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    axes.set_title(f"{title}\n% of the pixels of each labelled class")
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    if len(names) <= _NUMBERED:
        for row, column in np.argwhere(shares >= 0.005):
            share = shares[row, column]
            axes.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8,
                color="white" if share > 0.5 else "black",
            )  # fmt: skip
    save_png(figure, path)
