"""Every command of the pages is one that its verb understands; no option is stale."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.docs.pages import Command, blocks, commands, page_id, pages, typed
from tests.docs.parsing import understand


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_commands_are_understood(page: Path) -> None:
    wrong = []
    for command in commands(page.read_text(encoding="utf-8")):
        try:
            understand(command.words, whole=command.whole)
        except (click.ClickException, ValueError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else error
            wrong.append(f"hyperseg {' '.join(command.words)}: {message}")
    assert wrong == []


def test_commands_are_found_wherever_they_stand() -> None:
    inline, indented = "`hyperseg models` and\n\n", "    hyperseg run a test:\n\n"
    found = commands(f"{inline}{indented}```\nsudo hyperseg doctor | tee x\n```\n")
    assert {command.words for command in found} == {("models",), ("run", "a", "test:"), ("doctor",)}
    assert Command(("models",), whole=False) in found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hyperseg run m \\\n  test: --quiet", [("run", "m", "test:", "--quiet")]),
        ("A=1 .venv/bin/hyperseg models && hyperseg doctor", [("models",), ("doctor",)]),
        ("# hyperseg run", []),
        ("hyperseg: error: no verb", []),
        ("hyperseg run m 'rtsp://u:{secret:C}@h/x?a=1&b=2' # why",
         [("run", "m", "rtsp://u:{secret:C}@h/x?a=1&b=2")]),
    ],
)  # fmt: skip
def test_words_are_split_as_a_shell_does(line: str, words: list[tuple[str, ...]]) -> None:
    assert typed(line) == words


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("fly", "no verb 'fly'"),
        ("run street-edge-n test: --polcy latest", "--polcy"),
        ("run street-edge-n", "lacks sources"),
        ("data chck folder", "no command 'chck'"),
        ("models street", "takes no"),
        ("calibrate m --frames x -o y --method best", "'best' is not one of"),
        ("service install a -- run m test: --nope", "--nope"),
    ],
)
def test_a_stale_command_is_noticed(line: str, complaint: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        understand(line.split(), whole=True)
    assert complaint in caught.value.format_message()


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_marks_are_known(page: Path) -> None:
    known = ("", "run", "output")
    for block in blocks(page.read_text(encoding="utf-8")):
        assert block.mark in known or block.mark.startswith("unparsed: "), block.mark
