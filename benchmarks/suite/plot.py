"""The history as one picture: each figure over the runs with its spread, and mIoU by latency.

Drawn by matplotlib (the extra 'reports'), of which only figures are used, never pyplot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.artifacts import atomic_file
from edge_runtime.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.suite.history import Run

FORMATS = {".png": "png", ".svg": "svg"}
COLUMNS = 4
COMMIT_DIGITS = 7
ACCURACY = "mIoU"
"""Unit of what is drawn beside latency, and not over time."""
SCATTER_ROWS = 2
"""Height of the scatter, in rows of the others."""


@dataclass(frozen=True)
class Point:
    """One figure of one run."""

    run: int
    """Its place in the history."""
    unit: str
    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Model:
    """Speed and accuracy of one model."""

    name: str
    data: str
    """What its mIoU was measured on."""
    miou: float
    milliseconds: float


Series = dict[str, dict[str, list[Point]]]
"""Points of each figure, by its name and the machine and length of the run."""


def draw(runs: Sequence[Run], target: Path) -> None:
    """Draw a history, complete or not at all.

    Args:
        runs: of `history.read`, oldest first, at least one.
        target: ``.png`` or ``.svg``.

    Raises:
        DependencyError: matplotlib is not installed.
        OptionError: another kind of file, no figures at all, or the place cannot be written.
    """
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise OptionError(f"cannot draw {target}: expected a name that ends in .png or .svg")
    found, models = series(runs), latest_models(runs)
    if not found:
        raise OptionError(
            "no run of the history has a figure; `python -m benchmarks` measures some"
        )
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"drawing needs {error.name}: pip install 'hyperseg-edge[reports]'"
        ) from error
    rows = -(-len(found) // COLUMNS)
    top = SCATTER_ROWS if models else 0
    figure = Figure(figsize=(4.5 * COLUMNS, 2.4 * (rows + top)), layout="constrained")
    grid = figure.add_gridspec(rows + top, COLUMNS)
    if models:
        _scatter(figure.add_subplot(grid[:top, :]), models)
    for number, (name, by_machine) in enumerate(found.items()):
        place = grid[top + number // COLUMNS, number % COLUMNS]
        _course(figure.add_subplot(place), name, by_machine, _labels(runs))
    with atomic_file(target) as aside:
        figure.savefig(aside, format=kind, dpi=80)


def series(runs: Sequence[Run]) -> Series:
    """All points of all figures that are times or memory or shares, part by part."""
    found: Series = {}
    for number, run in enumerate(runs):
        where = f"{run.machine.cpu}, {run.mode}"
        for part, outcome in run.parts.items():
            for name, figure in outcome.figures.items():
                if figure.unit != ACCURACY:
                    points = found.setdefault(f"{part}: {name}", {}).setdefault(where, [])
                    points.append(Point(number, figure.unit, figure.median, figure.min, figure.max))
    # Sorting is stable: figures of a part stay in the order in which they first appeared.
    parts = list(dict.fromkeys(name.partition(":")[0] for name in found))
    return dict(sorted(found.items(), key=lambda item: parts.index(item[0].partition(":")[0])))


def latest_models(runs: Sequence[Run]) -> list[Model]:
    """Models with an mIoU, of the newest run that measured any."""
    for run in reversed(runs):
        figures = run.parts["models"].figures if "models" in run.parts else {}
        found = []
        for key, figure in figures.items():
            name, part, data = (*key.split("/", 2), "", "")[:3]
            latency = figures.get(f"{name}/milliseconds")
            if part == "miou" and latency is not None:
                found.append(Model(name, data, figure.median, latency.median))
        if found:
            return found
    return []


def _labels(runs: Sequence[Run]) -> list[str]:
    """Day and commit of each run; a star where the code had been changed."""
    labels = []
    for run in runs:
        commit = (run.commit or "")[:COMMIT_DIGITS]
        labels.append(f"{run.date[5:10]} {commit}{'*' if run.changed else ''}")
    return labels


def _course(
    axes: Axes, name: str, by_machine: dict[str, list[Point]], labels: Sequence[str]
) -> None:
    for where, points in by_machine.items():
        middles = [point.median for point in points]
        spread = [
            [max(0.0, point.median - point.min) for point in points],
            [max(0.0, point.max - point.median) for point in points],
        ]
        places = [point.run for point in points]
        axes.errorbar(places, middles, yerr=spread, marker="o", capsize=3, label=where)
        axes.set_ylabel(points[-1].unit or "ratio")
    drawn = [point for points in by_machine.values() for point in points]
    shown = sorted({point.run for point in drawn})
    axes.set_xticks(shown, [labels[number] for number in shown], rotation=30, fontsize="xx-small")
    axes.set_title(name, fontsize="small")
    if all(point.min >= 0 for point in drawn):
        axes.set_ylim(0, 1.15 * max(point.max for point in drawn) or 1.0)
    axes.margins(x=0.2)
    axes.grid(alpha=0.3)
    if len(by_machine) > 1:
        axes.legend(fontsize="xx-small")


def _scatter(axes: Axes, models: Sequence[Model]) -> None:
    for data in dict.fromkeys(model.data for model in models):
        chosen = [model for model in models if model.data == data]
        latencies = [model.milliseconds for model in chosen]
        mious = [100 * model.miou for model in chosen]
        axes.plot(latencies, mious, "o", label=data)
        for model, x, y in zip(chosen, latencies, mious, strict=True):
            axes.annotate(model.name, (x, y), xytext=(6, 4), textcoords="offset points")
    axes.set_xlabel("ms, one thread")
    axes.set_ylabel("mIoU %")
    axes.set_xlim(0, 1.15 * max(model.milliseconds for model in models))
    axes.margins(y=0.2)
    axes.set_title("mIoU by latency; figures of different data say nothing of each other")
    axes.grid(alpha=0.3)
    axes.legend()
