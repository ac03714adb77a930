"""Links between pages lead somewhere, to headings too; what the API pages name exists."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import edge_runtime
from tests.docs.pages import DOCS, DOCSTRING, LINK, anchors, page_id, pages, prose


def broken_links(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = []
    for target in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (
            anchor and anchor not in anchors(place.read_text(encoding="utf-8"))
        ):
            found.append(target)
    return found


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "# One two\n[a](#one-two) [b](#three) [c](b.md) [d](a.md#one-two) [e](https://x)"
    )
    assert broken_links(page) == ["#three", "b.md"]


def documented() -> set[str]:
    texts = [page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md")]
    return {name for text in texts for name in DOCSTRING.findall(text)}


@pytest.mark.parametrize("name", sorted(documented()))
def test_documented_name_exists_and_says_what_it_is(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(module), attribute)
    assert found.__doc__


def test_every_public_name_of_the_runtime_is_documented() -> None:
    names = {name.rpartition(".")[2] for name in documented()}
    assert set(edge_runtime.__all__) - {"__version__"} <= names
