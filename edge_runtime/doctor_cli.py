"""The verb `doctor`: what is wrong with this machine, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from edge_runtime.doctor.examine import Diagnosis
    from edge_runtime.doctor.finding import Finding

WIDTH = 9
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "not-applicable": "bright_black"}


@click.command()
@click.argument("source", required=False)
@click.option("--model", metavar="M", help="Also look at this model: its files, and its engine.")
@click.option("--all", "shows_all", is_flag=True, help="Also list what is not there to be checked.")
@reporting
@click.pass_context
def doctor(
    ctx: click.Context, source: str | None, model: str | None, shows_all: bool, output: Output
) -> None:
    """Look for what keeps a run from working on this machine, and say what mends it.

    Nothing is changed, and no frame is taken from SOURCE. Exit code 0: nothing is wrong (warnings
    may remain); 1: something does not work.
    """
    from edge_runtime.doctor.examine import examine
    from edge_runtime.doctor.machine import Machine

    found = examine(Machine(), source, model)
    output.deliver(found.to_json)
    if output.shows:
        _print(found, shows_all=shows_all)
    ctx.exit(found.exit_code)


def _print(found: Diagnosis, *, shows_all: bool) -> None:
    group = ""
    for finding in found.findings:
        if finding.status == "not-applicable" and not shows_all:
            continue
        if finding.group != group:
            group = finding.group
            click.secho(group, bold=True)
        _print_finding(finding)
    click.echo(
        f"{found.count('problem')} problems, {found.count('warning')} warnings, "
        f"{found.count('ok')} ok, {found.count('not-applicable')} not applicable; "
        f"{found.took_s:.1f} s"
    )


def _print_finding(finding: Finding) -> None:
    word = "-" if finding.status == "not-applicable" else finding.status
    name = finding.check.partition(".")[2]
    mark = click.style(f"{word:{WIDTH}}", fg=COLOURS[finding.status])
    click.echo(f"  {mark}{name + ': ' if name else ''}{finding.seen}")
    margin = " " * (WIDTH + 2)
    if finding.expected:
        click.echo(f"{margin}expected: {finding.expected}")
    if finding.fix:
        click.echo(f"{margin}fix: {finding.fix}")
