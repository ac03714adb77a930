"""The verb `soak`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.durations import duration
from edge_runtime.errors import EXIT_INTERRUPTED
from edge_runtime.options import RunOptions
from edge_runtime.soak.options import Limits, SoakOptions

if TYPE_CHECKING:
    from edge_runtime.soak.report import SoakReport

RUN_DEFAULTS = RunOptions()
DEFAULTS = SoakOptions()
LIMITS = Limits()
EXIT_FAILED = 3
"""Exit code of a soak in which something grew, or that did not last as long as it was to."""


@click.command()
@click.argument("model")
@click.argument("sources", nargs=-1, required=True, metavar="[NAME=]SOURCE...")
@click.option(
    "--duration",
    "duration_s",
    type=duration,
    metavar="T",
    help="How long, as in 24h, 30m or 90s.  [default: 24h, unless --frames]",
)
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
@click.option("--policy", metavar="every|latest|deadline=MS", help="As of run.")
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    default=RUN_DEFAULTS.sinks,
    metavar="SINK",
    help="Where results go, as of run; may be given several times.  [default: null]",
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F.json",
    help="As of run.",
)
@click.option("--threads", type=int, metavar="N", help="CPU threads for one inference.")
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
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F.json|F.html",
    help="Write verdict, samples and latency report, as JSON or as a page to look at.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not as lines.")
@click.option("--quiet", is_flag=True, default=RUN_DEFAULTS.quiet, help="No live line.")
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
    as_json: bool,
    quiet: bool,
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
            quiet=quiet,
        ),
        frames=frames,
        accelerated=accelerated,
        interval_s=interval_s,
        trace_python=trace_python,
        limits=Limits(max_growth, max_drift / 100),
        report=report,
    )
    # Imported here: `--help` and a wrong option need neither numpy nor a model.
    from edge_runtime.soak.soak import soak as soak_sources

    outcome = soak_sources(
        model, sources, options, say=lambda line: click.echo(f"hyperseg: {line}", err=True)
    )
    click.echo(outcome.to_json() if as_json else _lines(outcome), nl=not as_json)
    if outcome.ended == "interrupted":
        ctx.exit(EXIT_INTERRUPTED)
    if not outcome.passed:
        click.echo(f"hyperseg: soak failed: {'; '.join(outcome.reasons)}", err=True)
        ctx.exit(EXIT_FAILED)


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
