"""`run`: open a model, a source and sinks, run the loop, and account for every frame."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artifacts import manifest_path, read_manifest
from edge_runtime.compose import End, Start, compose_report
from edge_runtime.decode import mask_size
from edge_runtime.errors import HypersegError, OptionError
from edge_runtime.frames_log import FramesLog
from edge_runtime.loop import Loop, LoopOptions
from edge_runtime.options import RunOptions
from edge_runtime.places import why_unwritable
from edge_runtime.policy import parse_policy
from edge_runtime.redact import redact
from edge_runtime.report import Fault, LatencyReport
from edge_runtime.serving import serve
from edge_runtime.sinks.outlets import open_outlets
from edge_runtime.sinks.spec import SinkContext, parse_sink
from edge_runtime.sources.images import is_image
from edge_runtime.stop import Stop, signals
from edge_runtime.supervision.ladder import ArgusLadder
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.telemetry.sampler import Sampler, find_sensors
from edge_runtime.video import SourceRequest
from edge_runtime.zoo import bound, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.result import Result
    from edge_runtime.supervision.options import SupervisionOptions
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
    path = resolve_model(str(model))
    manifest = read_manifest(path)
    if bound(manifest) and not options.quiet:
        say(f"{manifest.name}: {manifest.license}")
    masks = mask_size(manifest)
    specs = tuple(parse_sink(text) for text in options.sinks)
    _check_outputs(options, path, source)
    request = _request(manifest, options, specs_want_picture=any(s.wants_picture for s in specs))
    with signals(Stop()) as stop, ExitStack() as stack:
        served = stack.enter_context(serve(path, manifest, options, say))
        backend = served.backend
        video = _supervised(source, request, options.supervision)
        log = FramesLog(options.frames_log, has_device_copies=backend.has_device_copies)
        context = SinkContext(
            manifest.labels,
            masks,
            fps=lambda: video.info.fps_nominal,
            model=manifest.name,
            source=redact(source),
        )
        loop_options = LoopOptions(
            policy=None if options.policy is None else parse_policy(options.policy),
            duration_s=options.duration_s,
            outlets=open_outlets(specs, context, stopping=stop.requested),
            on_result=on_result,
            log=stack.enter_context(log) if options.frames_log else None,
            stop=stop,
        )
        outcome = execute(
            backend,
            video,
            served.manifest,
            loop_options,
            quiet=options.quiet,
            sensors=find_sensors(),
        )
    if options.report is not None:
        outcome.report.write(options.report)
    if outcome.failure is not None:
        raise outcome.failure
    return outcome.report


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
) -> Outcome:
    """Run the loop on a backend that is entered, and a source and outlets that are not yet.

    Raises:
        HypersegError: before the first frame; a later one is part of the outcome.
        RuntimeError: the frames of a completed run do not add up, which is a defect of ours.
    """
    start, end, sampler = Start(), End(), Sampler(sensors)
    loop: Loop | None = None
    failure: HypersegError | None = None
    try:
        with sampler if sensors else nullcontext(), options.outlets, source:
            loop = Loop(backend, source, manifest, options)
            try:
                with nullcontext() if quiet else _live_line(loop):
                    end = End.of(loop, loop.run())
            finally:
                if end.ended == "error":
                    end = End.of(loop, "error")
    except HypersegError as error:
        if loop is None or loop.first_ns is None:
            raise
        failure = error
        end = replace(end, ended="error")
        loop.faults.append(
            Fault(t_s=end.duration_s, kind=type(error).__name__, reason=redact(str(error)))
        )
    report = compose_report(start, end, loop, backend, manifest, options.outlets, sampler.summary())
    return Outcome(report, failure)


def _supervised(text: str, request: SourceRequest, options: SupervisionOptions) -> SupervisedSource:
    from edge_runtime.sources import SourceOpener

    opener = SourceOpener(text, request)
    ladder = ArgusLadder(may_restart=options.restart_capture_service) if opener.uses_argus else None
    return SupervisedSource(opener.first(), opener, options, ladder=ladder)


def _live_line(loop: Loop) -> AbstractContextManager[object]:
    from edge_runtime.display import LiveLine

    return LiveLine(loop)


def _request(manifest: Manifest, options: RunOptions, *, specs_want_picture: bool) -> SourceRequest:
    policy = None if options.policy is None else parse_policy(options.policy)
    return SourceRequest(
        network=manifest.input_size,
        resize=manifest.preprocess.resize,
        color=manifest.preprocess.color,
        latest=None if policy is None else not policy.lossless,
        with_picture=options.with_picture or specs_want_picture,
        open_timeout_s=options.open_timeout_s,
    )


def _check_outputs(options: RunOptions, model: Path, source: str) -> None:
    """Fail before the run, not after it, and never write over what is read."""
    try:
        origin = Path(os.path.realpath(source))
    except ValueError:  # no name of a file, which opening it will say
        origin = Path(source)
    model = model.resolve()
    read = {model, manifest_path(model), origin}
    if is_image(origin):
        # Its mask would have its name.
        read.add(origin.parent)
    for output in options.outputs():
        if output in read:
            raise OptionError(f"{output} is read and written; name another output")
    if (path := options.report) is not None and (reason := why_unwritable(path)) is not None:
        raise OptionError(f"cannot write {path}: {reason}")
