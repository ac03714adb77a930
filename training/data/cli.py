"""The verb ``data``: look at a data set before anything is trained on it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.errors import OptionError
from edge_runtime.places import why_unwritable
from training.data.augment_options import AugmentOptions
from training.data.import_cli import import_command
from training.data.progress import progress_bar
from training.options import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from training.data.check_report import CheckReport
    from training.data.pairs import Split

EXIT_FINDINGS = 1
"""The check ran, and found what a training would refuse."""
_SPLITS = ("train", "val", "test")

_source = click.argument("source", metavar="PATH|SPEC")
_json = click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the report; - prints it."
)
_split = click.option(
    "--split", "splits", type=click.Choice(_SPLITS), multiple=True, help="Default: all there are."
)


@click.group("data")
def data() -> None:
    """Check, describe, look at and import labelled images.

    PATH is a folder that shows what it is (meta.json, Cityscapes, PASCAL VOC); SPEC says so, as in
    camvid:DIR, camvid12:DIR, cityscapes:DIR, voc:DIR, vocaug:DIR or folder:DIR.
    """


data.add_command(import_command)


@data.command("check")
@_source
@_split
@_json
@click.option(
    "--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Also draw pictures (PNG)."
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def check_command(
    source: str, splits: tuple[Split, ...], json_file: Path | None, sheet: Path | None, strict: bool
) -> int:
    """Find everything wrong with a data set; `train` makes the same check.

    Pairing by stem, unreadable files, sizes, unknown ids with their remedy, 0/255 masks, images in
    two splits, absent classes. Exit code 0: fine, perhaps with warnings; 1: errors; 2: it could not
    be checked.
    """
    from training.data.check_display import print_problems, print_summary

    _require_writable(json_file, sheet)
    report = _check(source, splits)
    console = _console(json_file)
    print_summary(report, console)
    print_problems(report, console)
    errors, total = len(report.fatal), len(report.problems)
    console.print(f"{errors} errors, {total - errors} warnings", highlight=False)
    if sheet is not None:
        from training.data.sheets import check_sheet, write_sheet
        from training.data.stored import open_stored

        write_sheet(sheet, check_sheet(open_stored(report.data), report))
    _write_json(report.as_json(), json_file)
    return EXIT_FINDINGS if errors or (strict and total) else 0


@data.command("stats")
@_source
@_split
@_json
def stats_command(source: str, splits: tuple[Split, ...], json_file: Path | None) -> None:
    """Class frequencies, suggested loss weights, sizes, mean and standard deviation."""
    from training.data.check_display import print_normalisation, print_summary

    _require_writable(json_file)
    report = _check(source, splits)
    console = _console(json_file)
    print_summary(report, console)
    print_normalisation(report, console)
    if report.problems:
        console.print(
            f"{len(report.problems)} problems: see `hyperseg data check {report.data}`",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    _write_json(report.as_json(), json_file)


def _augment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every number of `AugmentOptions`, as `train` has them."""
    for field in reversed(fields(AugmentOptions)):
        flag = f"--{field.name.replace('_', '-')}"
        default: Any = field.default
        if field.name == "crop":
            size = "x".join(map(str, default))
            option = click.option(
                flag, type=parse_size, metavar="HxW", default=size, show_default=True
            )
        elif isinstance(default, float | tuple):
            count = len(default) if isinstance(default, tuple) else 1
            option = click.option(flag, type=float, nargs=count, default=default, show_default=True)
        else:
            continue
        command = option(command)
    return command


@data.command("preview")
@_source
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A PNG."
)
@click.option("--split", type=click.Choice((*_SPLITS, "trainval")), default="train")
@click.option("--count", type=click.IntRange(1, 100), default=8, show_default=True, help="Images.")
@click.option("--views", type=click.IntRange(0, 8), default=3, show_default=True,
              help="Random views of each.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@_augment_options
def preview_command(
    source: str, output: Path, split: Split, count: int, views: int, seed: int, **augment: Any
) -> None:
    """Draw images with their labels, and the random views that training would see of them."""
    from training.data.preview import preview_sheet
    from training.data.sheets import write_sheet
    from training.data.stored import guess_spec

    _require_writable(output)
    options = AugmentOptions(**augment)
    sheet = preview_sheet(guess_spec(source), split, options, count=count, epochs=views, seed=seed)
    write_sheet(output, sheet)
    click.echo(f"{output}: {sheet.shape[0]}x{sheet.shape[1]}")


def _check(source: str, splits: tuple[Split, ...]) -> CheckReport:
    from training.data.check import check
    from training.data.stored import guess_spec

    with progress_bar("looking at images") as progress:
        return check(guess_spec(source), splits or None, progress=progress)


def _require_writable(*places: Path | None) -> None:
    """Refuse an output that cannot be written before the long look, not after it."""
    for place in places:
        why = None if place in (None, Path("-")) else why_unwritable(place)
        if why is not None:
            raise OptionError(f"cannot write {place}: {why}")


def _console(json_file: Path | None) -> Console:
    """Where tables go: stderr if the JSON goes to stdout."""
    from rich.console import Console

    return Console(stderr=json_file == Path("-"))


def _write_json(report: dict[str, Any], json_file: Path | None) -> None:
    import json

    if json_file is None:
        return
    text = json.dumps(report, indent=2, sort_keys=True) + "\n"
    if json_file == Path("-"):
        click.echo(text, nl=False)
        return
    from edge_runtime.artifacts import write_text_atomic

    write_text_atomic(json_file, text)
