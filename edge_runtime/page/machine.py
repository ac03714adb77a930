"""The part of a page that tells how the machine was while something was measured on it."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge_runtime.page.charts import Line, Span, TimeChart, legend, time_chart
from edge_runtime.page.markup import figure, number, section

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CHARTS = (
    ("Power", "W", (("power_w", "power"),)),
    ("Hottest sensor", "°C", (("hottest_c", "temperature"),)),
    ("Clocks", "MHz", (("gpu_mhz", "GPU"), ("cpu_mhz", "CPU"))),
    ("Processor", "% busy", (("cpu_percent", "CPU"),)),
)
STYLES = ("one", "two")


def sensor_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the sensors said over time, by column; nothing without them."""
    history = report["telemetry"].get("history")
    if not history:
        return []
    return [dict(zip(history["columns"], row, strict=True)) for row in history["rows"]]


def throttling(rows: Sequence[Mapping[str, Any]]) -> list[Span]:
    """The times between two readings in which throttling was counted."""
    found = []
    for before, after in pairwise(rows):
        events = (after["throttle_events"] or 0) - (before["throttle_events"] or 0)
        if events > 0:
            says = f"throttled: {events:g} events"
            found.append(Span(before["t_s"], after["t_s"], "hot", says))
    return found


def sensor_charts(
    rows: Sequence[Mapping[str, Any]], end_s: float, spans: Sequence[Span] = ()
) -> tuple[str, list[str]]:
    """Charts of what was measured, and the names of what was not.

    Args:
        rows: of `sensor_rows`.
        end_s: of the time axis.
        spans: throttling, to be marked.
    """
    parts = [_chart(title, unit, lines, rows, end_s, spans) for title, unit, lines in CHARTS]
    missing = [title.lower() for (title, *_), part in zip(CHARTS, parts, strict=True) if not part]
    return "".join(parts), missing


def machine_section(report: Mapping[str, Any]) -> str:
    """What the sensors said, and memory, of a latency report."""
    charts, missing = sensor_charts(sensor_rows(report), report["duration_s"])
    memory = report["memory_mb"]
    note = (
        f"Memory of the process {number(memory['rss_start'], 'MB')} at the start, "
        f"{number(memory['rss_end'], 'MB')} at the end.{not_measured(missing)}"
    )
    return section("Machine", f'{charts}<p class="note">{note}</p>')


def not_measured(missing: Sequence[str]) -> str:
    """A sentence about what no sensor told; nothing if all did."""
    return f" Not measured on this machine: {', '.join(missing)}." if missing else ""


def device_rows(device: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What is known about the device, as rows of a table."""
    return ((name, escape(str(value))) for name, value in device.items() if value is not None)


def _chart(
    title: str,
    unit: str,
    lines: Sequence[tuple[str, str]],
    rows: Sequence[Mapping[str, Any]],
    end_s: float,
    spans: Sequence[Span],
) -> str:
    present = [(key, name) for key, name in lines if any(row[key] is not None for row in rows)]
    if not present:
        return ""
    chart = TimeChart(
        title,
        unit,
        [
            Line(name, [(row["t_s"], row[key]) for row in rows], style)
            for (key, name), style in zip(present, STYLES, strict=False)
        ],
        spans,
        end_s,
        height=150,
    )
    keys = legend(
        (style, name) for (_, name), style in zip(present, STYLES, strict=False)
    ) if len(present) > 1 else ""  # fmt: skip
    return f"<h3>{title}, {unit}</h3>" + figure(time_chart(chart), keys, "")
