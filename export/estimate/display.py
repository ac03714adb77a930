"""An estimate as a person reads it, under a title that says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from export.estimate.estimate import EstimateReport
    from export.estimate.roofline import Estimate


def print_estimate(report: EstimateReport, console: Console | None = None) -> None:
    """Print ranges, the sweep, where peaks come from, and what is assumed."""
    console = console or Console()
    height, width = report.size
    console.print(
        f"ESTIMATE, not a measurement: {report.subject} at {height}x{width}, {report.classes} "
        f"classes, {report.macs * 1e-9:.2f} GMAC a picture in {report.operators} operators",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    console.print(_table(report))
    if report.sweep:
        console.print(_sweep(report))
    for line in _footer(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(report: EstimateReport) -> Table:
    each = "one camera" if report.cameras == 1 else f"each of {report.cameras}"
    table = Table()
    for column in ("estimate", "type"):
        table.add_column(column)
    for column in ("MB moved", "ms a picture", f"pictures/s, {each}"):
        table.add_column(column, justify="right")
    table.add_column("mostly")
    for one in report.estimates:
        low, high = one.cameras_fps(report.cameras)
        table.add_row(
            one.device, one.precision, f"{report.traffic_mb[one.precision]:.1f}", _range(one),
            f"{low:.0f} to {high:.0f}", one.bound,
        )  # fmt: skip
    return table


def _sweep(report: EstimateReport) -> Table:
    table = Table(title="How cost grows, FP16, estimated ms", title_justify="left")
    table.add_column("")
    table.add_column("")
    table.add_column("GMAC", justify="right")
    for device in report.devices:
        table.add_column(device.name, justify="right")
    before = None
    for point in report.sweep:
        if point.axis != before:
            table.add_section()
        name = point.axis if point.axis != before else ""
        before = point.axis
        ranges = [_range(one) for one in point.estimates]
        table.add_row(name, point.value, f"{point.macs * 1e-9:.2f}", *ranges)
    return table


def _footer(report: EstimateReport) -> list[str]:
    lines = [f"Assumed: {text}." for text in report.assumptions]
    lines += [f"Peaks of {device.title}: {device.source}." for device in report.devices]
    lines.append("Dense is taken as half of sparse, FP16 as half of INT8, TF32 as half of FP16.")
    return [*lines, "Measure on the device: hyperseg selftest, hyperseg bench."]


def _range(one: Estimate) -> str:
    digits = 2 if one.slow_ms < 10 else 1
    return f"{one.fast_ms:.{digits}f} to {one.slow_ms:.{digits}f}"
