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
SMALLEST = 1e-9
"""What an axis reaches to at least."""


@dataclass(frozen=True)
class Line:
    """Values over time."""

    name: str
    points: Sequence[tuple[float, float | None]]
    """(seconds, value); the line is broken where a value is missing."""
    style: str
    """A class of the page's style."""
    dots: bool = False
    """Mark every point."""


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
    x_unit: str | None = None
    """What the points lie along, where it is not time; None is seconds."""


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
    scale, unit = time_unit(end_s) if chart.x_unit is None else (1.0, chart.x_unit)
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
            if line.dots:
                parts += [
                    f'<circle class="dot" cx="{x(t_s):.1f}" cy="{y(value):.1f}" r="3"/>'
                    for t_s, value in piece
                ]
    return svg(_in_words(chart), chart.height, parts)


def _in_words(chart: TimeChart) -> str:
    """The chart for those who cannot see it: where each line lies and ends, and what is marked."""
    parts = []
    for line in chart.lines:
        known = [value for _, value in line.points if value is not None]
        if known:
            parts.append(
                f"{line.name} from {min(known):.3g} to {max(known):.3g}, at last {known[-1]:.3g}"
            )
    parts += dict.fromkeys(span.says for span in chart.spans)
    return f"{chart.title}, {chart.unit}: {'; '.join(parts) or 'nothing'}"


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


def nice_ticks(largest: float, about: int = 5) -> list[float]:
    """Round numbers from 0 up to the first that is not below `largest`."""
    largest = max(largest, SMALLEST)
    step = _step(largest / about)
    return [round(step * number, 12) for number in range(math.ceil(largest / step - 1e-9) + 1)]


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two that differ."""
    step = _step(max(high - low, SMALLEST) / about)
    return [
        round(step * number, 12)
        for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def _step(raw: float) -> float:
    """The smallest round number that is hardly below `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, a few per decade, or more where they are close."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(ticks) >= 4:
            return ticks
    return ticks if len(ticks) >= 3 else linear_ticks(low, high)


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


def svg(title: str, height: float, parts: Sequence[str]) -> str:
    """A chart of these parts, with a name for those who cannot see it."""
    label = escape(title, quote=True)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
