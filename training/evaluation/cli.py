"""Verb ``eval``; torch is imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edge_runtime.artifacts import ResizeMode
from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.errors import OptionError
from edge_runtime.shared_options import model_argument, report_option, threads_option
from edge_runtime.sizes import parse_size
from training.evaluation.options import EvalOptions, parse_scales

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.cli_options import Output
    from training.evaluation.evaluation import Evaluation

SHOWN = 8
"""Worst images in a picture sheet, unless asked otherwise."""


@click.command("eval")
@model_argument
@click.option(
    "--data", required=True, shell_complete=candidates.data,
    help="Such as camvid:DIR or folder:DIR.",
)  # fmt: skip
@click.option(
    "--split",
    type=click.Choice(("train", "val", "test", "trainval")),
    default="test",
    show_default=True,
)
@click.option(
    "--protocol",
    type=click.Choice(("public", "camvid-authors")),
    default="public",
    show_default=True,
    help="camvid-authors: Void is a class (camvid12:DIR); never comparable with public figures.",
)
@click.option(
    "--size", type=parse_size, metavar="HxW", help="A checkpoint's input; default: as validated."
)
@click.option(
    "--resize",
    type=click.Choice(get_args(ResizeMode)),
    help="How pictures of other shapes are fitted; default: as the model says.",
)
@click.option("--window", type=parse_size, metavar="HxW", help="Slide a window of this size.")
@click.option(
    "--overlap", type=float, default=EvalOptions.overlap, show_default=True,
    help="Share of a window that its neighbour covers too.",
)  # fmt: skip
@click.option(
    "--scales", type=parse_scales, metavar="S,S,...", default="1.0", show_default=True,
    help="Average the probabilities over these zooms.",
)  # fmt: skip
@click.option("--flip", is_flag=True, help="Average over mirror images too.")
@click.option("--limit", type=int, help="Score only the first images.")
@click.option("--skip-unreadable", is_flag=True, help="Leave damaged files out, naming them.")
@click.option(
    "--group-by",
    type=click.Choice(("prefix", "folder")),
    help="Also score groups: file names up to the first '_' (sequence, city), or folders.",
)
@threads_option
@click.option("--device", default=EvalOptions.device, show_default=True, help="Of a checkpoint.")
@report_option
@click.option(
    "--against", type=click.Path(path_type=Path), help="Compare with another evaluation's JSON."
)
@click.option(
    "--pictures", type=click.Path(path_type=Path), help="Folder for worst.png and confusion.png."
)
@click.option("--worst", type=int, default=SHOWN, show_default=True, help="Images in worst.png.")
@reporting
def evaluate(model: str, output: Output, **values: Any) -> None:
    """Measure the mIoU of a checkpoint or an exported model at the labels' own resolution.

    The JSON holds the scores, the confusion matrix and all that is needed to repeat them.
    """
    against, pictures, worst = (values.pop(name) for name in ("against", "pictures", "worst"))
    report_to = values.pop("report")
    names = ("data", "split", "limit", "group_by", "skip_unreadable")
    request = {name: values.pop(name) for name in names}
    protocol = values.pop("protocol")
    options = EvalOptions(**values)

    # What can fail without the model shall fail before the hours it may take.
    from edge_runtime.progress import bar
    from training.evaluation.evaluation import Request, run
    from training.evaluation.page import publish
    from training.evaluation.protocols import PROTOCOLS
    from training.evaluation.report import as_json, read_report, require_comparable

    other = None if against is None else read_report(against)
    if other is not None:
        require_comparable({"protocol": protocol, "split": request["split"]}, other)
    draw = None if pictures is None else _painter(pictures, worst)

    with bar("images", quiet=output.quiet) as progress:
        evaluation = run(
            Request(
                model=model,
                options=options,
                protocol=PROTOCOLS[protocol],
                worst=0 if pictures is None and report_to is None else worst,
                **request,
            ),
            progress,
        )
    report = as_json(evaluation)
    output.deliver_facts("evaluation", report)
    if report_to is not None:
        publish(report_to, evaluation, report, other)
    if draw is not None:
        draw(evaluation)
    _print(report, other, output)


def _painter(folder: Path, worst: int) -> Callable[[Evaluation], None]:
    """What draws the pictures of an evaluation into `folder`, which is made."""
    from training.evaluation.charts import draw_confusion
    from training.evaluation.pictures import draw_worst

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make folder {folder}: {error.strerror}") from error

    def draw(evaluation: Evaluation) -> None:
        title = f"{evaluation.subject.name} on {evaluation.dataset.name}"
        draw_confusion(folder / "confusion.png", evaluation.matrix, title)
        if worst > 0:
            draw_worst(folder / "worst.png", evaluation.dataset, evaluation.worst)

    return draw


def _print(report: dict[str, Any], other: dict[str, Any] | None, output: Output) -> None:
    """Print a report, beside the other one if the two measure the same thing.

    Raises:
        OptionError: they do not; the report is printed all the same.
    """
    from rich.console import Console

    from training.evaluation.report import require_comparable
    from training.evaluation.tables import tables

    mismatch = None
    if other is not None:
        try:
            require_comparable(report, other)
        except OptionError as error:
            mismatch, other = error, None
    # Names are the user's, and no markup.
    console = Console(markup=False, highlight=False, quiet=not output.shows)
    for part in tables(report, other):
        console.print(part)
    if mismatch is not None:
        raise mismatch
