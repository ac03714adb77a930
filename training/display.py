"""How a run shows itself: a bar where somebody watches, lines everywhere else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from training.job import Display

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.progress import Progress


@contextmanager
def terminal(*, quiet: bool = False, stdout: bool = True) -> Iterator[Display]:
    """Lines on stdout; on a terminal the steps are a progress bar on stderr instead.

    Args:
        quiet: show nothing.
        stdout: False where stdout is for something else: lines go to stderr, too.
    """
    if quiet:
        yield Display(_silent, _silent)
        return
    line_by_line = _print if stdout else _print_aside
    if not sys.stderr.isatty():
        yield Display(line_by_line)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    bars = Bars(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # what is piped elsewhere stays there
    )
    # Shown from the first step on: before, the length of the schedule is not known.
    task = bars.add_task("training", total=None, figures="", visible=False)

    def watch(latest: Progress) -> None:
        speed = latest.images / max(latest.seconds, 1e-9)
        bars.update(
            task,
            completed=latest.step,
            total=latest.steps,
            figures=f"loss {latest.loss:.4f}  lr {latest.rate:.2e}  {speed:.1f} img/s",
            visible=True,
        )

    def above(line: str) -> None:
        console.out(line, highlight=False)

    with bars:
        yield Display(above if sys.stdout.isatty() or not stdout else _print, watch)


def _silent(_: object) -> None:
    """Nobody is to be told."""


def _print_aside(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 (a verb's output)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (a verb's output)
