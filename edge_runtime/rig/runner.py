"""`run_many`: one network on several cameras, each with a policy, outputs and report of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edge_runtime.compose import Start
from edge_runtime.errors import HypersegError
from edge_runtime.rig.compose import RigAccount, compose_rig_report
from edge_runtime.rig.crew import Crew, Member
from edge_runtime.rig.engine import Engine
from edge_runtime.rig.matching import SetMatcher
from edge_runtime.rig.options import RigOptions, camera_options, name_cameras
from edge_runtime.rig.parts import assemble, check_outputs
from edge_runtime.rig.scheduler import Rig, RigOrders
from edge_runtime.runner import choose_model, conclude
from edge_runtime.service.staff import Staff, alone
from edge_runtime.stop import Stop, signals
from edge_runtime.telemetry.sampler import Sampler, find_sensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.report import Ending
    from edge_runtime.result import Result
    from edge_runtime.rig.lane import Lane
    from edge_runtime.rig.matching import ResultSet
    from edge_runtime.rig.options import Sources
    from edge_runtime.rig.report import RigReport
    from edge_runtime.service.staff import Attend
    from edge_runtime.telemetry.readings import Sensors

DEFAULTS = RigOptions()


def run_many(
    model: str | Path,
    sources: Sources,
    options: RigOptions = DEFAULTS,
    on_result: Callable[[str, Result], None] | None = None,
    on_set: Callable[[ResultSet], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> RigReport:
    """Segment several sources with one network until all end, or the run does.

    A camera that ends or fails ends alone: its outputs are completed while the others go on, and
    `RigReport.failed` says why.

    Args:
        model: a model file with its manifest, or the name of a shipped model.
        sources: texts such as ``test:`` or ``front=rtsp://...``, or sources by camera name.
        options: what holds for all cameras, what differs, and whether sets are made.
        on_result: called with the camera's name and each of its results in the calling thread; the
            mask is valid until it returns. What it raises ends the run and is passed on.
        on_set: called with each complete set, if `RigOptions.match_ms` asks for sets.
        say: takes lines about terms of the model, engines and cameras that fail, also from another
            thread.

    Returns:
        The report; `RigReport.ended` says why the run ended, Ctrl-C included.

    Raises:
        HypersegError: no camera could be opened, or the model or engine failed; the report is
            written first if there was a frame.
    """
    named = name_cameras(sources)
    each = camera_options(options, list(named))
    path, manifest = choose_model(model, options.run, say)
    for own in each.values():
        check_outputs(own, path, list(named.values()))
    matcher = None
    if options.match_ms is not None:
        matcher = SetMatcher(list(named), round(options.match_ms * 1e6), on_set)
    with signals(Stop()) as stop, Staff(path, manifest, options.run, stop, say) as staff:
        members = [
            Member(
                name,
                text,
                assemble(
                    text, each[name], manifest, staff.served.backend, stop.requested, say, name
                ),
                options.weights.get(name, 1.0),
            )
            for name, text in named.items()
        ]
        terms = RigTerms(
            stop=stop,
            duration_s=options.run.duration_s,
            on_result=on_result,
            matcher=matcher,
            say=say,
            quiet=options.run.quiet,
            sensors=find_sensors(),
            attend=staff.attend,
        )
        outcome = execute_many(staff.served.backend, staff.served.manifest, members, terms)
        # Before the engine is given back: that may fail, and after a failure often does.
        conclude(outcome.report, options.run.report, outcome.failure, say)
    return outcome.report


@dataclass
class RigTerms:
    """What a run with several cameras is to do, apart from the cameras."""

    stop: Stop = field(default_factory=Stop)
    duration_s: float | None = None
    """Since the first frame of any camera."""
    on_result: Callable[[str, Result], None] | None = None
    matcher: SetMatcher | None = None
    say: Callable[[str], None] = lambda _: None
    quiet: bool = True
    sensors: Sequence[Sensors] = ()
    attend: Attend = alone

    @property
    def subscriber(self) -> Callable[[str, Result], None] | None:
        """What is called with each result; None if nobody wants them."""
        matcher, on_result = self.matcher, self.on_result
        if matcher is None or on_result is None:
            return on_result if matcher is None else matcher.add

        def both(camera: str, result: Result) -> None:
            on_result(camera, result)
            matcher.add(camera, result)

        return both


@dataclass(frozen=True)
class RigOutcome:
    """How a run went."""

    report: RigReport
    failure: HypersegError | None
    """What ended all cameras at once."""


def execute_many(
    backend: Backend, manifest: Manifest, members: Sequence[Member], terms: RigTerms
) -> RigOutcome:
    """Run the cameras, none of which is entered yet, on a backend that is.

    Raises:
        HypersegError: no camera gave a frame, and one at least failed.
        RuntimeError: the frames of a camera that did not fail do not add up, a defect of ours.
    """
    start, sampler = Start(), Sampler(terms.sensors)
    crew = Crew(members, Engine(backend, manifest), terms.subscriber, terms.say)
    orders = RigOrders(
        stop=terms.stop,
        duration_s=terms.duration_s,
        wait=crew.wait,
        in_rounds=terms.matcher is not None,
        halt=crew.halt,
        on_end=crew.let_go,
    )
    rig = Rig(crew.lanes, orders, [member.weight for member in members])
    ended: Ending = "error"
    failure: HypersegError | None = None
    with sampler if terms.sensors else nullcontext(), crew:
        try:
            live = nullcontext() if terms.quiet else _live_lines(rig)
            with terms.attend(crew.lanes, sampler), live:
                ended = rig.run()
        except HypersegError as error:
            failure = crew.failure = error
        duration_s = rig.elapsed_s()
    failures = {
        lane.name: _settle(lane, camera.failure, failure)
        for lane, camera in zip(crew.lanes, crew.cameras, strict=True)
    }
    if rig.first_ns is None:
        _raise_first(failures)
    if all(failures.values()):
        ended = "error"
    telemetry = sampler.summary(rig.first_ns)
    account = RigAccount(start, ended, duration_s, rig, members, terms.matcher, telemetry)
    return RigOutcome(compose_rig_report(account, backend, manifest), failure)


def _settle(
    lane: Lane, own: Exception | None, common: HypersegError | None
) -> HypersegError | None:
    """Why the camera failed, if it did: by itself, even after its last frame, or with all others.

    Raises:
        Exception: a defect of ours in the camera's thread.
    """
    assert lane.end is not None
    error = lane.failure or own or (common if lane.end.ended == "error" else None)
    if error is None:
        return None
    if not isinstance(error, HypersegError):
        raise error
    lane.failure = error
    lane.end = replace(lane.end, ended="error")
    lane.blame(error, lane.end.duration_s)
    return error


def _raise_first(failures: Mapping[str, HypersegError | None]) -> None:
    for name, error in failures.items():
        if error is not None:
            raise type(error)(f"camera {name}: {error}")


def _live_lines(rig: Rig) -> AbstractContextManager[object]:
    from edge_runtime.rig.display import RigLines

    return RigLines(rig)
