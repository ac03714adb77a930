"""The verb `soak`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.durations import duration
from edge_runtime.errors import EXIT_GATE, EXIT_INTERRUPTED
from edge_runtime.options import RunOptions
from edge_runtime.places import require_distinct
from edge_runtime.shared_options import (
    duration_option,
    model_argument,
    report_option,
    rules_option,
    sink_option,
    sources_argument,
    threads_option,
)
from edge_runtime.soak.options import Limits, SoakOptions

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.cli_options import Output
    from edge_runtime.soak.report import SoakReport

DEFAULTS = SoakOptions()
LIMITS = Limits()


@click.command()
@model_argument
@sources_argument
@duration_option("How long, as in 24h, 30m or 90s.  [default: 24h, unless --frames]")
@click.option(
    "--frames",
    type=int,
    default=DEFAULTS.frames,
    metavar="N",
    help="End after N results of all cameras together.",
)
@click.option(
    "--accelerated",
    is_flag=True,
    default=DEFAULTS.accelerated,
    help="Take frames as fast as the network can, from test:bars, a file or a launch text; hours "
    "are then counted in frames at 30 a second.",
)
@click.option(
    "--policy",
    metavar="every|latest|deadline=MS",
    help="As of run.",
    shell_complete=candidates.policies,
)
@sink_option("Where results go, as of run; may be given several times.")
@rules_option
@threads_option
@click.option(
    "--interval",
    "interval_s",
    type=duration,
    metavar="T",
    help="Between samples of memory, descriptors and latency.  [default: 1 to 60 s by length]",
)
@click.option(
    "--max-growth",
    type=float,
    default=LIMITS.growth_mb_per_hour,
    show_default=True,
    metavar="MB",
    help="Growth of resident memory per hour, or of a whole run that is shorter.",
)
@click.option(
    "--max-drift",
    type=float,
    default=100 * LIMITS.p99_drift,
    show_default=True,
    metavar="PCT",
    help="Rise of the 99th percentile of latency from the first third to the last.",
)
@click.option(
    "--trace-python",
    is_flag=True,
    default=DEFAULTS.trace_python,
    help="Also sample what Python objects hold; several times slower.",
)
@report_option
@reporting
@click.pass_context
def soak(
    ctx: click.Context,
    model: str,
    sources: tuple[str, ...],
    duration_s: float | None,
    frames: int | None,
    accelerated: bool,
    policy: str | None,
    sinks: tuple[str, ...],
    rules: Path | None,
    threads: int | None,
    interval_s: float | None,
    max_growth: float,
    max_drift: float,
    trace_python: bool,
    report: Path | None,
    output: Output,
) -> None:
    """Run MODEL on SOURCE for hours; fail if memory, descriptors, threads or latency grow.

    It is the run of the verb `run`, watched. Exit code 0: passed; 3: failed, with the reasons in
    one line. The first tenth, ten minutes at most, is warm-up and not judged.
    """
    if duration_s is None and frames is None:
        duration_s = DEFAULTS.run.duration_s
    options = SoakOptions(
        run=RunOptions(
            policy=policy,
            sinks=sinks,
            duration_s=duration_s,
            rules=rules,
            threads=threads,
            quiet=output.quiet,
        ),
        frames=frames,
        accelerated=accelerated,
        interval_s=interval_s,
        trace_python=trace_python,
        limits=Limits(max_growth, max_drift / 100),
        report=report,
    )
    require_distinct((*options.run.outputs(), *output.files))
    # Imported here: `--help` and a wrong option need neither numpy nor a model.
    from edge_runtime.soak.soak import soak as soak_sources

    outcome = soak_sources(
        model, sources, options, say=lambda line: click.echo(f"hyperseg: {line}", err=True)
    )
    output.deliver(outcome.to_json)
    output.tell(_lines(outcome))
    if outcome.ended == "interrupted":
        ctx.exit(EXIT_INTERRUPTED)
    if not outcome.passed:
        click.echo(f"hyperseg: soak failed: {'; '.join(outcome.reasons)}", err=True)
        ctx.exit(EXIT_GATE)


def _lines(report: SoakReport) -> str:
    """The verdict as it is printed."""
    length = report.length
    lines = [
        f"{'pass' if criterion.passed else 'FAIL'}  {criterion.name:<12}{criterion.says}"
        for criterion in report.criteria
    ]
    lines.append(
        f"watched for {length.seconds:.0f} s, of which the first {length.warm_up_s:.0f} s are "
        f"warm-up; {length.hours:.2f} h ({length.hours_are}) were judged"
    )
    lines += [f"not covered: {text}" for text in report.leaves_out]
    lines.append(f"soak {'passed' if report.passed else 'failed'}")
    return "\n".join(lines)
