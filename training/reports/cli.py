"""Verb ``report``: the learning curve of a run, and the card of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli_options import reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.cli_options import Output

_EVALUATION, _TRAINING = "hyperseg-edge.evaluation", "hyperseg-edge.train"
"""Kinds of reports that are drawn here, by their schemas without the version."""


@click.command()
@click.argument("subject", type=click.Path(path_type=Path))
@click.option(
    "--run", type=click.Path(path_type=Path), help="The training run that a model comes from."
)
@click.option(
    "--eval", "reports", type=click.Path(path_type=Path), multiple=True,
    help="JSON of `hyperseg eval`, for the card's table; may be given more than once.",
)  # fmt: skip
@reporting
def report(subject: Path, run: Path | None, reports: tuple[Path, ...], output: Output) -> None:
    """Draw the curve of a training, write the card of a model, or make a page of a report.

    Of a run's folder the page goes into report.html, the curve into curve.png and the card beside
    its checkpoint. Of a checkpoint or exported model the card is written beside it as FILE.md. Of
    the JSON that run, soak, bench, eval and train write, a page is written beside it as FILE.html.
    """
    written = _write(subject, run, reports)
    output.deliver_facts("report", {"wrote": written})
    for place in written:
        output.tell(f"wrote {place}")


def _write(subject: Path, run: Path | None, reports: tuple[Path, ...]) -> list[Path]:
    if subject.suffix == ".json":
        return [_page(subject)]
    from training.reports.card import CHECKPOINT, write_card

    if subject.is_dir():
        from training.reports.curve import draw_curve
        from training.reports.page import write_run_page

        drawn = [write_run_page(subject), draw_curve(subject)]
        return [*drawn, write_card(subject / CHECKPOINT, run=subject, reports=reports)]
    return [write_card(subject, run=run, reports=reports)]


def _page(report: Path) -> Path:
    """Write the page of a report beside it; where that is."""
    from edge_runtime.artifacts import write_text_atomic
    from edge_runtime.page.files import complete, read_report

    page, found = report.with_suffix(".html"), read_report(report)
    with complete(report):
        text = _render_of(found)(found)
    write_text_atomic(page, text)
    return page


def _render_of(found: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], str]:
    """What draws such a report; only that is imported, as a device has not every package."""
    schema = found.get("schema")
    # Evaluations of earlier versions do not name their schema.
    kind = _EVALUATION if schema is None and "confusion" in found else str(schema).partition("/")[0]
    if kind == _EVALUATION:
        from training.evaluation.page import render as evaluation
        from training.evaluation.report import SCHEMA

        if schema in (None, SCHEMA):
            return evaluation
    if kind == _TRAINING:
        from training.reports.account import SCHEMA
        from training.reports.page import render as training

        if schema == SCHEMA:
            return training
    from edge_runtime.page.page import render as run

    return run
