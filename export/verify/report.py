"""The verification as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import created_by_this_command

if TYPE_CHECKING:
    from rich.table import Table

    from export.verify.figures import Figures
    from export.verify.verify import Stage, Verification

SCHEMA = "hyperseg-edge.verify/1"


def as_json(verification: Verification) -> dict[str, Any]:
    """Plain values; figures that a form cannot give are null."""
    return {
        "schema": SCHEMA,
        "created_by": asdict(created_by_this_command()),
        "passed": verification.passed,
        **asdict(verification),
    }


def table(verification: Verification) -> Table:
    """The chain as a terminal shows it."""
    from rich.table import Table as RichTable

    result = RichTable(box=None, header_style="bold")
    result.add_column("form")
    result.add_column("verdict", no_wrap=True)
    for heading in ("max error", "SQNR dB", "agreement", "at boundaries"):
        result.add_column(heading, justify="right", no_wrap=True)
    for stage in verification.stages:
        result.add_row(stage.name, stage.status, *cells(stage.figures))
    return result


def remarks(verification: Verification) -> list[str]:
    """What a table has no room for: why a form failed, was not done, and where it parts."""
    return [f"{stage.name}: {note}" for stage in verification.stages for note in remarks_of(stage)]


def remarks_of(stage: Stage) -> list[str]:
    """Why a form failed or was not done, and where it parts."""
    remarks = list(stage.reasons)
    if stage.parting is not None and stage.parting.first is not None:
        remarks.append(f"parts at {stage.parting.first.value} ({stage.parting.first.operator})")
    return remarks


def cells(figures: Figures | None) -> tuple[str, str, str, str]:
    """Largest error, SQNR, agreement, and agreement at boundaries, as text."""
    if figures is None:
        return ("-", "-", "-", "-")

    def show(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        show(figures.max_abs_error, ".3g"),
        show(figures.sqnr_db, ".1f"),
        f"{100 * figures.agreement:.3f} %",
        "-" if figures.boundary_agreement is None else f"{100 * figures.boundary_agreement:.3f} %",
    )
