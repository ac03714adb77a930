"""What was measured, as tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.suite.parts import Part
    from benchmarks.suite.runner import Outcome


def print_parts(parts: Sequence[Part], console: Console | None = None) -> None:
    """Which parts there are, and which this machine cannot measure."""
    table = Table("part", "what it measures", "here")
    for part in parts:
        table.add_row(part.name, part.says, escape(part.why_not() or "can be measured"))
    (console or Console()).print(table)


def print_outcomes(outcomes: Sequence[Outcome], console: Console | None = None) -> None:
    """All figures with their spread, and what has none with its reason."""
    console = console or Console()
    for one in outcomes:
        console.print(_figures(one))
    for one in outcomes:
        if one.state != "measured":
            console.print(f"{one.name}: {one.state}: {escape(one.reason)}")


def _figures(one: Outcome) -> Table:
    title = f"{one.name}, {one.state} in {one.seconds:.0f} s"
    if one.peak_mb is not None:
        title += f", peak memory {one.peak_mb:.0f} MB"
    table = Table(title=title, title_justify="left")
    table.add_column("figure", overflow="fold")
    for column in ("median", "least", "greatest"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("unit")
    for name, figure in one.figures.items():
        values = [_digits(value) for value in (figure.median, figure.min, figure.max)]
        table.add_row(escape(name), *values, figure.unit)
    return table


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
