"""A check's report on the screen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from training.data.check_report import CheckReport
    from training.data.problems import Problem

_SHOWN = 20
"""Messages shown of one kind; unreadable files are all named."""


def print_summary(report: CheckReport, console: Console) -> None:
    """Images, sizes and normalisation of each split, and a table of the classes."""
    from rich.table import Table

    for name, split in report.splits.items():
        sizes = [f"{size} ({count})" for size, count in split.sizes.most_common(4)]
        more = f" and {len(split.sizes) - 4} more sizes" if len(split.sizes) > 4 else ""
        unused = split.images - split.sizes.total()
        text = f"{name}: {split.images} images, {', '.join(sizes) or 'none usable'}{more}"
        console.print(text + (f"; {unused} not usable" if unused else ""), highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(report.labels.name, no_wrap=True)
    for name in report.splits:
        table.add_column(f"{name} %", justify="right")
        table.add_column("in images", justify="right", style="dim")
    base = next(iter(report.splits))
    table.add_column(f"weight by {base}", justify="right")
    weights = report.weights(base)
    for i, label in enumerate(report.labels.names):
        cells: list[str] = []
        for split in report.splits.values():
            cells += [f"{100 * split.shares[i]:.2f}", str(split.present[i])]
        table.add_row(label, *cells, f"{weights[i]:.2f}")
    cells = []
    for split in report.splits.values():
        total = int(split.pixels.sum()) + split.ignored
        cells += [f"{100 * split.ignored / max(total, 1):.2f}", ""]
    table.add_row("ignored, of all", *cells, "", style="dim")
    console.print(table)


def print_normalisation(report: CheckReport, console: Console) -> None:
    """Mean and standard deviation of each split."""
    for name, split in report.splits.items():
        mean, std = ([f"{v:.4f}" for v in values] for values in (split.mean, split.std))
        console.print(f"{name}: RGB mean {' '.join(mean)}, std {' '.join(std)}", highlight=False)


def print_problems(report: CheckReport, console: Console) -> None:
    """Every kind of problem with its files, the fatal ones first."""
    kinds: dict[tuple[bool, str], list[Problem]] = {}
    for problem in sorted(report.problems, key=lambda problem: not problem.fatal):
        kinds.setdefault((problem.fatal, problem.kind), []).append(problem)
    for (fatal, kind), problems in kinds.items():
        ids: Counter[str] = Counter()
        for problem in problems:
            ids.update(dict(problem.ids))
        listed = ", ".join(f"{name} ({count} px)" for name, count in ids.most_common(8))
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        style, sign = ("bold red", "error") if fatal else ("bold yellow", "warning")
        heading = f"{sign}: {kind}, {len(problems)}" + (f": {listed}{more}" if listed else "")
        console.print(heading, style=style, highlight=False, markup=False, soft_wrap=True)
        shown = len(problems) if kind == "unreadable file" else _SHOWN
        for problem in problems[:shown]:
            console.print(f"  {problem.message}", highlight=False, markup=False, soft_wrap=True)
        if len(problems) > shown:
            console.print(f"  and {len(problems) - shown} more: --json F lists all", style="dim")
