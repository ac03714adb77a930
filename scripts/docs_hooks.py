"""What MkDocs does besides: pages that lie outside docs/, and links that leave it.

The README and its like stay where people look for them and become pages under another name. A link
to one of them, or from one of them into docs/, leads to the page; a link to any other file of the
repository becomes the file's name, because the site has no copy of it.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "edge_runtime/models/README.md": "models.md",
    "edge_runtime/models/camvid-edge-s.md": "camvid-edge-s.md",
}
"""Pages by their file in the repository."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s:]+)\)")
_FENCE = re.compile(r"^(\s*```\w+) .*$", re.MULTILINE)
_log = logging.getLogger("mkdocs.hooks.docs")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for source, name in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the page's links to pages of the site, and drop words behind a fence's language."""
    uri = page.file.src_uri
    source = next((path for path, name in ELSEWHERE.items() if name == uri), f"docs/{uri}")
    text = _FENCE.sub(r"\1", markdown)
    return _LINK.sub(lambda link: _led(link, PurePosixPath(source), uri), text)


def _led(link: re.Match[str], source: PurePosixPath, uri: str) -> str:
    image, text, target = link.groups()
    path, hash_mark, anchor = target.partition("#")
    if not path:
        return link.group()
    found = os.path.normpath(source.parent / path)
    if not (ROOT / found).exists():
        _log.warning("%s links to %s, which does not exist", source, target)
        return link.group()
    place = ELSEWHERE.get(found) or (found[5:] if found.startswith("docs/") else None)
    if place is None:
        return text if found in text else f"{text} (`{found}`)"
    relative = os.path.relpath(place, PurePosixPath(uri).parent)
    return f"{image}[{text}]({relative}{hash_mark}{anchor})"
