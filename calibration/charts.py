"""Small SVG charts for a report: no library, no script, no file beside the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 220, 44
"""Of a histogram, in pixels."""


def histogram(counts: Sequence[int], largest: float, amax: float) -> str:
    """Magnitudes of a tensor, counts on a logarithmic axis, a red line at the chosen range.

    Args:
        counts: of bins from 0 to `largest`.
        largest: magnitude seen.
        amax: magnitude that is represented; beyond `largest` the axis is extended.
    """
    reach = max(largest, amax) or 1.0
    top = math.log1p(max(counts, default=0)) or 1.0
    step = WIDTH * largest / reach / max(len(counts), 1)
    bars = "".join(
        f"M{index * step:.1f} {HEIGHT}h{step:.1f}v-{HEIGHT * math.log1p(count) / top:.1f}"
        f"h-{step:.1f}z"
        for index, count in enumerate(counts)
        if count
    )
    line = WIDTH * amax / reach
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f'<path class="bar" d="{bars}"/><path class="cut" d="M{line:.1f} 0V{HEIGHT}"/></svg>'
    )


def settling(history: Mapping[str, Mapping[str, float]]) -> list[tuple[int, float]]:
    """(frames, 90th percentile over tensors of how far a range is from its final value, 0..)."""
    rows = sorted((int(count), ranges) for count, ranges in history.items())
    final = rows[-1][1] if rows else {}
    moves = []
    for count, ranges in rows:
        apart = sorted(abs(ranges[name] - last) / last for name, last in final.items() if last)
        moves.append((count, apart[int(0.9 * (len(apart) - 1))] if apart else 0.0))
    return moves
