"""Charts of amounts as inline SVG: bars, columns, boxes, intervals. Styled by the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from edge_runtime.page.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    linear_ticks,
    log_ticks,
    nice_ticks,
    svg,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

METER_WIDTH = 200


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
    return svg(title, step * len(rows) + 8, parts)


def columns(
    title: str,
    edges: Sequence[float],
    counts: Sequence[int],
    *,
    what: str = "frames",
    ratio: float = 1.04,
    span: tuple[float, float] | None = None,
) -> str:
    """Counts by bins that end at `edges`, on a logarithmic axis of milliseconds.

    Args:
        title: of the chart.
        edges: upper bounds of the bins, at least one.
        counts: of the bins.
        what: is counted.
        ratio: of a bin's bounds.
        span: shortest and longest that are shown; None takes those of the bins.
    """
    height = 200
    first, last = span or (edges[0] / ratio, edges[-1])
    low, high = math.log(first), math.log(last)
    plot_w, plot_h = WIDTH - LEFT - RIGHT, height - TOP - BOTTOM
    most = max(counts)

    def x(value: float) -> float:
        return LEFT + plot_w * (math.log(value) - low) / max(high - low, 1e-9)

    parts = [
        f'<rect class="bar" x="{x(edge / ratio):.1f}" y="{TOP + plot_h * (1 - n / most):.1f}" '
        f'width="{max(x(edge) - x(edge / ratio) - 0.5, 1):.1f}" '
        f'height="{plot_h * n / most:.1f}"><title>up to {edge:.4g} ms: {n} {escape(what)}'
        "</title></rect>"
        for edge, n in zip(edges, counts, strict=True)
    ]
    parts += [
        f'<text class="axis" text-anchor="middle" x="{x(tick):.1f}" y="{height - 8}">{tick:g} ms'
        "</text>"
        for tick in log_ticks(first, last)
    ]
    top = f'<text class="axis" text-anchor="end" x="{LEFT - 6}" y="{TOP + 10}">{most}</text>'
    parts.append(top)
    return svg(title, height, parts)


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
    return svg(title, height, parts)


@dataclass(frozen=True)
class Interval:
    """A figure and the limits of what it may be."""

    name: str
    middle: float
    low: float | None
    high: float | None
    """None where the limits are not known."""


def intervals(title: str, rows: Sequence[Interval], mark: float = 1.0) -> str:
    """Horizontal intervals with a mark in the middle, and a line at what makes no difference."""
    step, left, right = 30, 190, 40
    known = [v for row in rows for v in (row.low, row.middle, row.high) if v is not None]
    low, high = min([mark, *known]), max([mark, *known])
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    height = step * len(rows) + BOTTOM

    def x(value: float) -> float:
        return left + (WIDTH - left - right) * (value - low) / (high - low)

    ticks = [tick for tick in linear_ticks(low, high) if tick != mark]
    parts = [
        f'<line class="{style}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="0" y2="{height - 24}"/>'
        f'<text class="axis" text-anchor="middle" x="{x(tick):.1f}" y="{height - 8}">{tick:g}'
        "</text>"
        for tick, style in (*((tick, "grid") for tick in ticks), (mark, "middle"))
    ]
    for number, row in enumerate(rows):
        y = number * step + 14
        parts.append(
            f'<text class="axis" text-anchor="end" x="{left - 10}" y="{y + 5}">{escape(row.name)}'
            f'</text><circle class="bar" cx="{x(row.middle):.1f}" cy="{y}" r="5"/>'
        )
        if row.low is not None and row.high is not None:
            width = max(x(row.high) - x(row.low), 2.0)
            parts.append(
                f'<rect class="bar" x="{x(row.low):.1f}" y="{y - 2}" width="{width:.1f}" '
                'height="4"/>'
            )
    return svg(title, height, parts)


def meter(share: float | None) -> str:
    """A small bar of `share`, 0..1, for a cell whose figure stands beside it."""
    width = METER_WIDTH * max(0.0, min(share or 0.0, 1.0))
    return (
        f'<svg class="meter" viewBox="0 0 {METER_WIDTH} 12" aria-hidden="true" '
        'preserveAspectRatio="none">'
        f'<rect class="rest" width="{METER_WIDTH}" height="12"/>'
        f'<rect class="bar" width="{width:.1f}" height="12"/></svg>'
    )
