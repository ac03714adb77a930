"""The parts of a page that tell how good a network is: IoU by class, and what is taken for what."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edge_runtime.page.bars import meter
from edge_runtime.page.markup import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Counts = Sequence[Sequence[int]]
    Scores = Mapping[str, Any]

BAD_POINTS = 1.0
"""Below the first column, from where on a loss is shown in red."""
MISSING, MEAN = "not measured", "mIoU"
SHOWN_SHARE = 0.005
"""Of a class's pixels, below which a cell of the matrix stays empty."""
MOST_MISTAKES = 12
_DARKER = ((0.8, "h"), (0.6, "m"))
"""Shares from which the ground of a cell is dark in the light theme, or light in the dark one."""


def class_table(columns: Mapping[str, Scores | None]) -> str:
    """IoU by class in per cent: a bar for the first column, and what others gain or lose by it.

    Args:
        columns: by heading, as `edge_runtime.metrics.Scores.as_json` has them; in all but the
            first, None is what was not measured.
    """
    scores = list(columns.values())
    first = scores[0]
    assert first is not None
    rows = []
    for name in (MEAN, *first["iou"]):
        shares = [None if one is None else _share(one, name) for one in scores]
        cells = [
            MISSING if one is None else "absent" if share is None else 100 * share
            for one, share in zip(scores, shares, strict=True)
        ]
        label = f"<b>{MEAN}</b>" if name == MEAN else escape(name)
        rows.append([label, meter(shares[0]), *_changes(cells)])
    return table(("class", "", *map(escape, columns)), rows, numbers=range(2, len(columns) + 2))


def _share(scores: Scores, name: str) -> float | None:
    found: float | None = scores["miou"] if name == MEAN else scores["iou"].get(name)
    return found


def _changes(values: Sequence[float | str]) -> list[str]:
    """Values as text, all but the first with what they gain or lose against it."""
    first, cells = values[0], []
    for index, value in enumerate(values):
        text = value if isinstance(value, str) else f"{value:.2f}"
        if index and isinstance(value, float) and isinstance(first, float):
            kind = "bad" if value < first - BAD_POINTS else "note"
            text += f' <span class="{kind}">{round(value - first, 2) + 0.0:+.2f}</span>'
        cells.append(text)
    return cells


def confusion(names: Sequence[str], counts: Counts, *, rows: str, columns: str) -> str:
    """A confusion matrix as a table, each row in per cent of its pixels, and its largest errors.

    Args:
        names: of the classes.
        counts: (C, C) pixels, ``counts[row][column]``.
        rows: what a row is, as in ``labelled``.
        columns: what a column is, as in ``predicted``.
    """
    everything = sum(map(sum, counts)) or 1
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(_cell(value, sum(row), place == number) for place, value in enumerate(row))
        + f'<td class="n">{100 * sum(row) / everything:.1f}</td></tr>'
        for number, (name, row) in enumerate(zip(names, counts, strict=True))
    )
    note = (
        f"Rows are {rows}, columns {columns}, in per cent of the row's pixels; empty below "
        f"{100 * SHOWN_SHARE:g} %. The last column is the row's share of all pixels."
    )
    return (
        '<div class="scroll"><table class="matrix"><caption>Confusion matrix</caption>'
        f'<tr><th scope="col">{escape(rows)}</th>{head}'
        f'<th scope="col"><span>of all, %</span></th></tr>{body}</table></div>'
        f'<p class="note">{note}</p>{_mistakes(names, counts, rows, columns)}'
    )


def _cell(value: int, total: int, right: bool) -> str:
    share = value / total if total else 0.0
    mark = " r" if right else ""
    if share < SHOWN_SHARE:
        return f'<td class="{mark.strip()}"></td>' if mark else "<td></td>"
    ground = next((f" {name}" for limit, name in _DARKER if share >= limit), "")
    # A share that is almost all must not read as all.
    text = f"{100 * share:.0f}" if share < 0.995 or share == 1 else ">99"
    return f'<td class="c{ground}{mark}" style="--s:{share:.2f}">{escape(text)}</td>'


def _mistakes(names: Sequence[str], counts: Counts, rows: str, columns: str) -> str:
    found = sorted(_wrong(names, counts), reverse=True)[:MOST_MISTAKES]
    if not found:
        return '<p class="note">No pixel is wrong.</p>'
    wrong = sum(value for value, *_ in _wrong(names, counts))
    body = [
        (escape(row), escape(column), f"{100 * share:.1f}", f"{100 * value / wrong:.1f}")
        for value, share, row, column in found
    ]
    header = (escape(rows), escape(columns), f"% of the {escape(rows)} class", "% of all errors")
    return f"<h3>Most frequent errors</h3>{table(header, body, numbers=(2, 3))}"


def _wrong(names: Sequence[str], counts: Counts) -> Iterator[tuple[int, float, str, str]]:
    """(pixels, their share of the row, row, column) off the diagonal."""
    for number, row in enumerate(counts):
        total = sum(row)
        for place, value in enumerate(row):
            if value and place != number:
                yield value, value / total, names[number], names[place]
