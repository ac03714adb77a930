"""A training run as one HTML page that needs nothing beside it: ``report.html`` of its folder."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.page.accuracy import class_table
from edge_runtime.page.charts import Line, TimeChart, time_chart
from edge_runtime.page.document import document
from edge_runtime.page.markup import badge, code, facts, figure, number, pairs, section
from training.evaluation.frames import frames_part
from training.evaluation.page import matrix_part
from training.reports.account import account

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PAGE_FILE = "report.html"
DOTTED = 60
"""Points up to which each is marked: a run that was validated once has one."""


def write_run_page(run: Path) -> Path:
    """Write the page of a run into its folder, complete or not at all.

    Returns:
        Its path.

    Raises:
        ArtifactError: the folder has no log.
        OptionError: the folder cannot be written.
    """
    place = run / PAGE_FILE
    write_text_atomic(place, render(*account(run)))
    return place


def render(report: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> str:
    """The page of a run, with the account itself within.

    Args:
        report: of `training.reports.account.account`.
        kept: with the pictures of the kept weights' validation, if there are any.
    """
    frames = "" if kept is None else frames_part(kept["frames"], kept["colours"])
    body = "".join(
        [
            _facts(report),
            section("Course", _course(report)),
            section("IoU by class", _classes(report)),
            section("What is taken for what", matrix_part(report) if "confusion" in report else ""),
            section("Worst frames", frames),
            section("What was trained, on what", _identity(report)),
            section("Options", _options(report["options"])),
        ]
    )
    return document(f"Training {report['run']}", body, made=f"version {report['version']}",
                    data=report)  # fmt: skip


def _facts(report: Mapping[str, Any]) -> str:
    kept, done, steps = report["kept"], report["step"], report["steps"]
    shown = []
    if kept is not None:
        words = "val was trained on" if report["val_was_trained_on"] else "best on val"
        shown.append((f"{100 * kept['miou']:.2f} %", f"mIoU at step {kept['step']}, {words}"))
        shown.append((f"{100 * kept['accuracy']:.2f} %", "pixel accuracy"))
    shown.append((f"{done}", "steps" if steps is None else f"of {steps} steps"))
    speeds = [value for value in report["train"]["images_per_s"] if value is not None]
    if speeds:
        shown.append((number(sum(speeds) / len(speeds)), "images per second"))
    state = badge("finished", "good") if report["finished"] else badge("not finished", "warn")
    again = report["begun"] - 1
    resumed = f" Resumed {again} time{'s' * (again > 1)}." if again > 0 else ""
    return f'<p>{state}<span class="note">{resumed}</span></p>{facts(shown)}'


def _course(report: Mapping[str, Any]) -> str:
    train, val, kept = report["train"], report["val"], report["kept"]
    end = float(report["steps"] or report["step"])
    percent = [None if value is None else 100 * value for value in val["miou"]]
    best = "" if kept is None or report["val_was_trained_on"] else (
        f"Best {100 * kept['miou']:.2f} % at step {kept['step']}."
    )  # fmt: skip
    return (
        _chart("Loss of training", "by step", train["step"], train["loss"], end, height=240)
        + _chart("mIoU on val", "per cent, by step", val["step"], percent, end, best, height=240)
        + _chart("Learning rate", "by step", train["step"], train["lr"], end)
    )


def _chart(
    title: str, unit: str, steps: Sequence[Any], values: Sequence[float | None], end: float,
    note: str = "", height: int = 150,
) -> str:  # fmt: skip
    points = list(zip(steps, values, strict=True))
    if not points:
        return ""
    lines = (Line(title, points, "one", dots=len(points) <= DOTTED),)
    chart = TimeChart(title, unit, lines, end_s=end, height=height, x_unit="")
    return f"<h3>{title}, {unit}</h3>" + figure(time_chart(chart), "", note)


def _classes(report: Mapping[str, Any]) -> str:
    kept, last = report["kept"], report["last"]
    if kept is None:
        return ""
    columns = {f"kept, step {kept['step']}": kept}
    if last["step"] != kept["step"]:
        columns[f"last, step {last['step']}"] = last
    return class_table(columns) + '<p class="note">On val, in per cent.</p>'


def _identity(report: Mapping[str, Any]) -> str:
    found = report["checkpoint"] or {}
    size = found.get("size")
    weights = found.get("parameters")
    rows = [
        ("network", escape(found.get("name") or report["options"].get("preset") or "")),
        ("parameters", "" if weights is None else f"{weights / 1e6:.2f} M"),
        ("kept weights, sha256", code(found.get("sha256"))),
        ("training data", escape(str(found.get("data") or report["options"].get("data") or ""))),
        ("validation data", escape(report.get("dataset") or "")),
        ("validated at", "" if not size else f"{size[0]} &times; {size[1]}"),
        ("licence", escape(found.get("license") or "")),
        ("command", code(found.get("command"))),
        ("version", escape(found.get("version") or "")),
    ]
    return pairs(rows)


def _options(options: Mapping[str, Any]) -> str:
    rows = [
        (escape(name), escape(" ".join(map(str, value)) if isinstance(value, list) else str(value)))
        for name, value in sorted(options.items())
        if value is not None
    ]
    return pairs(rows)
