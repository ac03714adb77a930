"""`run`: open a model, a source and sinks, run the loop, and account for every frame."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.artifacts import read_manifest
from edge_runtime.compose import Start, compose_report
from edge_runtime.decode import mask_size
from edge_runtime.errors import HypersegError, OptionError, SinkError
from edge_runtime.loop import Loop, LoopOptions
from edge_runtime.options import RunOptions
from edge_runtime.rig.parts import assemble, check_outputs
from edge_runtime.service.staff import Staff, alone
from edge_runtime.stop import Stop, signals
from edge_runtime.telemetry.sampler import Sampler, find_sensors
from edge_runtime.zoo import is_non_commercial, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.report import LatencyReport
    from edge_runtime.report_file import ReportFile
    from edge_runtime.result import Result
    from edge_runtime.rig.lane import Lane
    from edge_runtime.service.staff import Attend
    from edge_runtime.telemetry.readings import Sensors
    from edge_runtime.video import Source

DEFAULTS = RunOptions()


def run(
    model: str | Path,
    source: str,
    options: RunOptions = DEFAULTS,
    on_result: Callable[[Result], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> LatencyReport:
    """Segment a source until it ends, its duration is over, or Ctrl-C or SIGTERM.

    Args:
        model: a model file with its manifest, or the name of a shipped model.
        source: a camera, stream, video, folder of images or test pattern.
        options: policy, sinks, duration, outputs.
        on_result: called with each result in the calling thread; its mask is valid until it
            returns. What it raises ends the run and is passed on.
        say: takes lines about terms of the model and engines that are rebuilt, also from another
            thread.

    Returns:
        The latency report; `LatencyReport.ended` says why the run ended, Ctrl-C included.

    Raises:
        HypersegError: a model, source, engine or sink failed; the report is written first.
    """
    path, manifest = choose_model(model, options, say)
    check_outputs(options, path, [source])
    with signals(Stop()) as stop, ExitStack() as stack:
        staff = stack.enter_context(Staff(path, manifest, options, stop, say))
        parts = assemble(source, options, manifest, staff.served.backend, stop.requested, say)
        if parts.bridge is not None:
            stack.callback(parts.bridge.close)
        loop_options = LoopOptions(
            policy=parts.policy,
            duration_s=options.duration_s,
            outlets=parts.outlets,
            on_result=on_result,
            log=None if parts.log is None else stack.enter_context(parts.log),
            stop=stop,
        )
        outcome = execute(
            staff.served.backend,
            parts.source,
            staff.served.manifest,
            loop_options,
            quiet=options.quiet,
            sensors=find_sensors(),
            attend=staff.attend,
        )
        # Before the engine is given back: that may fail, and after a failure often does.
        conclude(outcome.report, options.report, outcome.failure, say)
    return outcome.report


def conclude(
    report: ReportFile,
    place: Path | None,
    failure: HypersegError | None,
    say: Callable[[str], None],
) -> None:
    """Write the report of a run that is over, and raise what has ended it.

    Args:
        report: what to write.
        place: where, or None.
        failure: of the run, or None.
        say: takes the line about a report that is lost beside a failure.

    Raises:
        HypersegError: `failure`.
        SinkError: the report cannot be written any more; when the run began it could.
    """
    try:
        if place is not None:
            report.write(place)
    except OptionError as error:
        if failure is None:
            raise SinkError(str(error)) from error
        say(f"the report is lost: {error}")
    if failure is not None:
        raise failure


def choose_model(
    model: str | Path, options: RunOptions, say: Callable[[str], None]
) -> tuple[Path, Manifest]:
    """The model's file and manifest; its terms are told.

    Raises:
        ArtifactError: there is no such model, it is damaged, or it makes no masks of pictures.
    """
    path = resolve_model(str(model))
    manifest = read_manifest(path)
    if is_non_commercial(manifest.license) and not options.quiet:
        say(f"{manifest.name}: {manifest.license}")
    _sizes(manifest)
    return path, manifest


def _sizes(manifest: Manifest) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of pictures and of masks; refuses before any engine is loaded."""
    return manifest.input_size, mask_size(manifest)


@dataclass(frozen=True)
class Outcome:
    """How a run went."""

    report: LatencyReport
    failure: HypersegError | None


def execute(
    backend: Backend,
    source: Source,
    manifest: Manifest,
    options: LoopOptions,
    *,
    quiet: bool = True,
    sensors: Sequence[Sensors] = (),
    attend: Attend = alone,
) -> Outcome:
    """Run the loop on a backend that is entered, and a source and outlets that are not yet.

    Raises:
        HypersegError: before the first frame; a later one is part of the outcome.
        RuntimeError: the frames of a completed run do not add up, which is a defect of ours.
    """
    start, sampler = Start(), Sampler(sensors)
    loop: Loop | None = None
    failure: HypersegError | None = None
    try:
        with sampler if sensors else nullcontext(), options.outlets, source:
            loop = Loop(backend, source, manifest, options)
            with attend([loop], sampler), nullcontext() if quiet else _live_line(loop):
                loop.run()
    except HypersegError as error:
        if loop is None or loop.first_ns is None or loop.end is None:
            raise
        failure = error
        loop.end = replace(loop.end, ended="error")
        loop.blame(error, loop.end.duration_s)
    assert loop.end is not None
    report = compose_report(
        start, loop.end, loop, backend, manifest, options.outlets, sampler.summary(loop.first_ns)
    )
    return Outcome(report, failure)


def _live_line(lane: Lane) -> AbstractContextManager[object]:
    from edge_runtime.display import LiveLine

    return LiveLine(lane)
