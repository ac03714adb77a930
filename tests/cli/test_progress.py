"""Long work moves on a terminal, is lines in a log, and nothing where it is to be quiet."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edge_runtime.progress import bar, steps


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_sees_lines_above_something_that_moves() -> None:
    console = terminal()
    with steps("calibrating", console=console) as say:
        say("64 frames [chosen]")
    shown = text(console)
    assert "64 frames [chosen]\n" in shown
    assert "calibrating" in shown
    assert "0:00:0" in shown


def test_a_terminal_sees_how_much_is_done() -> None:
    console = terminal()
    with bar("drawing", console=console) as progress:
        progress(3, 7)
    assert "drawing" in text(console)
    assert "3/7" in text(console)


def test_a_log_gets_lines_and_no_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    with steps("calibrating") as say:
        say("64 frames [chosen]")
    with bar("drawing") as progress:
        progress(3, 7)
    assert capsys.readouterr() == ("", "64 frames [chosen]\n")


def test_quiet_is_quiet_on_a_terminal_too() -> None:
    console = terminal()
    with steps("calibrating", quiet=True, console=console) as say:
        say("64 frames chosen")
    with bar("drawing", quiet=True, console=console) as progress:
        progress(3, 7)
    assert text(console) == ""


def test_an_error_leaves_the_terminal_as_it_was() -> None:
    console = terminal()
    with pytest.raises(ValueError, match="within"), steps("calibrating", console=console):
        raise ValueError("within")
    assert "\x1b[?25h" in text(console).partition("\x1b[?25l")[2]  # the cursor is shown again
