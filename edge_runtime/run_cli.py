"""The verb `run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.errors import (
    EXIT_FOUND,
    EXIT_INTERRUPTED,
    EXIT_TRY_AGAIN,
    BackendError,
    SinkError,
    SourceError,
)
from edge_runtime.options import Rebuild, RunOptions
from edge_runtime.places import require_distinct
from edge_runtime.rig.options import RigOptions, needs_rig, split_policies, split_weights
from edge_runtime.service.notify import is_managed
from edge_runtime.service.places import STATUS_VARIABLE
from edge_runtime.service.secrets import reveal
from edge_runtime.shared_options import (
    FILE,
    duration_option,
    model_argument,
    report_option,
    rules_option,
    sink_option,
    sources_argument,
    threads_option,
)
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.web.options import DEFAULT_ADDRESS, TOKEN_OPTION, TOKEN_VARIABLE, parse_web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.cli_options import Output

DEFAULTS = RunOptions()
RIG_DEFAULTS = RigOptions()
SUPERVISION = SupervisionOptions()


@click.command()
@model_argument
@sources_argument
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="[NAME=]every|latest|deadline=MS",
    shell_complete=candidates.policies,
    help="Which frames are segmented when the network is slower than the source: all of them, the "
    "newest, or the newest unless it is older than MS; of all cameras, or of one.  "
    "[default: latest if live, else every]",
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="NAME=W",
    help="Share of the network that a camera gets where it is too slow for all.  [default: 1]",
)
@click.option(
    "--match",
    "match_ms",
    type=float,
    default=RIG_DEFAULTS.match_ms,
    metavar="MS",
    help="Count sets of results, one per camera, that were captured within MS of each other.",
)
@sink_option(
    "Where results go; may be given several times: null, FILE.mp4 or FILE.mkv (overlay), "
    "FILE.mcap, window, masks:DIR (PNGs of class ids), maskvideo:FILE.mkv (lossless), shm:NAME, "
    "rtsp:[HOST:]PORT/NAME, blackbox:DIR, jsonl:FILE, udp:HOST:PORT, mqtt:HOST/TOPIC, ros2:NODE. "
    "With several cameras {camera} in it stands for the camera's name."
)
@duration_option("End so long after the first frame: seconds, or as in 90s, 30m, 24h.")
@report_option
@click.option(
    "--frames-log",
    type=FILE,
    default=DEFAULTS.frames_log,
    metavar="F.jsonl",
    help="Write one line of JSON per frame. With several cameras {camera} in it is the name.",
)
@rules_option
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
    "--zero-copy",
    is_flag=True,
    default=DEFAULTS.zero_copy,
    help="On a Jetson, hand frames from NVMM memory to a TensorRT engine without a copy; where "
    "that does not work, say why and copy once, as by default. Never run on a Jetson yet.",
)
@threads_option
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
@click.option(
    "--watch-model",
    is_flag=True,
    default=DEFAULTS.watch_model,
    help="Take MODEL over without an interruption when its file and manifest change, or on SIGHUP.",
)
@click.option(
    "--status",
    type=FILE,
    default=DEFAULTS.status,
    envvar=STATUS_VARIABLE,
    metavar="F.json",
    help="Write once a second how the run is doing, for `hyperseg service health`.  "
    f"[env var: {STATUS_VARIABLE}]",
)
@click.option(
    "--metrics",
    default=DEFAULTS.metrics,
    metavar="[ADDR:]PORT",
    help="Serve /metrics for Prometheus, and /healthz; without ADDR to this machine only.",
)
@click.option(
    "--web",
    is_flag=False,
    flag_value=DEFAULT_ADDRESS,
    metavar="[ADDR:PORT]",
    help="Serve a page with the live overlay and all figures, to this machine only unless ADDR "
    f"says otherwise; without a value, put it last.  [default: {DEFAULT_ADDRESS}]",
)
@click.option(
    TOKEN_OPTION,
    envvar=TOKEN_VARIABLE,
    metavar="TOKEN",
    help="What the page asks its viewers for; needed for any ADDR but localhost. Better in the "
    f"variable, which other users cannot see.  [env var: {TOKEN_VARIABLE}]",
)
@reporting
@click.pass_context
def run(
    ctx: click.Context,
    model: str,
    sources: tuple[str, ...],
    policies: tuple[str, ...],
    weights: tuple[str, ...],
    match_ms: float | None,
    sinks: tuple[str, ...],
    duration_s: float | None,
    report: Path | None,
    frames_log: Path | None,
    rules: Path | None,
    stall_timeout_s: float,
    reconnect: bool,
    max_outage_s: float | None,
    restart_capture_service: bool,
    zero_copy: bool,
    threads: int | None,
    rebuild: Rebuild | None,
    store: Path | None,
    watch_model: bool,
    status: Path | None,
    metrics: str | None,
    web: str | None,
    web_token: str | None,
    output: Output,
) -> None:
    """Segment SOURCE with MODEL and account for every millisecond.

    MODEL is an ONNX file with its manifest, or the name of a shipped model. SOURCE is a camera, a
    stream, a video, a folder of images or a test pattern; fault:stall@5+3:SOURCE is one that fails.
    Several sources share the network in fair turns; one that fails does not hold up the others.
    {secret:NAME} in a source or sink stands for a file in $CREDENTIALS_DIRECTORY, or a variable.
    """
    sources = tuple(map(reveal, sources))
    policy, single_policies = split_policies(policies)
    options = RunOptions(
        policy=DEFAULTS.policy if policy is None else policy,
        sinks=tuple(map(reveal, sinks)),
        duration_s=duration_s,
        report=report,
        frames_log=frames_log,
        rules=rules,
        threads=threads,
        rebuild=rebuild,
        store=store,
        watch_model=watch_model,
        status=status,
        metrics=metrics,
        web=None if web is None else parse_web(web, reveal(web_token) if web_token else None),
        quiet=output.quiet,
        zero_copy=zero_copy,
        supervision=SupervisionOptions(
            stall_timeout_s=stall_timeout_s,
            reconnect=reconnect,
            max_outage_s=max_outage_s,
            restart_capture_service=restart_capture_service,
        ),
    )
    rig = RigOptions(options, single_policies, split_weights(weights), match_ms)
    require_distinct((*options.outputs(), *([] if output.file is None else [output.file])))
    try:
        if needs_rig(sources, rig):
            code = _run_rig(model, sources, rig, output)
        else:
            code = _run_one(model, sources[0], options, output)
    except (SourceError, SinkError, BackendError) as error:
        if not is_managed():
            raise
        click.echo(f"hyperseg: error: {error}", err=True)
        # After a mistake in the command (2) a new start would not help.
        code = EXIT_TRY_AGAIN
    ctx.exit(code)


def _run_one(model: str, source: str, options: RunOptions, output: Output) -> int:
    # Imported here: `--help` and a wrong option need neither numpy nor a model.
    from edge_runtime.runner import run as run_source

    report = run_source(model, source, options, say=_say)
    output.deliver(report.to_json)
    if output.shows:
        from edge_runtime.display import print_report

        print_report(report)
    return EXIT_INTERRUPTED if report.ended == "interrupted" else 0


def _run_rig(model: str, sources: Sequence[str], options: RigOptions, output: Output) -> int:
    from edge_runtime.rig.runner import run_many

    report = run_many(model, sources, options, say=_say)
    output.deliver(report.to_json)
    if output.shows:
        from edge_runtime.rig.display import print_rig_report

        print_rig_report(report)
    if report.failed:
        named = "; ".join(f"{name} ({reason})" for name, reason in report.failed.items())
        count = f"{len(report.failed)} of {len(report.cameras)} cameras failed"
        click.echo(f"hyperseg: error: {count}: {named}", err=True)
    if report.ended == "interrupted":
        return EXIT_INTERRUPTED
    return EXIT_FOUND if report.failed else 0


def _say(line: str) -> None:
    # The live line, if there is one, is redrawn below.
    over = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{over}hyperseg: {line}", err=True)
