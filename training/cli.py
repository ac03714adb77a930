"""Verbs ``train`` and ``eval``; torch is imported by their bodies only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from edge_runtime.errors import OptionError
from training.options import (
    AugmentOptions,
    LossName,
    Precision,
    Schedule,
    TrainOptions,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.metrics import Scores

_EXIT_CODES = {"interrupted": 130, "terminated": 143}
"""128 + the signal, as shells report it; a run that its time limit ended is no failure."""
DATA_HELP = "camvid:DIR, camvid12:DIR, folder:DIR, street: or street:HxW."


def _option(flag: str, help: str, **settings: Any) -> Callable[[Any], Any]:
    """A click option whose default is that of the option dataclass's field of the same name."""
    name = flag.lstrip("-").replace("-", "_")
    owner = AugmentOptions if hasattr(AugmentOptions, name) else TrainOptions
    default = getattr(owner, name, None)
    if settings.get("type") is parse_size:
        settings["metavar"] = "HxW"
        default = None if default is None else "x".join(map(str, default))
    settings.setdefault("show_default", default is not None)
    return click.option(flag, name, default=default, help=help, **settings)


def _choice(values: Any) -> click.Choice[str]:
    return click.Choice(get_args(values))


@click.command()
@_option("--preset", "Network; see `training.presets`.")
@_option("--data", DATA_HELP)
@click.option("--run", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Continue the run in the folder, exactly.")
@_option("--encoder-weights", "`imagenet` (package of the extra 'encoders') or a .pth file.")
@_option("--steps", "Optimiser steps.", type=int)
@click.option("--epochs", type=float, help="Length of the run instead of --steps.")
@_option("--batch", "Images per step.", type=int)
@_option("--crop", "What the network sees in training.", type=parse_size)
@_option("--scale", "Range of the random zoom.", type=float, nargs=2)
@_option("--flip", "Probability of mirroring.", type=float)
@_option("--jitter", "Strength of random colours.", type=float)
@_option("--blur", "Probability of blur.", type=float)
@_option("--noise", "Probability of noise.", type=float)
@_option("--lr", "Peak learning rate.", type=float)
@_option("--encoder-lr-scale", "Learning rate of the encoder, relative.", type=float)
@_option("--weight-decay", "Of convolution weights.", type=float)
@_option("--schedule", "How the learning rate falls.", type=_choice(Schedule))
@_option("--poly-power", "Exponent of the poly schedule.", type=float)
@_option("--warmup", "Steps of rising learning rate.", type=int)
@_option("--loss", "Hard pixels only, or all.", type=_choice(LossName))
@_option("--hard-threshold", "Cross-entropy above which a pixel is hard.", type=float)
@_option("--hard-min", "Pixels per image that always count.", type=int)
@_option("--class-weights", "Strength of class balancing; 0 is off.", type=float)
@_option("--clip", "Largest gradient norm.", type=float)
@_option("--ema", "Decay of the averaged weights; 0 is off.", type=float)
@_option("--precision", "bf16 needs a CPU or GPU that has it.", type=_choice(Precision))
@_option("--seed", "Of weights, order and augmentation.", type=int)
@_option("--size", "Size of validation and deployment.", type=parse_size)
@_option("--validate-every", "Steps between validations.", type=int)
@_option("--save-every", "Steps between saved states.", type=int)
@_option("--log-every", "Steps between progress lines.", type=int)
@_option("--workers", "Threads preparing batches.", type=int)
@_option("--threads", "CPU threads of torch.", type=int)
@_option("--device", "cpu, cuda or auto.")
@_option("--minutes", "Stop after this time; --resume continues.", type=float)
@click.pass_context
def train(
    context: click.Context, /, run: Path, resume: bool, epochs: float | None, **values: Any
) -> int:
    """Train a network.

    The run folder gets checkpoint.safetensors (best on the val split), last.safetensors, state.pt
    and log.jsonl. SIGTERM, Ctrl-C and --minutes save the state before they end the run. With
    --resume only --run is needed; options that shape the weights must be as before.
    """
    given = {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if resume and epochs is not None:
        raise OptionError("--epochs cannot change on --resume; leave it out")
    if not resume and not {"preset", "data"} <= given.keys():
        raise OptionError("a new run needs --preset and --data; --resume continues an old one")
    if epochs is not None and "steps" in given:
        raise OptionError("give either --epochs or --steps, not both")

    from training import job

    if resume:
        outcome = job.resume(given, run, report=_report)
    else:
        outcome = job.start(values, run, epochs=epochs, report=_report)
    if outcome.stopped is None:
        _report(
            f"finished: best val mIoU {100 * outcome.best_miou:.2f} at step {outcome.best_step}, "
            f"{run / 'checkpoint.safetensors'}"
        )
        return 0
    _report(
        f"{outcome.stopped} at step {outcome.step}; continue with: "
        f"hyperseg train --resume --run {run}"
    )
    return _EXIT_CODES.get(outcome.stopped, 0)


def _report(line: str) -> None:
    print(line, flush=True)


@click.command("eval")
@click.argument("model")
@click.option("--data", required=True, help=DATA_HELP)
@click.option(
    "--split", type=click.Choice(("train", "val", "test")), default="test", show_default=True
)
@click.option(
    "--size",
    type=parse_size,
    metavar="HxW",
    help="Input size of a checkpoint; default: as validated.",
)
@click.option("--threads", type=int, help="CPU threads.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the scores.")
def evaluate(
    model: str,
    data: str,
    split: str,
    size: tuple[int, int] | None,
    threads: int | None,
    json_file: Path | None,
) -> None:
    """Measure the mIoU of a checkpoint or an exported model at the labels' own resolution."""
    from edge_runtime.zoo import resolve_model
    from training.datasets import open_dataset
    from training.evaluate import evaluate as score
    from training.predictors import open_predictor

    path = resolve_model(model)
    dataset = open_dataset(data, split)  # type: ignore[arg-type]  # click checked the choice
    with open_predictor(path, size=size, threads=threads) as predictor:
        scores = score(predictor, dataset)
    _print_scores(f"{path.name} on {dataset.name}", scores)
    if json_file is not None:
        import json

        from edge_runtime.artifacts import write_text_atomic

        report = {**scores.as_json(), "data": data, "split": split, "model": str(path)}
        write_text_atomic(json_file, json.dumps(report, indent=2, sort_keys=True) + "\n")


def _print_scores(title: str, scores: Scores) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=None, header_style="bold", title_justify="left")
    table.add_column("class", no_wrap=True)
    table.add_column("IoU %", justify="right")
    for name, value in scores.iou.items():
        table.add_row(name, "absent" if value is None else f"{100 * value:.2f}")
    table.add_section()
    table.add_row("mIoU", f"{100 * scores.miou:.2f}", style="bold")
    table.add_row("pixel accuracy", f"{100 * scores.pixel_accuracy:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{scores.images} images")
    if scores.absent:
        console.print(
            f"absent, neither labelled nor predicted, left out of the mean: "
            f"{', '.join(scores.absent)}"
        )
