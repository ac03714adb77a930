"""An evaluation as one HTML page that needs nothing beside it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import OptionError
from edge_runtime.page.accuracy import class_table, confusion
from edge_runtime.page.document import document
from edge_runtime.page.files import is_page
from edge_runtime.page.markup import code, facts, pairs, section, table
from edge_runtime.page.pictures import colours_of
from training.evaluation.frames import frames_part, worst_frames
from training.evaluation.report import require_comparable, write_report
from training.evaluation.tables import shown_as

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from training.evaluation.evaluation import Evaluation

SUMMARY = (
    ("miou", "mIoU"),
    ("accuracy", "pixel accuracy"),
    ("mean_accuracy", "mean accuracy"),
    ("frequency_weighted", "frequency-weighted IoU"),
)


def publish(
    path: Path,
    evaluation: Evaluation,
    report: Mapping[str, Any],
    against: Mapping[str, Any] | None = None,
) -> None:
    """Write a report as its suffix says: a page, or JSON.

    Args:
        path: the file.
        evaluation: whose worst images the page shows.
        report: of `training.evaluation.report.as_json`.
        against: another report; the page sets it beside this one where they can be compared.

    Raises:
        OptionError: the file cannot be written.
        SourceError: an image cannot be read.
    """
    if not is_page(path):
        write_report(path, report)
        return
    try:
        if against is not None:
            require_comparable(report, against)
    except OptionError:
        against = None
    dataset = evaluation.dataset
    frames = frames_part(worst_frames(dataset, evaluation.worst), colours_of(dataset.labels))
    write_text_atomic(path, render(report, frames, against))


def render(
    report: Mapping[str, Any],
    frames: str = "",
    against: Mapping[str, Any] | None = None,
) -> str:
    """The page of an evaluation, with the report itself within.

    Args:
        report: of `training.evaluation.report.as_json`.
        frames: of `training.evaluation.frames.frames_part`.
        against: another report to compare with, already found comparable.
    """
    columns = {"IoU %": report}
    if against is not None:
        columns[f"{against['model']}, IoU %"] = against
    body = "".join(
        [
            facts([*summary(report), (str(report["images"]), "images")]),
            section("IoU by class", class_table(columns)),
            section("What is taken for what", matrix_part(report)),
            section("By group", _groups(report)),
            section("Worst frames", frames),
            section("What was measured", _identity(report)),
        ]
    )
    return document(f"{report['model']} on {report['dataset']}", body, data=report)


def summary(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of all classes together, to be shown large."""
    return [(f"{100 * scores[key]:.2f} %", says) for key, says in SUMMARY]


def matrix_part(report: Mapping[str, Any]) -> str:
    """The confusion matrix of a report with ``classes`` and ``confusion``."""
    return confusion(report["classes"], report["confusion"], rows="labelled", columns="predicted")


def _groups(report: Mapping[str, Any]) -> str:
    if "groups" not in report:
        return ""
    header = ("", "images", *(f"{says}, %" for _, says in SUMMARY))
    rows = [
        (
            escape(name),
            str(scores["images"]),
            *(f"{100 * scores[key]:.2f}" for key, _ in SUMMARY),
        )
        for name, scores in report["groups"]["scores"].items()
    ]
    note = f'<p class="note">By {escape(report["groups"]["by"])} of the image names.</p>'
    return table(header, rows, numbers=range(1, len(header))) + note


def _identity(report: Mapping[str, Any]) -> str:
    part = "" if report["limit"] is None else f", the first {report['limit']} only"
    rows = [
        ("model", escape(report["model"])),
        ("model sha256", code(report["model_sha256"])),
        ("engine", escape(report["engine"])),
        ("data", escape(f"{report['data']}, {report['split']}{part}")),
        ("left out, unreadable", escape(", ".join(report.get("left_out", ())) or "nothing")),
        ("licence of the data", escape(report["data_license"])),
        ("pictures", escape(shown_as(report))),
        ("scored at", ", ".join(f"{h} &times; {w}" for h, w in report["label_sizes"][:4])),
        ("protocol", escape(": ".join(t for t in (report["protocol"], report["note"]) if t))),
        ("command", code(report["command"])),
        ("versions", escape(", ".join(f"{k} {v}" for k, v in report["versions"].items()))),
    ]
    return pairs(rows)
