"""The verb `bench`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from edge_runtime.bench.options import DURATION_S, UNTIL_STABLE, BenchOptions, WarmUpPlan
from edge_runtime.cli_options import Output, reporting
from edge_runtime.completion import candidates
from edge_runtime.durations import duration
from edge_runtime.errors import EXIT_GATE, EXIT_INTERRUPTED, OptionError
from edge_runtime.service.secrets import reveal
from edge_runtime.shared_options import report_option, threads_option

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.bench.report import BenchReport


def warmup_plan(value: str | WarmUpPlan) -> WarmUpPlan:
    """The ``type`` of ``--warmup``.

    Raises:
        click.BadParameter: it cannot be read.
    """
    if isinstance(value, WarmUpPlan):
        return value
    try:
        return WarmUpPlan.parse(value)
    except OptionError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL|ENGINE...", shell_complete=candidates.models)
@click.option(
    "--models",
    "more",
    metavar="A,B,...",
    help="More models, for the same interleaved run; all are compared with the first.",
)
@click.option("--iterations", type=int, metavar="N", help="Counted queries of each model.")
@click.option(
    "--duration",
    "duration_s",
    type=duration,
    metavar="T",
    help="Length of the measurement, of all models together; at least 10 queries of each.  "
    f"[default: {DURATION_S:g}s]",
)
@click.option(
    "--sustained",
    "sustained_s",
    type=duration,
    metavar="T",
    help="Measure so long, as in 30m, and keep the curve of latency, clocks and temperatures.",
)
@click.option(
    "--window",
    "window_s",
    type=duration,
    metavar="T",
    help="One point of the curve.  [default: a sixtieth of it, 1 to 60 s]",
)
@click.option(
    "--warmup",
    type=warmup_plan,
    default=UNTIL_STABLE,
    metavar=f"{UNTIL_STABLE}|N|T",
    show_default=True,
    help="Until medians of 30 queries agree within 2 %, 30 s at most; N queries; or a time.",
)
@click.option(
    "--source",
    metavar="SOURCE",
    shell_complete=candidates.sources,
    help="Where the pictures come from, any source of run.  [default: a drawn street]",
)
@click.option(
    "--frames",
    type=int,
    default=BenchOptions.frames,
    show_default=True,
    metavar="N",
    help="Different pictures, taken by turns.",
)
@threads_option
@click.option(
    "--tune",
    is_flag=True,
    help="Find the fastest settings of ONNX Runtime for one model here, in 40 s or --duration, and "
    "keep them for run and bench.",
)
@click.option(
    "--untuned", is_flag=True, help="Leave settings that --tune has found out of account."
)
@click.option(
    "--expect-masks",
    metavar="HASH",
    help="Start of the hash that every model's masks must have; exit code 3 if one differs.",
)
@report_option
@reporting
@click.pass_context
def bench(
    ctx: click.Context,
    models: tuple[str, ...],
    more: str | None,
    iterations: int | None,
    duration_s: float | None,
    sustained_s: float | None,
    window_s: float | None,
    warmup: WarmUpPlan,
    source: str | None,
    frames: int,
    threads: int | None,
    tune: bool,
    untuned: bool,
    expect_masks: str | None,
    report: Path | None,
    output: Output,
) -> None:
    """Measure how fast MODEL is here: warm, on real pictures, by trtexec's definitions.

    MODEL is an ONNX file or a TensorRT engine with its manifest, or the name of a shipped model.
    Several are measured in one interleaved run and compared with the first, with a confidence
    interval. Beside each speed stand the hash of its masks and how far they agree.
    """
    listed = [name for name in (more or "").split(",") if name.strip()]
    options = BenchOptions(
        models=(*models, *(name.strip() for name in listed)),
        iterations=iterations,
        duration_s=duration_s,
        sustained_s=sustained_s,
        window_s=window_s,
        warmup=warmup,
        source=None if source is None else reveal(source),
        frames=frames,
        threads=threads,
        tuned=not untuned,
    )
    if tune:
        if report is not None:
            raise OptionError("a tuning has no --report; --json F.json writes what was tried")
        _tune(options, output)
        return
    measured = _bench(options, output)
    if report is not None:
        measured.write(report)
    if measured.ended == "interrupted":
        ctx.exit(EXIT_INTERRUPTED)
    if other := _others(measured, expect_masks):
        click.echo(f"hyperseg: bench failed: {other}", err=True)
        ctx.exit(EXIT_GATE)


def _bench(options: BenchOptions, output: Output) -> BenchReport:
    # Imported here, as below: `--help` and a wrong option need neither numpy nor a model.
    from edge_runtime.bench.bench import Quiet, bench
    from edge_runtime.bench.display import Bar, print_bench

    with nullcontext(Quiet()) if output.quiet else Bar() as progress:
        report = bench(options, progress)
    output.deliver(report.to_json)
    if output.shows:
        print_bench(report)
    return report


def _tune(options: BenchOptions, output: Output) -> None:
    from edge_runtime.bench.bench import Quiet
    from edge_runtime.bench.display import Bar, print_tuning
    from edge_runtime.bench.tune import tune

    with nullcontext(Quiet()) if output.quiet else Bar() as progress:
        report = tune(options, progress)
    output.deliver(report.to_json)
    if output.shows:
        print_tuning(report)


def _others(report: BenchReport, expected: str | None) -> str:
    """Which models have other masks than expected; nothing if none."""
    if expected is None:
        return ""
    other = [m for m in report.models if not m.masks.hash.startswith(expected.lower())]
    return "; ".join(f"the masks of {m.label} are {m.masks.hash}" for m in other)
