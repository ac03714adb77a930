"""Verb ``train``; torch is imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edge_runtime.cli_options import given_values, reporting
from edge_runtime.completion import candidates
from edge_runtime.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, OptionError
from edge_runtime.sizes import parse_size
from training.candidates import complete_presets
from training.data.augment_options import HELP, AugmentOptions, ScaleLaw
from training.options import (
    Distillation,
    LossName,
    OptimizerName,
    Precision,
    Schedule,
    TrainOptions,
    TrainSplit,
    parse_class_weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.cli_options import Output
    from training.train import Outcome

_EXIT_CODES = {"interrupted": EXIT_INTERRUPTED, "terminated": EXIT_TERMINATED}
"""Of a run that was stopped; one that its time limit ended is no failure."""
DATA_HELP = (
    "camvid:DIR, camvid12:DIR, cityscapes:DIR, voc:DIR, vocaug:DIR, folder:DIR, "
    "street: or street:HxW."
)
"""As `training.data.stored.SPECS`, which is slow to import."""


def _option(flag: str, help: str, **settings: Any) -> Callable[[Any], Any]:
    """A click option whose default is that of the option dataclass's field of the same name."""
    name = flag.split("/", 1)[0].lstrip("-").replace("-", "_")
    owner = AugmentOptions if hasattr(AugmentOptions, name) else TrainOptions
    default = getattr(owner, name, None)
    if settings.get("type") is parse_size:
        settings["metavar"] = "HxW"
        default = None if default is None else "x".join(map(str, default))
    elif settings.get("type") is parse_class_weights:
        default = str(default)
    settings.setdefault("show_default", default is not None)
    return click.option(flag, name, default=default, help=help, **settings)


def _choice(values: Any) -> click.Choice[str]:
    return click.Choice(get_args(values))


@click.command()
@_option("--preset", "Network; see `training.presets`.", shell_complete=complete_presets)
@_option("--data", DATA_HELP, shell_complete=candidates.data)
@click.option("--run", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--resume",
    type=click.Choice(("yes", "auto")),
    is_flag=False,
    flag_value="yes",
    help="Continue the run in the folder, exactly; `auto` begins one if there is none.",
)
@_option("--train-split", "What to train on.", type=_choice(TrainSplit))
@_option("--skip-unreadable", "Leave damaged files out, naming them.", is_flag=True)
@_option(
    "--encoder-weights", "`imagenet` (package of the extra 'encoders'), a .pth file or `none`."
)
@_option("--init", "Checkpoint to fine-tune, for its classes or others.")
@_option("--qat", "Calibration report of an export of --init: train with its INT8 rounding.")
@_option("--steps", "Optimiser steps.", type=int)
@click.option("--epochs", type=float, help="Length of the run instead of --steps.")
@_option("--batch", "Images per step, of all processes.", type=int)
@_option("--accumulate", "Parts of a step's images, computed one after another.", type=int)
@_option("--crop", HELP["crop"], type=parse_size)
@_option("--scale", HELP["scale"], type=float, nargs=2)
@_option("--scale-law", HELP["scale_law"], type=_choice(ScaleLaw))
@_option("--scale-probability", HELP["scale_probability"], type=float)
@_option("--rotate", HELP["rotate"], type=float)
@_option("--flip", HELP["flip"], type=float)
@_option("--jitter", HELP["jitter"], type=float)
@_option("--hue", HELP["hue"], type=float)
@_option("--blur", HELP["blur"], type=float)
@_option("--noise", HELP["noise"], type=float)
@_option("--rare-crops", HELP["rare_crops"], type=float)
@_option("--class-mix", HELP["class_mix"], type=float)
@_option("--optimizer", "What turns gradients into weights.", type=_choice(OptimizerName))
@_option("--betas", "Decays of Adam's moments; the first is SGD's momentum.", type=float, nargs=2)
@_option("--lr", "Peak learning rate.", type=float)
@_option("--encoder-lr-scale", "Learning rate of the encoder, relative.", type=float)
@_option("--weight-decay", "Of convolution weights.", type=float)
@_option("--schedule", "How the learning rate falls.", type=_choice(Schedule))
@_option("--poly-power", "Exponent of the poly schedule.", type=float)
@_option("--lr-hold", "Steps between two falls of the learning rate.", type=int)
@_option("--warmup", "Steps of rising learning rate.", type=int)
@_option("--loss", "Hard pixels of an image, of the batch, or all.", type=_choice(LossName))
@_option("--hard-threshold", "Cross-entropy above which a pixel is hard.", type=float)
@_option("--hard-min", "Pixels per image that always count.", type=int)
@_option("--lovasz", "Weight of the loss that stands for 1 - mIoU; 0 is off.", type=float)
@_option("--label-smoothing", "Share of the target spread over all classes.", type=float)
@_option(
    "--class-weights",
    "Strength of class balancing (0 is off), or weights: 1,2.5,0.3 or a JSON file with a list.",
    type=parse_class_weights,
    metavar="POWER|LIST|FILE",
)
@_option("--aux", "Weight of an auxiliary head in training; 0 is off.", type=float)
@_option("--teacher", "Checkpoint or ONNX model (logits head) to learn from.")
@_option("--distill", "What is imitated.", type=_choice(Distillation))
@_option("--distill-weight", "Weight of the imitation.", type=float)
@_option("--distill-temperature", "Softens both networks' logits.", type=float)
@_option("--clip", "Largest gradient norm; 0 is off.", type=float)
@_option("--ema", "Decay of the averaged weights; 0 is off.", type=float)
@_option("--precision", "bf16 needs a CPU or GPU that has it.", type=_choice(Precision))
@_option("--seed", "Of weights, order and augmentation.", type=int)
@_option("--size", "Size of validation and deployment.", type=parse_size)
@_option("--validate-every", "Steps between validations.", type=int)
@_option("--save-every", "Steps between saved states.", type=int)
@_option("--log-every", "Steps between progress lines.", type=int)
@_option("--workers", "Threads preparing batches.", type=int)
@_option("--threads", "CPU threads of torch.", type=int)
@_option("--device", "cpu, cuda, auto, or cuda:N, one GPU for all processes.")
@_option("--compile/--no-compile", "Compile the network for this device first.")
@_option("--minutes", "Stop after this time; --resume continues.", type=float)
@_option("--tensorboard", "Also write curves for TensorBoard.", is_flag=True)
@reporting
@click.pass_context
def train(
    context: click.Context,
    /,
    run: Path,
    resume: str | None,
    epochs: float | None,
    output: Output,
    **values: Any,
) -> int:
    """Train a network.

    What is not given comes from the preset's recipe; the defaults below are those of a preset
    without one. The run folder gets checkpoint.safetensors (best on the val split),
    last.safetensors, state.pt, log.jsonl and report.html, a page to look at. SIGTERM, Ctrl-C and
    --minutes save the state before they end the run. With --resume only --run is needed: it
    goes on with the options it had. Those that shape the weights must stay as they were; a change
    of --threads or --compile, which shape their last bits, is told.

    Several processes: torchrun --nproc-per-node 2 --no-python -- hyperseg train ...
    """
    given = given_values(context, values)
    if given.get("encoder_weights") == "none":
        given["encoder_weights"] = None
    if resume == "yes" and epochs is not None:
        raise OptionError("--epochs cannot change on --resume; leave it out")
    if resume != "yes" and not {"preset", "data"} <= given.keys():
        raise OptionError("a new run needs --preset and --data; --resume continues an old one")
    if epochs is not None and "steps" in given:
        raise OptionError("give either --epochs or --steps, not both")

    from training import job
    from training.display import terminal
    from training.distributed import RankError, end_alone
    from training.reports.account import account

    mode = {None: "new", "yes": "resume", "auto": "auto"}[resume]
    prints = output.shows or output.quiet
    try:
        with terminal(quiet=output.quiet, stdout=prints) as display:
            outcome = job.run(given, run, mode=mode, epochs=epochs, display=display)  # type: ignore[arg-type]  # click checked the choice
            if outcome.main:
                display.report(_ending(outcome, run))
                output.deliver_facts("train", {**account(run)[0], "stopped": outcome.stopped})
    except RankError as error:
        end_alone(error, "hyperseg")
    return _EXIT_CODES.get(outcome.stopped or "", 0)


def _ending(outcome: Outcome, run: Path) -> str:
    if outcome.stopped is not None:
        return (
            f"{outcome.stopped} at step {outcome.step}; continue with: "
            f"hyperseg train --resume --run {run}"
        )
    kept = "best" if outcome.chosen else "last"
    return (
        f"finished: {kept} val mIoU {100 * outcome.best_miou:.2f} at step {outcome.best_step}, "
        f"{run / 'checkpoint.safetensors'}"
    )
