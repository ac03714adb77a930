"""What long work shows meanwhile: on a terminal something that moves, elsewhere lines, or nothing.

All of it goes to stderr.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


@contextmanager
def steps(
    title: str, *, quiet: bool = False, console: Console | None = None
) -> Iterator[Callable[[str], None]]:
    """Show that something of unknown length goes on.

    Args:
        title: what goes on, for the moving line of a terminal.
        quiet: show nothing.
        console: of stderr, unless given.

    Yields:
        What takes a line about it. Every line stays; without a terminal the lines are all there is.
    """
    if quiet:
        yield _silent
        return
    # Imported here, as below: the verbs that show no progress start without it.
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _plain
        return

    def above(line: str) -> None:
        console.out(line, highlight=False)

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    # What is piped elsewhere stays there; this machine may be busy with what is waited for.
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, refresh_per_second=4
    ) as bar:
        bar.add_task(title, total=None)
        yield above


@contextmanager
def bar(
    title: str, *, quiet: bool = False, console: Console | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done, on a terminal only.

    Args:
        title: what is done.
        quiet: show nothing.
        console: of stderr, unless given.

    Yields:
        What takes (done, total).
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False,
        disable=quiet or not console.is_terminal,
    ) as shown:  # fmt: skip
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _plain(line: str) -> None:
    click.echo(line, err=True)


def _silent(line: str) -> None:
    """Nobody is to be told."""
