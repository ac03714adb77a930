"""`soak`: a run as a user has it, watched for hours, and a verdict with reasons."""

from __future__ import annotations

import signal
import threading
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.errors import HypersegError, OptionError
from edge_runtime.places import why_unwritable
from edge_runtime.redact import redact
from edge_runtime.rig.options import RigOptions, name_cameras, needs_rig
from edge_runtime.rig.runner import run_many
from edge_runtime.runner import run
from edge_runtime.soak.accelerate import COVERS, LEAVES_OUT, LEAVES_OUT_ACCELERATED, accelerated
from edge_runtime.soak.options import EQUIVALENT_FPS, SoakOptions
from edge_runtime.soak.process import ProcessReader
from edge_runtime.soak.report import Criterion, Samples, SoakReport
from edge_runtime.soak.samples import COLUMNS
from edge_runtime.soak.verdict import (
    judge_count,
    judge_frames,
    judge_latency,
    judge_memory,
    measure_length,
)
from edge_runtime.soak.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_runtime.report import Frames, LatencyReport
    from edge_runtime.result import Result
    from edge_runtime.rig.report import RigReport
    from edge_runtime.soak.report import SoakEnding

DEFAULTS = SoakOptions()


@dataclass(frozen=True)
class Ran:
    """How the run under the soak went."""

    one: LatencyReport | None = None
    many: RigReport | None = None
    failure: HypersegError | None = None

    @property
    def frames(self) -> dict[str, Frames]:
        """By camera; "" is a camera without a name."""
        if self.many is not None:
            return {camera.name: camera.report.frames for camera in self.many.cameras}
        return {} if self.one is None else {"": self.one.frames}

    @property
    def ended(self) -> SoakEnding:
        """Why."""
        report = self.one or self.many
        if report is None or report.ended == "running":  # as no report of a run that is over says
            return "error"
        return report.ended


def soak(
    model: str | Path,
    sources: Sequence[str],
    options: SoakOptions = DEFAULTS,
    on_result: Callable[[str, Result], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> SoakReport:
    """Run a network on sources for long, and judge whether anything grew.

    Args:
        model: a model file with its manifest, or the name of a shipped model.
        sources: as for `edge_runtime.run_many`; a single one without a name runs as with
            `edge_runtime.run`.
        options: how long, what is watched, and what passes.
        on_result: called with the camera's name ("" for a single one) and each result; what it
            keeps or slows down is judged with the rest.
        say: takes lines about the run, also from another thread.

    Returns:
        The report, already written if that was asked for; `SoakReport.passed` is the verdict.

    Raises:
        HypersegError: the run could not begin. A later failure is part of the report.
    """
    if options.frames is not None and threading.current_thread() is not threading.main_thread():
        raise OptionError("a soak of so many frames runs in the main thread; give a duration")
    if (path := options.report) is not None and (reason := why_unwritable(path)) is not None:
        raise OptionError(f"cannot write {path}: {reason}")
    with _tracing(options), _watch(options) as watch:

        def note(camera: str, result: Result) -> None:
            if on_result is not None:
                on_result(camera, result)
            watch.note(camera, result)

        ran = _run(model, _sources(sources, options), options, note, say)
        watch.finish()
    if ran.failure is not None and len(watch.table) == 0:
        raise ran.failure
    report = _compose(options, watch, ran)
    if options.report is not None:
        report.write(options.report)
    return report


def _watch(options: SoakOptions) -> Watch:
    return Watch(ProcessReader(), options.first_interval_s, options.frames, _end_run)


def _end_run() -> None:
    """End the run as a service manager does: every frame under way is finished."""
    signal.raise_signal(signal.SIGTERM)


@contextmanager
def _tracing(options: SoakOptions) -> Iterator[None]:
    begun = options.trace_python and not tracemalloc.is_tracing()
    if begun:
        tracemalloc.start()
    try:
        yield
    finally:
        if begun:
            tracemalloc.stop()


def _sources(sources: Sequence[str], options: SoakOptions) -> list[str]:
    if not options.accelerated:
        return list(sources)
    if not needs_rig(sources, RigOptions(options.run)):
        return [accelerated(sources[0])]
    return [f"{name}={accelerated(text)}" for name, text in name_cameras(sources).items()]


def _run(
    model: str | Path,
    sources: Sequence[str],
    options: SoakOptions,
    note: Callable[[str, Result], None],
    say: Callable[[str], None],
) -> Ran:
    run_options = replace(options.run, policy="every") if options.accelerated else options.run
    rig = RigOptions(run_options)
    try:
        if needs_rig(sources, rig):
            return Ran(many=run_many(model, sources, rig, note, say=say))
        return Ran(one=run(model, sources[0], run_options, lambda result: note("", result), say))
    except HypersegError as error:
        return Ran(failure=error)


def _compose(options: SoakOptions, watch: Watch, ran: Ran) -> SoakReport:
    table, limits = watch.table, options.limits
    per_hour = EQUIVALENT_FPS * 3600 * max(len(watch.cameras), 1) if options.accelerated else None
    length = measure_length(table, per_hour)
    warm_up_s = length.warm_up_s
    ended: SoakEnding = "frames" if watch.reached else ran.ended
    criteria = (
        _judge_end(options, ended, watch, ran),
        judge_frames(ran.frames),
        judge_memory(table, per_hour, limits),
        judge_count(table, "descriptors", warm_up_s),
        judge_count(table, "threads", warm_up_s),
        judge_latency(
            {name: latencies.parts() for name, latencies in watch.cameras.items()},
            warm_up_s,
            limits,
        ),
    )
    return SoakReport(
        passed=all(criterion.passed for criterion in criteria),
        ended=ended,
        criteria=criteria,
        length=length,
        accelerated=options.accelerated,
        covers=COVERS,
        leaves_out=LEAVES_OUT_ACCELERATED if options.accelerated else LEAVES_OUT,
        failure=None if ran.failure is None else redact(str(ran.failure)),
        run=ran.one,
        cameras=ran.many,
        samples=Samples(table.interval_s, COLUMNS, table.as_rows()),
    )


def _judge_end(options: SoakOptions, ended: SoakEnding, watch: Watch, ran: Ran) -> Criterion:
    """Whether the run lasted as long as it was to, with all its cameras."""
    wanted: SoakEnding = "duration" if options.frames is None else "frames"
    frames = sum(camera.published for camera in ran.frames.values())
    if ran.failure is not None:
        says = f"the run failed: {redact(str(ran.failure))}"
    elif ran.many is not None and ran.many.failed:
        named = "; ".join(f"{name} ({reason})" for name, reason in ran.many.failed.items())
        says = f"cameras failed: {named}"
    elif ended == wanted:
        return Criterion("complete", passed=True, says=f"ran to its {wanted}, {frames} results")
    else:
        asked = f"{options.frames} frames" if options.frames else f"{options.run.duration_s:g} s"
        says = f"ended too soon ({ended}) after {frames} results; asked for {asked}"
    return Criterion("complete", passed=False, says=says)
