"""The verb `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.errors import EXIT_FOUND, OptionError

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from edge_runtime.compare.compare import Comparison, Difference

WIDTH = 110
"""Of the table where it is not shown in a wider terminal."""
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("first", type=_FILE, metavar="A")
@click.argument("second", type=_FILE, metavar="B")
@click.option(
    "--fail-if-worse",
    "limit_percent",
    type=float,
    metavar="PERCENT",
    help="Exit with 1 if a judged figure of B is worse by more than this, and not by chance.",
)
@reporting
@click.pass_context
def compare(
    ctx: click.Context, first: Path, second: Path, limit_percent: float | None, output: Output
) -> None:
    """Compare two reports of run, soak, bench or eval: A is before, B is after.

    A and B are JSON, or pages of `--report F.html`. Judged figures are tested against what varies
    within each run; the others are shown beside them.
    """
    if limit_percent is not None and not 0 <= limit_percent < float("inf"):
        raise OptionError(f"fail if worse by {limit_percent:g} %: expected 0 or more")
    # Imported here: `--help` needs no numpy.
    from edge_runtime.compare.compare import compare as compare_reports
    from edge_runtime.compare.compare import worst
    from edge_runtime.page.files import read_report

    found = compare_reports(read_report(first), read_report(second), (first.name, second.name))
    output.deliver(found.to_json)
    if output.shows:
        _print(found)
    if limit_percent is None:
        return
    if failures := found.failures(limit_percent):
        click.echo(f"hyperseg: {second.name}: {worst(failures)}", err=True)
        ctx.exit(EXIT_FOUND)
    if undecided := found.undecided:
        raise OptionError(
            f"too short to judge {', '.join(undecided)}: both runs need 10 windows of time after "
            "their warm-up; measure for longer"
        )


def _print(found: Comparison) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("figure", found.ours, found.theirs, "change", "95 % interval", ""):
        table.add_column(
            title, justify="left" if title in ("", "figure") else "right", no_wrap=True
        )
    for figure in found.figures:
        table.add_row(
            f"[bold]{escape(figure.name)}[/bold]" if figure.judged else escape(figure.name),
            f"{figure.ours:.4g} {figure.unit}",
            f"{figure.theirs:.4g} {figure.unit}",
            "" if figure.change_percent is None else f"{figure.change_percent:+.1f} %",
            _interval(figure),
            _words(figure),
        )
    console = Console(highlight=False, width=max(Console().width, WIDTH), soft_wrap=True)
    console.print(table)
    for remark in found.remarks:
        console.print(f"differs: {remark}", markup=False)
    console.print(f"judged figures are bold; tested by {found.method}", markup=False)


def _interval(figure: Difference) -> str:
    if figure.interval_percent is None:
        return ""
    low, high = figure.interval_percent
    return f"{low:+.1f} to {high:+.1f} %"


def _words(figure: Difference) -> str:
    if not figure.judged:
        return ""
    if figure.verdict is None:
        return "too short to tell"
    untested = "" if figure.interval_percent else ", not tested"
    word = "[red]worse[/red]" if figure.verdict == "worse" else figure.verdict
    return f"{word}{untested}"
