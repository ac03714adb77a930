"""The verb ``data``: look at a data set before anything is trained on it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edge_runtime.cli_options import STDOUT, given_values, reporting
from edge_runtime.command_group import SuggestingGroup
from edge_runtime.completion import candidates
from edge_runtime.errors import EXIT_FOUND, OptionError
from edge_runtime.places import why_unwritable
from edge_runtime.progress import bar
from edge_runtime.sizes import parse_size
from training.candidates import complete_presets
from training.data.augment_options import HELP, AugmentOptions, ScaleLaw
from training.data.import_cli import import_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from edge_runtime.cli_options import Output
    from training.data.check_report import CheckReport
    from training.data.pairs import Split

_SPLITS = ("train", "val", "test")

_source = click.argument("source", metavar="PATH|SPEC", shell_complete=candidates.data)
_split = click.option(
    "--split", "splits", type=click.Choice(_SPLITS), multiple=True, help="Default: all there are."
)


@click.group("data", cls=SuggestingGroup)
def data() -> None:
    """Check, describe, look at and import labelled images.

    PATH is a folder that shows what it is (meta.json, Cityscapes, PASCAL VOC); SPEC says so, as in
    camvid:DIR, camvid12:DIR, cityscapes:DIR, voc:DIR, vocaug:DIR or folder:DIR.
    """


data.add_command(import_command)


@data.command("check")
@_source
@_split
@click.option(
    "--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Also draw pictures (PNG)."
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@reporting
def check_command(
    source: str, splits: tuple[Split, ...], sheet: Path | None, strict: bool, output: Output
) -> int:
    """Find everything wrong with a data set; `train` makes the same check.

    Pairing by stem, unreadable files, sizes, unknown ids with their remedy, 0/255 masks, images in
    two splits, absent classes. Exit code 0: fine, perhaps with warnings; 1: errors; 2: it could not
    be checked.
    """
    from training.data.check_display import print_problems, print_summary

    _require_writable(sheet)
    report = _check(source, splits, output)
    console = _console(output)
    print_summary(report, console)
    print_problems(report, console)
    errors, total = len(report.fatal), len(report.problems)
    console.print(f"{errors} errors, {total - errors} warnings", highlight=False)
    if sheet is not None:
        from training.data.sheets import check_sheet, write_sheet
        from training.data.stored import open_stored

        write_sheet(sheet, check_sheet(open_stored(report.data), report))
    output.deliver_facts("data", report.as_json())
    return EXIT_FOUND if errors or (strict and total) else 0


@data.command("stats")
@_source
@_split
@reporting
def stats_command(source: str, splits: tuple[Split, ...], output: Output) -> None:
    """Class frequencies, suggested loss weights, sizes, mean and standard deviation."""
    from training.data.check_display import print_normalisation, print_summary

    report = _check(source, splits, output)
    console = _console(output)
    print_summary(report, console)
    print_normalisation(report, console)
    if report.problems:
        console.print(
            f"{len(report.problems)} problems: see `hyperseg data check {report.data}`",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    output.deliver_facts("data", report.as_json())


def _augment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every number of `AugmentOptions`, as `train` has them."""
    for field in reversed(fields(AugmentOptions)):
        flag, says = f"--{field.name.replace('_', '-')}", HELP[field.name]
        default: Any = field.default
        if field.name == "crop":
            size = "x".join(map(str, default))
            option = click.option(
                flag, type=parse_size, metavar="HxW", default=size, show_default=True, help=says
            )
        elif field.name == "scale_law":
            laws = click.Choice(get_args(ScaleLaw))
            option = click.option(flag, type=laws, default=default, show_default=True, help=says)
        elif isinstance(default, float | tuple):
            count = len(default) if isinstance(default, tuple) else 1
            option = click.option(
                flag, type=float, nargs=count, default=default, show_default=True, help=says
            )
        else:
            raise TypeError(f"no option shows {field.name}")
        command = option(command)
    return command


@data.command("preview")
@_source
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path, dir_okay=False), required=True,
    help="A PNG.",
)  # fmt: skip
@click.option("--split", type=click.Choice((*_SPLITS, "trainval")), default="train")
@click.option("--count", type=click.IntRange(1, 100), default=8, show_default=True, help="Images.")
@click.option("--views", type=click.IntRange(0, 8), default=3, show_default=True,
              help="Random views of each.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the views.")
@click.option(
    "--preset", shell_complete=complete_presets, help="Show what its recipe does, for the rest."
)
@_augment_options
@reporting
@click.pass_context
def preview_command(
    context: click.Context,
    /,
    source: str,
    place: Path,
    split: Split,
    count: int,
    views: int,
    seed: int,
    preset: str | None,
    output: Output,
    **augment: Any,
) -> None:
    """Draw images with their labels, and the random views that training would see of them.

    `train` draws as the recipe of its preset says: give that preset, and the options that you would
    give `train`.
    """
    from training.data.preview import preview_sheet
    from training.data.sheets import write_sheet
    from training.data.stored import guess_spec

    _require_writable(place)
    options = _views_of(preset, given_values(context, augment))
    sheet = preview_sheet(guess_spec(source), split, options, count=count, epochs=views, seed=seed)
    write_sheet(place, sheet)
    output.deliver_facts("preview", {"wrote": place, "size": list(sheet.shape[:2])})
    output.tell(f"{place}: {sheet.shape[0]}x{sheet.shape[1]}")


def _views_of(preset: str | None, given: dict[str, Any]) -> AugmentOptions:
    """The views that `train` would draw of a preset with these options; None: of the options."""
    if preset is None:
        return AugmentOptions(**given)
    from training import presets
    from training.options import TrainOptions
    from training.recipes import recipe

    presets.preset(preset)  # refuses a name that is none
    values = {**recipe(preset), **given, "preset": preset, "data": ""}
    return TrainOptions.from_values(values).augment


def _check(source: str, splits: tuple[Split, ...], output: Output) -> CheckReport:
    from training.data.check import check
    from training.data.stored import guess_spec

    with bar("looking at images", quiet=output.quiet) as progress:
        return check(guess_spec(source), splits or None, progress=progress)


def _require_writable(*places: Path | None) -> None:
    """Refuse an output that cannot be written before the long look, not after it."""
    for place in places:
        if place is not None and (why := why_unwritable(place)) is not None:
            raise OptionError(f"cannot write {place}: {why}")


def _console(output: Output) -> Console:
    """Where tables go: stderr if the JSON goes to stdout."""
    from rich.console import Console

    return Console(stderr=output.json_to == STDOUT, quiet=output.quiet)
