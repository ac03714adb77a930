"""Pieces of HTML that the pages of reports are made of."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence


def section(title: str, content: str) -> str:
    """A heading and what belongs to it; nothing without content."""
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def details(summary: str, content: str) -> str:
    """What is there for those who open it."""
    return f"<details><summary>{summary}</summary>{content}</details>" if content else ""


def code(text: str | None) -> str:
    """A name, address or hash; nothing for none."""
    return f"<code>{escape(text)}</code>" if text else ""


def badge(word: str, kind: str) -> str:
    """A verdict: `kind` is ``good``, ``bad``, ``warn`` or ``soft``."""
    return f'<span class="badge {kind}">{escape(word)}</span>'


def listed(lines: Iterable[str], kind: str) -> str:
    """Remarks, one below the other; nothing for none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """(name, what it is as HTML) below each other, without those that are not known."""
    return table((), [row for row in rows if row[1]])


def facts(entries: Iterable[tuple[str, str]]) -> str:
    """(figure, what it is) side by side."""
    items = "".join(f"<li><b>{value}</b><span>{says}</span></li>" for value, says in entries)
    return f'<ul class="facts">{items}</ul>'


def figure(chart: str, below: str, note: str) -> str:
    """A chart with what explains it."""
    words = f'<p class="note">{note}</p>' if note else ""
    return f'<div class="scroll">{chart}</div>{below}{words}'


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Container[int] = ()
) -> str:
    """A table of cells that are HTML already.

    Args:
        header: of the columns; none at all makes the first cell of each row a header.
        rows: the cells.
        numbers: columns that are aligned on the right.
    """

    def cell(kind: str, place: int, text: str) -> str:
        return f"<{kind}{' class=n' if place in numbers else ''}>{text}</{kind}>"

    head = "".join(cell("th", place, text) for place, text in enumerate(header))
    body = "".join(
        "<tr>"
        + "".join(
            cell("th" if not header and place == 0 else "td", place, text)
            for place, text in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    top = f"<tr>{head}</tr>" if header else ""
    return f'<div class="scroll"><table>{top}{body}</table></div>'


def number(value: float | None, unit: str = "") -> str:
    """A figure with three or more digits, or a dash for one that is not known."""
    if value is None:
        return "–"  # noqa: RUF001  (a dash as typography has it)
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else (
        f"{value:.1f}"
    )  # fmt: skip
    return f"{text} {unit}".strip()


def duration_text(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 180:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.3g} s"
