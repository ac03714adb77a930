"""What a run with several cameras shows: a live line for each, and a table at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_runtime.display import LiveLine, describe

if TYPE_CHECKING:
    from edge_runtime.rig.report import CameraReport, RigReport
    from edge_runtime.rig.scheduler import Rig

COLUMNS = (
    "camera", "out/s", "in/s", "age p50", "p99", "max", "dropped", "outages", "share",
)  # fmt: skip


class RigLines(LiveLine):
    """One line about the last 10 s of each camera, drawn as `LiveLine` is."""

    def __init__(self, rig: Rig, console: Console | None = None) -> None:
        super().__init__(rig.lanes[0], console)
        self._rig = rig

    def line(self) -> Text:
        """The lines as they stand now."""
        width = max(len(lane.name) for lane in self._rig.lanes)
        lines = [
            f"{lane.name:{width}} {'over' if lane.end is not None else describe(lane)}"
            for lane in self._rig.lanes
        ]
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def print_rig_report(report: RigReport, console: Console | None = None) -> None:
    """Print each camera's rates, ages and drops, and how busy the network was."""
    console = console or Console()
    table = Table(title="Age of results in ms, from capture to publish", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "camera" else "right")
    for camera in report.cameras:
        table.add_row(*_row(camera))
    console.print(table)
    for sentence in _footer(report):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _row(camera: CameraReport) -> list[str]:
    report = camera.report
    age, dropped = report.latency_ms.result, report.frames.dropped
    lost = (dropped.queue, dropped.stale, dropped.sink, dropped.damaged, dropped.repeated)
    return [
        camera.name,
        _number(report.fps.publish),
        _number(report.fps.source),
        _number(age.p50),
        _number(age.p99),
        _number(age.max),
        str(sum(lost) + dropped.outage),
        str(report.outages.count),
        "-" if camera.share is None else f"{camera.share:.0%}",
    ]


def _footer(report: RigReport) -> list[str]:
    engine, model = report.engine, report.cameras[0].report.model
    busy = "-" if engine.utilisation is None else f"{engine.utilisation:.0%}"
    lines = [
        f"Model: {model.name}, {model.backend}: {engine.turns} frames, "
        f"{_number(engine.per_second)}/s, busy {busy} of {report.duration_s:.1f} s, "
        f"{_number(engine.service_ms.p50)} ms each (p50).",
    ]
    for camera in report.cameras:
        source = camera.report.source
        lines.append(
            f"{camera.name}: {camera.source}, clock {source.timestamp_source}, policy "
            f"{source.policy}, ended: {camera.report.ended}."
        )
    if report.sets is not None:
        sets = report.sets
        lines.append(
            f"Sets within {sets.tolerance_ms:g} ms: {sets.complete} complete, {sets.incomplete} "
            f"incomplete; spread p50 {_number(sets.spread_ms.p50)}, max "
            f"{_number(sets.spread_ms.max)} ms."
        )
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
