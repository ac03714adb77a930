"""Charts as inline SVG. Colours are classes of the page's style, so that they follow its theme."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 64, 30, 12, 30
"""Of a chart and the margins around its plot, in units of its own that scale with the page."""


@dataclass(frozen=True)
class Line:
    """Values over time."""

    name: str
    points: Sequence[tuple[float, float | None]]
    """(seconds, value); the line is broken where a value is missing."""
    style: str
    """A class of the page's style."""


@dataclass(frozen=True)
class Span:
    """A time that is marked."""

    begin_s: float
    end_s: float
    style: str
    says: str


@dataclass(frozen=True)
class TimeChart:
    """Lines over one time axis."""

    title: str
    unit: str
    lines: Sequence[Line]
    spans: Sequence[Span] = field(default_factory=tuple)
    end_s: float = 0.0
    gap_s: float = math.inf
    """Points further apart are not joined."""
    height: int = 240


def time_chart(chart: TimeChart) -> str:
    """The chart as an SVG element."""
    values = [value for line in chart.lines for _, value in line.points if value is not None]
    times = [t_s for line in chart.lines for t_s, _ in line.points]
    end_s = max([chart.end_s, *times, 1e-3])
    ticks = nice_ticks(max(values, default=1.0))
    top = ticks[-1]
    plot_w, plot_h = WIDTH - LEFT - RIGHT, chart.height - TOP - BOTTOM

    def x(t_s: float) -> float:
        return LEFT + plot_w * min(max(t_s / end_s, 0.0), 1.0)

    def y(value: float) -> float:
        return TOP + plot_h * (1 - min(value / top, 1.0))

    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" '
        f'y2="{y(tick):.1f}"/><text class="axis" text-anchor="end" x="{LEFT - 6}" '
        f'y="{y(tick) + 4:.1f}">{tick:g}</text>'
        for tick in ticks
    ]
    scale, unit = time_unit(end_s)
    for tick in nice_ticks(end_s / scale):
        if tick * scale <= end_s:
            parts.append(
                f'<text class="axis" text-anchor="middle" x="{x(tick * scale):.1f}" '
                f'y="{chart.height - 8}">{tick:g} {unit}</text>'
            )
    for span in chart.spans:
        width = max(x(span.end_s) - x(span.begin_s), 2.0)
        parts.append(
            f'<rect class="{span.style}" x="{x(span.begin_s):.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{plot_h}"><title>{escape(span.says)}</title></rect>'
        )
    for line in chart.lines:
        for piece in pieces(line.points, chart.gap_s):
            path = "L".join(f"{x(t_s):.1f} {y(value):.1f}" for t_s, value in piece)
            # A piece of one point would not show.
            parts.append(f'<path class="line {line.style}" d="M{path}h0.1"/>')
    return _svg(f"{chart.title}, {chart.unit}", chart.height, parts)


def pieces(
    points: Sequence[tuple[float, float | None]], gap_s: float
) -> Iterable[list[tuple[float, float]]]:
    """Points that belong together: none missing between them, none too far from the next."""
    piece: list[tuple[float, float]] = []
    for t_s, value in points:
        if piece and (value is None or t_s - piece[-1][0] > gap_s):
            yield piece
            piece = []
        if value is not None:
            piece.append((t_s, value))
    if piece:
        yield piece


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars: (name, value, what stands beside it)."""
    largest = max((value for _, value, _ in rows), default=0.0) or 1.0
    step, left, room = 24, 150, 150
    parts = []
    for number, (name, value, says) in enumerate(rows):
        middle = number * step + 16
        width = (WIDTH - left - room) * value / largest
        place = f'x="{left}" y="{middle - 11}" width="{width:.1f}" height="14"'
        parts.append(
            f'<text class="axis" text-anchor="end" x="{left - 8}" y="{middle}">{escape(name)}'
            f'</text><rect class="bar" {place}/>'
            f'<text class="axis" x="{left + width + 6:.1f}" y="{middle}">{escape(says)}</text>'
        )
    return _svg(title, step * len(rows) + 8, parts)


def columns(title: str, edges: Sequence[float], counts: Sequence[int]) -> str:
    """Counts by bins that end at `edges`, on a logarithmic axis of milliseconds."""
    height, ratio = 200, 1.04
    low, high = math.log(edges[0] / ratio), math.log(edges[-1])
    plot_w, plot_h = WIDTH - LEFT - RIGHT, height - TOP - BOTTOM
    most = max(counts)

    def x(value: float) -> float:
        return LEFT + plot_w * (math.log(value) - low) / max(high - low, 1e-9)

    parts = [
        f'<rect class="bar" x="{x(edge / ratio):.1f}" y="{TOP + plot_h * (1 - n / most):.1f}" '
        f'width="{max(x(edge) - x(edge / ratio) - 0.5, 1):.1f}" '
        f'height="{plot_h * n / most:.1f}"><title>up to {edge:.1f} ms: {n} frames</title></rect>'
        for edge, n in zip(edges, counts, strict=True)
    ]
    parts += [
        f'<text class="axis" text-anchor="middle" x="{x(tick):.1f}" y="{height - 8}">{tick:g} ms'
        "</text>"
        for tick in log_ticks(edges[0] / ratio, edges[-1])
    ]
    top = f'<text class="axis" text-anchor="end" x="{LEFT - 6}" y="{TOP + 10}">{most}</text>'
    parts.append(top)
    return _svg(title, height, parts)


@dataclass(frozen=True)
class Box:
    """Where the durations of one kind lie; None is unknown."""

    name: str
    low: float
    middle: float
    high: float
    longest: float


def boxes(title: str, rows: Sequence[Box]) -> str:
    """Horizontal boxes from `low` to `high` with a mark in the middle and a line to the longest."""
    step, left, right = 26, 110, 40
    ticks = nice_ticks(max((row.longest for row in rows), default=1.0))
    height = step * len(rows) + BOTTOM

    def x(value: float) -> float:
        return left + (WIDTH - left - right) * min(value / ticks[-1], 1.0)

    parts = [
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="0" y2="{height - 24}"/>'
        f'<text class="axis" text-anchor="middle" x="{x(tick):.1f}" y="{height - 8}">{tick:g} ms'
        "</text>"
        for tick in ticks
    ]
    for number, row in enumerate(rows):
        y = number * step + 12
        width = max(x(row.high) - x(row.low), 1.5)
        parts.append(
            f'<text class="axis" text-anchor="end" x="{left - 8}" y="{y + 5}">{escape(row.name)}'
            f'</text><line class="whisker" x1="{x(row.low):.1f}" x2="{x(row.longest):.1f}" '
            f'y1="{y}" y2="{y}"/><rect class="bar" x="{x(row.low):.1f}" y="{y - 7}" '
            f'width="{width:.1f}" height="14"/><line class="middle" x1="{x(row.middle):.1f}" '
            f'x2="{x(row.middle):.1f}" y1="{y - 9}" y2="{y + 9}"/>'
        )
    return _svg(title, height, parts)


def nice_ticks(largest: float, about: int = 5) -> list[float]:
    """Round numbers from 0 up to the first that is not below `largest`."""
    largest = max(largest, 1e-6)
    raw = largest / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    return [round(step * number, 9) for number in range(math.ceil(largest / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, a few per decade, or more where they are close."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(ticks) >= 4:
            return ticks
    return ticks


def time_unit(end_s: float) -> tuple[float, str]:
    """(seconds of it, its name) of the unit that suits a time axis."""
    if end_s >= 3 * 3600:
        return 3600.0, "h"
    return (60.0, "min") if end_s >= 180 else (1.0, "s")


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """(class, words) of what a chart shows."""
    keys = "".join(
        f'<span><svg class="key" viewBox="0 0 18 10" aria-hidden="true"><rect class="{style} key" '
        f'width="18" height="10"/></svg>{escape(words)}</span>'
        for style, words in entries
    )
    return f'<p class="legend">{keys}</p>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    label = escape(title, quote=True)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
