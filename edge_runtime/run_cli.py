"""The verb `run`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.errors import EXIT_INTERRUPTED
from edge_runtime.options import RunOptions

DEFAULTS = RunOptions()


@click.command()
@click.argument("model")
@click.argument("source")
@click.option(
    "--policy",
    default=DEFAULTS.policy,
    metavar="every|latest|deadline=MS",
    help="Which frames are segmented when the network is slower than the source: all of them, the "
    "newest, or the newest unless it is older than MS.  [default: latest if live, else every]",
)
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    default=DEFAULTS.sinks,
    metavar="SINK",
    help="Where results go; may be given several times: null, FILE.mp4 or FILE.mkv (overlay), "
    "window, masks:DIR (PNGs of class ids), maskvideo:FILE.mkv (lossless).  [default: null]",
)
@click.option(
    "--duration",
    "duration_s",
    type=float,
    default=DEFAULTS.duration_s,
    metavar="S",
    help="End S seconds after the first frame.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULTS.report,
    metavar="F.json",
    help="Write the latency report.",
)
@click.option(
    "--frames-log",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULTS.frames_log,
    metavar="F.jsonl",
    help="Write one line of JSON per frame.",
)
@click.option(
    "--threads",
    type=int,
    default=DEFAULTS.threads,
    metavar="N",
    help="CPU threads for one inference.  [default: one per core]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not as a table.")
@click.option("--quiet", is_flag=True, default=DEFAULTS.quiet, help="No live line and no table.")
@click.pass_context
def run(
    ctx: click.Context,
    model: str,
    source: str,
    policy: str | None,
    sinks: tuple[str, ...],
    duration_s: float | None,
    report: Path | None,
    frames_log: Path | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Segment SOURCE with MODEL and account for every millisecond.

    MODEL is an ONNX file with its manifest, or the name of a shipped model. SOURCE is a camera, a
    stream, a video, a folder of images or a test pattern.
    """
    options = RunOptions(
        policy=policy,
        sinks=sinks,
        duration_s=duration_s,
        report=report,
        frames_log=frames_log,
        threads=threads,
        quiet=quiet,
    )
    # Imported here: `--help` and a wrong option need neither numpy nor a model.
    from edge_runtime.runner import run as run_source

    outcome = run_source(model, source, options)
    if as_json:
        click.echo(outcome.to_json(), nl=False)
    elif not quiet:
        from edge_runtime.display import print_report

        print_report(outcome)
    if outcome.ended == "interrupted":
        ctx.exit(EXIT_INTERRUPTED)
