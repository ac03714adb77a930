"""What the pages hold: fenced blocks with their marks, commands, links and headings.

A comment before a fence, invisible on the page, marks it:

``<!-- run -->``
    The block is typed, after those before it on the page, in one folder.
``<!-- output -->``
    Its lines appear, in this order, in what the run block before it printed. Any number stands for
    any number, ``...`` for anything.
``<!-- unparsed: REASON -->``
    The block has commands that cannot be understood without what the reason says.

Commands of all other blocks are taken apart by the parser of their verb, but not run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"

FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?"
    r"^(?P<fence>```+)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"(?:^(?: {4}[^\n]*)\n)+", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`(hyperseg [^`]+)`(?!`)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
DOCSTRING = re.compile(r"^::: (\S+)$", re.MULTILINE)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
OPERATORS = {"|", "||", "&", "&&", ";", "<", ">", ">>", "(", ")"}


@dataclass(frozen=True)
class Block:
    mark: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One ``hyperseg ...`` as it is typed, without the program's name."""

    words: tuple[str, ...]
    whole: bool
    """False where the page only mentions a part of it."""


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str) -> list[Block]:
    return [
        Block(found["mark"] or "", found["info"].partition(" ")[0], found["text"])
        for found in FENCE.finditer(text)
    ]


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", text)


def commands(text: str) -> list[Command]:
    """Every ``hyperseg VERB ...`` of a page, wherever it stands."""
    shell = [
        block.text for block in blocks(text)
        if block.language in ("sh", "console", "bash", "") and "unparsed:" not in block.mark
    ]  # fmt: skip
    shell += INDENTED.findall(prose(text))
    found = [Command(words, whole=True) for script in shell for words in typed(script)]
    for inline in INLINE.findall(prose(text)):
        found += [Command(words, whole=False) for words in typed(inline)]
    return found


def typed(script: str) -> list[tuple[str, ...]]:
    """The words behind each ``hyperseg`` of a shell script."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        text = line.strip()
        if not re.search(r"(^|[ /;&|])hyperseg ", text) or text.startswith(("hyperseg:", "#")):
            continue
        lexer = shlex.shlex(text.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.wordchars += "{}[]:,@%+!^"
        found += _simple_commands(list(lexer))
    return found


def _simple_commands(words: list[str]) -> list[tuple[str, ...]]:
    found: list[list[str]] = [[]]
    for word in words:
        if word in OPERATORS:
            found.append([])
        else:
            found[-1].append(word)
    after = []
    for simple in found:
        at = next((i for i, word in enumerate(simple) if word.split("/")[-1] == "hyperseg"), None)
        before = simple[:at]
        if at is not None and all(word in ("sudo", "exec") or "=" in word for word in before):
            after.append(tuple(simple[at + 1 :]))
    return after


def pattern(line: str) -> re.Pattern[str]:
    """Matches a printed line: blanks, numbers and ``...`` are free."""
    parts = []
    for word in line.split():
        pieces = [re.escape(piece) for piece in NUMBER.sub("\0", word).split("...")]
        parts.append(".*".join(pieces).replace("\0", NUMBER.pattern))
    return re.compile(r"\s+".join(parts))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them, and of its docstrings."""
    found: set[str] = set(DOCSTRING.findall(text))
    for heading in HEADING.findall(prose(text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        name = slug
        count = 0
        while name in found:
            count += 1
            name = f"{slug}-{count}"
        found.add(name)
    return found
