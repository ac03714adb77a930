"""The verb `run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import click

from edge_runtime.errors import EXIT_INTERRUPTED
from edge_runtime.options import Rebuild, RunOptions
from edge_runtime.supervision.options import SupervisionOptions

DEFAULTS = RunOptions()
SUPERVISION = SupervisionOptions()


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
    "--stall-timeout",
    "stall_timeout_s",
    type=float,
    default=SUPERVISION.stall_timeout_s,
    show_default=True,
    metavar="S",
    help="A camera or stream without a new frame for S seconds has no signal.",
)
@click.option(
    "--reconnect/--no-reconnect",
    default=SUPERVISION.reconnect,
    show_default=True,
    help="Open a camera or stream again after it failed or stalled.",
)
@click.option(
    "--max-outage",
    "max_outage_s",
    type=float,
    default=SUPERVISION.max_outage_s,
    metavar="S",
    help="End with an error after S seconds without signal.  [default: wait for ever]",
)
@click.option(
    "--restart-capture-service",
    is_flag=True,
    default=SUPERVISION.restart_capture_service,
    help="Allow to restart a CSI camera's wedged service (nvargus-daemon).",
)
@click.option(
    "--threads",
    type=int,
    default=DEFAULTS.threads,
    metavar="N",
    help="CPU threads for one inference.  [default: one per core]",
)
@click.option(
    "--rebuild",
    type=click.Choice(get_args(Rebuild)),
    default=DEFAULTS.rebuild,
    help="Run on a TensorRT engine of MODEL (INT8 of an INT8 model, else FP16). One that is "
    "missing or does not fit is built in the background while ONNX Runtime or the old engine "
    "serves (auto), or the run is refused (never).  [default: run MODEL itself]",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULTS.store,
    metavar="DIR",
    help="Folder of engines.  [default: in the user's cache]",
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
    stall_timeout_s: float,
    reconnect: bool,
    max_outage_s: float | None,
    restart_capture_service: bool,
    threads: int | None,
    rebuild: Rebuild | None,
    store: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Segment SOURCE with MODEL and account for every millisecond.

    MODEL is an ONNX file with its manifest, or the name of a shipped model. SOURCE is a camera, a
    stream, a video, a folder of images or a test pattern; fault:stall@5+3:SOURCE is one that fails.
    """
    options = RunOptions(
        policy=policy,
        sinks=sinks,
        duration_s=duration_s,
        report=report,
        frames_log=frames_log,
        threads=threads,
        rebuild=rebuild,
        store=store,
        quiet=quiet,
        supervision=SupervisionOptions(
            stall_timeout_s=stall_timeout_s,
            reconnect=reconnect,
            max_outage_s=max_outage_s,
            restart_capture_service=restart_capture_service,
        ),
    )
    # Imported here: `--help` and a wrong option need neither numpy nor a model.
    from edge_runtime.runner import run as run_source

    outcome = run_source(model, source, options, say=_say)
    if as_json:
        click.echo(outcome.to_json(), nl=False)
    elif not quiet:
        from edge_runtime.display import print_report

        print_report(outcome)
    if outcome.ended == "interrupted":
        ctx.exit(EXIT_INTERRUPTED)


def _say(line: str) -> None:
    # The live line, if there is one, is redrawn below.
    over = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{over}hyperseg: {line}", err=True)
