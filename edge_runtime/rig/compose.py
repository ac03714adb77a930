"""Composes the report of a run with several cameras from what was noted while it ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.compose import Start, compose_report
from edge_runtime.redact import redact
from edge_runtime.rig.report import CameraReport, EngineReport, RigReport, SetsReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.report import Ending
    from edge_runtime.rig.crew import Member
    from edge_runtime.rig.matching import SetMatcher
    from edge_runtime.rig.scheduler import Rig
    from edge_runtime.telemetry.summary import Telemetry


@dataclass(frozen=True)
class RigAccount:
    """What is known of a run whose cameras and outputs are closed."""

    start: Start
    ended: Ending
    duration_s: float
    rig: Rig
    """Its lanes have ended."""
    members: Sequence[Member]
    """In the order of the lanes."""
    matcher: SetMatcher | None
    telemetry: Telemetry


def compose_rig_report(account: RigAccount, backend: Backend, manifest: Manifest) -> RigReport:
    """The report of the run."""
    cameras = tuple(
        _camera(account, number, backend, manifest) for number in range(len(account.members))
    )
    return RigReport(
        run_id=account.start.run_id,
        started_at=cameras[0].report.started_at,
        duration_s=account.duration_s,
        ended=account.ended,
        engine=_engine(account),
        cameras=cameras,
        sets=None if account.matcher is None else _sets(account.matcher),
    )


def _camera(account: RigAccount, number: int, backend: Backend, manifest: Manifest) -> CameraReport:
    lane, member = account.rig.lanes[number], account.members[number]
    counts = account.rig.turns.counts
    assert lane.end is not None
    report = compose_report(
        account.start,
        lane.end,
        lane,
        backend,
        manifest,
        member.parts.outlets,
        account.telemetry,
    )
    return CameraReport(
        name=member.name,
        source=redact(member.text),
        weight=member.weight,
        turns=counts[number],
        share=counts[number] / sum(counts) if any(counts) else None,
        failure=None if lane.failure is None else redact(str(lane.failure)),
        report=report,
    )


def _engine(account: RigAccount) -> EngineReport:
    service, duration_s = account.rig.service, account.duration_s
    busy_s = (service.mean_ms or 0.0) * service.n * 1e-3
    ran = duration_s > 0
    return EngineReport(
        utilisation=min(busy_s / duration_s, 1.0) if ran else None,
        turns=service.n,
        per_second=service.n / duration_s if ran else None,
        service_ms=service.distribution(),
    )


def _sets(matcher: SetMatcher) -> SetsReport:
    matcher.close()
    return SetsReport(
        tolerance_ms=matcher.tolerance_ms,
        complete=matcher.complete,
        incomplete=matcher.incomplete,
        spread_ms=matcher.spread.distribution(),
    )
