"""Takes pages of reports apart: whether tags nest, what people read, what would be loaded."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "img", "br", "link", "input"}
LOADS = {"src", "href", "data", "action", "srcset", "poster"}


class Page(HTMLParser):
    """A page whose tags nest, or an AssertionError."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        """What people read, piece by piece."""
        self.addresses: list[str] = []
        """Of pictures within the page and of what would be loaded."""
        self.scripts: list[dict[str, str | None]] = []
        self.classes: list[str] = []
        self.source = text
        self._open: list[str] = []
        self._script = ""
        self.feed(text)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def loaded(self) -> list[str]:
        """What a browser would ask the network or the disk for."""
        found = [address for address in self.addresses if not address.startswith("data:image/")]
        return found + [word for word in ("url(", "@import") if word in self.source]

    @property
    def report(self) -> Any:
        """The JSON within."""
        return json.loads(self._script)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append(dict(attrs))
        self.addresses += [str(value) for name, value in attrs if name in LOADS]
        self.classes += [str(value) for name, value in attrs if name == "class"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self._script += data
        elif "style" not in self._open and data.strip():
            self.texts.append(data.strip())
