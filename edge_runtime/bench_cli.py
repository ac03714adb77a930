"""The verb `bench`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.bench.options import DURATION_S, UNTIL_STABLE, BenchOptions, WarmUpPlan
from edge_runtime.durations import duration
from edge_runtime.errors import EXIT_INTERRUPTED, OptionError
from edge_runtime.places import why_unwritable
from edge_runtime.service.secrets import reveal

if TYPE_CHECKING:
    from edge_runtime.bench.report import BenchReport

EXIT_OTHER_MASKS = 3
"""Exit code where a model's masks are not those that were expected."""
STDOUT = "-"


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
@click.argument("models", nargs=-1, metavar="MODEL|ENGINE...")
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
@click.option(
    "--threads",
    type=int,
    metavar="N",
    help="CPU threads for one inference.  [default: one per core]",
)
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
@click.option(
    "--json",
    "json_to",
    metavar="F.json|-",
    help="Write the report as JSON to a file, or print it instead of tables.",
)
@click.option("--quiet", is_flag=True, help="No progress and no tables.")
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
    json_to: str | None,
    quiet: bool,
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
    target = None if json_to in (None, STDOUT) else Path(str(json_to))
    if target is not None and (why := why_unwritable(target)) is not None:
        raise OptionError(f"cannot write {target}: {why}")
    if tune:
        _tune(options, target, json_to, quiet=quiet)
        return
    report = _bench(options, target, json_to, quiet=quiet)
    if report.ended == "interrupted":
        ctx.exit(EXIT_INTERRUPTED)
    if other := _others(report, expect_masks):
        click.echo(f"hyperseg: bench failed: {other}", err=True)
        ctx.exit(EXIT_OTHER_MASKS)


def _bench(
    options: BenchOptions, target: Path | None, json_to: str | None, *, quiet: bool
) -> BenchReport:
    # Imported here, as below: `--help` and a wrong option need neither numpy nor a model.
    from edge_runtime.bench.bench import Quiet, bench
    from edge_runtime.bench.display import Bar, print_bench

    with nullcontext(Quiet()) if quiet else Bar() as progress:
        report = bench(options, progress)
    if target is not None:
        report.write(target)
    if json_to == STDOUT:
        click.echo(report.to_json(), nl=False)
    elif not quiet:
        print_bench(report)
    return report


def _tune(options: BenchOptions, target: Path | None, json_to: str | None, *, quiet: bool) -> None:
    from edge_runtime.bench.bench import Quiet
    from edge_runtime.bench.display import Bar, print_tuning
    from edge_runtime.bench.tune import tune

    with nullcontext(Quiet()) if quiet else Bar() as progress:
        report = tune(options, progress)
    if target is not None:
        report.write(target)
    if json_to == STDOUT:
        click.echo(report.to_json(), nl=False)
    elif not quiet:
        print_tuning(report)


def _others(report: BenchReport, expected: str | None) -> str:
    """Which models have other masks than expected; nothing if none."""
    if expected is None:
        return ""
    other = [m for m in report.models if not m.masks.hash.startswith(expected.lower())]
    return "; ".join(f"the masks of {m.label} are {m.masks.hash}" for m in other)
