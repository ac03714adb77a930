"""Evaluations as tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType


def tables(
    report: Mapping[str, Any], against: Mapping[str, Any] | None = None
) -> Iterator[RenderableType]:
    """What is printed of a report: scores, groups, and what must be known to read them.

    Args:
        report: of `training.evaluation.report.as_json`.
        against: another one to compare with, already found comparable.
    """
    title = f"{report['model']} on {report['dataset']}"
    yield title if report["protocol"] == "public" else f"{title}, protocol {report['protocol']}"
    yield _scores(report, against)
    if "groups" in report:
        yield f"by {report['groups']['by']} of the image names"
        yield _groups(report["groups"])
    absent = [name for name, value in report["iou"].items() if value is None]
    if absent:
        yield ("absent, neither labelled nor predicted, left out of the mean: " + ", ".join(absent))
    sizes = ", ".join(f"{height}x{width}" for height, width in report["label_sizes"][:4])
    part = "" if report["limit"] is None else " (the first of the split)"
    seen = shown_as(report)
    yield f"{report['images']} images{part} scored at {sizes}, {seen}; {report['engine']}"
    if report["left_out"]:
        yield f"left out, unreadable: {', '.join(report['left_out'])}"
    if report["note"]:
        yield f"protocol {report['protocol']}: {report['note']}"


def _scores(report: Mapping[str, Any], against: Mapping[str, Any] | None) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("class", no_wrap=True)
    table.add_column("IoU %", justify="right")
    if against is not None:
        table.add_column(against["model"], justify="right", no_wrap=True)
        table.add_column("change", justify="right")

    def add(name: str, value: float | None, other: float | None, style: str | None) -> None:
        cells = [name, _percent(value)]
        if against is not None:
            both = value is not None and other is not None
            cells += [_percent(other), f"{100 * (value - other):+.2f}" if both else ""]  # type: ignore[operator]  # both are given
        table.add_row(*cells, style=style)

    others = {} if against is None else against["iou"]
    for name, value in report["iou"].items():
        add(name, value, others.get(name), None)
    table.add_section()
    for name, key in (
        ("mIoU", "miou"),
        ("pixel accuracy", "accuracy"),
        ("mean accuracy", "mean_accuracy"),
        ("frequency-weighted IoU", "frequency_weighted"),
    ):
        other = None if against is None else against.get(key)
        add(name, report[key], other, "bold" if key == "miou" else None)
    return table


def _groups(groups: Mapping[str, Any]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("group", no_wrap=True)
    for name in ("images", "mIoU %", "pixel accuracy %"):
        table.add_column(name, justify="right")
    for name, scores in groups["scores"].items():
        table.add_row(
            name, str(scores["images"]), _percent(scores["miou"]), _percent(scores["accuracy"])
        )
    return table


def _percent(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:.2f}"


def shown_as(report: Mapping[str, Any]) -> str:
    """How the network saw the pictures."""
    height, width = report["size"]
    if report["window"] is None:
        seen = f"seen whole at {height}x{width} ({report['resize']})"
    else:
        seen = f"seen in windows of {height}x{width} that overlap by {report['overlap']:g}"
    if report["scales"] != [1.0]:
        seen += ", scales " + " ".join(f"{scale:g}" for scale in report["scales"])
    return seen + (", and mirrored" if report["flip"] else "")
