"""What all pages have in common: head, style, title, and the report itself within."""

from __future__ import annotations

from html import escape
from importlib.resources import files

import msgspec

PRODUCT = "HyperSeg Edge"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Of the page for the browser: it may load nothing and run nothing."""


def document(title: str, body: str, *, made: str = "", data: object = None) -> str:
    """A whole page that needs neither network nor script.

    Args:
        title: as text.
        body: HTML below it.
        made: when and by what, as text.
        data: the report, which goes into the page; None leaves it out.
    """
    style = (files("edge_runtime.page") / "style.css").read_text(encoding="utf-8")
    about = ", ".join(escape(part) for part in (PRODUCT, made) if part)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)} – {PRODUCT}</title><style>{style}</style></head><body>"  # noqa: RUF001
        f'<main><h1>{escape(title)}</h1><p class="note">{about}</p>{body}</main>'
        f"{'' if data is None else _embedded(data)}</body></html>\n"
    )


def utc(moment: str | None) -> str:
    """A moment in ISO format as people read it; nothing for none."""
    if not moment:
        return ""
    return moment.partition(".")[0].partition("+")[0].rstrip("Z").replace("T", " ") + " UTC"


def _embedded(data: object) -> str:
    text = msgspec.json.encode(data).decode().replace("<", "\\u003c")
    return f'<script type="application/json" id="report">{text}</script>'
