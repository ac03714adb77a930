"""A training run by name: preset, data specification and run folder become a network and a loop."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edge_runtime.bench.conditions import usable_cores
from edge_runtime.errors import OptionError
from edge_runtime.zoo import resolve_model
from training.data.check import guard
from training.data.datasets import left_out, open_dataset
from training.distill import open_teacher
from training.distributed import processes
from training.model.config import check_size
from training.model.hyperseg import HyperSeg
from training.options import TrainOptions
from training.presets import preset, variant
from training.qat import prepare_qat, read_table
from training.recipes import recipe
from training.run import prepare_torch
from training.setup import Setup
from training.start import inherited, start_from_checkpoint, start_from_encoder
from training.state import holds_run, load_state
from training.train import Outcome, train
from training.weights_file import WeightsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from training.data.datasets import Dataset
    from training.data.pairs import Split
    from training.distributed import Ranks
    from training.model.config import HyperSegConfig
    from training.progress import Progress
    from training.state import RunState

    Mode = Literal["new", "resume", "auto"]


@dataclass(frozen=True)
class Display:
    """Where a run shows how it goes."""

    report: Callable[[str], None]
    """Takes what is worth a line."""
    watch: Callable[[Progress], None] | None = None
    """Called after every step; without it some steps are reported as lines."""


def run(
    values: Mapping[str, Any],
    folder: Path,
    *,
    mode: Mode = "new",
    epochs: float | None = None,
    display: Display,
) -> Outcome:
    """Begin or continue a run, alone or as one of the processes that ``torchrun`` has started.

    Args:
        values: of `TrainOptions`, flat, as far as the user gave them. A new run takes the others
            from the preset's recipe, a resumed one from its beginning.
        folder: of the run; made if it does not exist.
        mode: ``new`` refuses a folder with a run, ``resume`` one without; ``auto`` continues a run
            and begins one where there is none.
        epochs: length of the schedule instead of ``values["steps"]``.
        display: what the main process shows.

    Raises:
        ArtifactError: there is nothing usable to resume.
        OptionError: the folder already holds a run, a value contradicts the run's beginning, or
            see `train`.
        RankError: another process of the training has ended.
    """
    with processes(values.get("device", "auto")) as ranks:
        if not ranks.main:
            display = Display(_say_nothing)
        stored = ranks.from_main(lambda: _stored_options(folder, mode, ranks.size))
        base = recipe(values["preset"]) if stored is None else stored
        options = TrainOptions.from_values({**base, **values})
        if stored is not None:
            _tell_rounding(stored, options, display.report)
        elif options.init is not None or options.teacher is not None:
            values = _without_encoder(values, options.init)
            base = {**base, **inherited(options.init, options.teacher)}
            options = TrainOptions.from_values({**base, **values})
        ranks.from_main(lambda: _check_data(options))
        if epochs is not None:
            if not 0 < epochs < math.inf:
                raise OptionError(f"epochs is {epochs:g}; expected a number above 0")
            length = len(_open(options, "train"))
            steps = max(math.ceil(epochs * length / options.batch), 1)
            options = TrainOptions.from_values({**base, **values, "steps": steps})
        ranks.share(options.batch, options.accumulate)
        return _run(options, folder, ranks, display, resume=stored is not None)


def _without_encoder(values: Mapping[str, Any], init: str | None) -> Mapping[str, Any]:
    """The given values, of which none names an encoder's weights beside a checkpoint's."""
    if init is not None and values.get("encoder_weights") is not None:
        raise OptionError(
            f"{init} has weights for the encoder too; give --init or --encoder-weights, not both"
        )
    return {name: v for name, v in values.items() if init is None or name != "encoder_weights"}


def _say_nothing(line: str) -> None:
    """Reports of all but the main process."""


def _stored_options(folder: Path, mode: Mode, size: int) -> dict[str, Any] | None:
    """The options of the run to continue; None for a new run, whose folder is then made."""
    if mode == "new" and holds_run(folder):
        raise OptionError(
            f"{folder} already holds a run; continue it with --resume, or choose another folder"
        )
    # Where a run is held whose state cannot be read, perhaps for a disk that was away, to begin
    # anew would replace its checkpoints.
    if mode == "resume" or holds_run(folder):
        return _options_of(load_state(folder), size)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make run folder {folder}: {error.strerror}") from error
    return None


def _options_of(state: RunState, size: int) -> dict[str, Any]:
    """What a run goes on with unless it is told otherwise: bit for bit as it began.

    With another number of processes that cannot be, and the threads are those of each process.
    """
    rounding = dict(state.rounding)
    if rounding.pop("processes", size) != size:
        del rounding["threads"]
    return {**state.options, **rounding}


def _tell_rounding(
    stored: Mapping[str, Any], options: TrainOptions, report: Callable[[str], None]
) -> None:
    """Say what a continued run does otherwise, or could do more quickly."""
    for name in ("threads", "compile"):
        if (before := stored.get(name)) is not None and before != getattr(options, name):
            report(
                f"{name} was {before}, is {getattr(options, name)}: sums are rounded otherwise, so "
                "the weights will not be those of an uninterrupted run to the bit"
            )
    threads, cores = stored.get("threads"), usable_cores()
    if threads is not None and threads == options.threads and threads > cores:
        report(
            f"continuing with {threads} threads, as it began, on {cores} cores; --threads {cores} "
            "is quicker but rounds otherwise"
        )


def _check_data(options: TrainOptions) -> None:
    """No wrong id, missing file or shared image reaches the network."""
    splits: tuple[Split, ...] = (options.train_split, "val")
    guard(options.data, splits, skip_unreadable=options.skip_unreadable)


def _open(options: TrainOptions, split: Literal["train", "val"]) -> Dataset:
    """The data to train on or to validate on."""
    part = options.train_split if split == "train" else split
    return open_dataset(options.data, part, skip_unreadable=options.skip_unreadable)


def _run(
    options: TrainOptions, folder: Path, ranks: Ranks, display: Display, *, resume: bool
) -> Outcome:
    report = display.report
    # Before torch's first parallel work: its threads inherit the flushing of denormals when they
    # are started, and with denormals in them training from scratch is 7 times slower.
    device = prepare_torch(options)
    train_set, val_set = _open(options, "train"), _open(options, "val")
    for problem in (*left_out(train_set), *left_out(val_set)):
        report(f"left out: {problem.message}")
    config = _configure(options, train_set, report)
    size = options.size or _size_for(config, val_set)
    check_size(config, *size)
    torch.manual_seed(options.seed)
    net = HyperSeg(config)
    if not resume and options.init is not None:
        start_from_checkpoint(
            net, options.init, train_set.labels, report, other_classes=options.qat is None
        )
    elif not resume:
        start_from_encoder(net, options.encoder_weights, report)
    table = None if options.qat is None else read_table(Path(options.qat))
    if table is not None:
        net = prepare_qat(net, table)
        report(f"training with {len(table.sites)} tensors rounded as {table.policy} rounds them")
    with ExitStack() as stack:
        teacher = None
        if options.teacher is not None:
            teacher = stack.enter_context(
                open_teacher(
                    resolve_model(options.teacher),
                    train_set.labels,
                    device=device,
                    bf16=options.precision == "bf16",
                    threads=options.threads,
                )
            )
        setup = Setup(
            train_set,
            val_set,
            folder,
            size,
            config.mean,
            config.std,
            WeightsFile(net, options, train_set, val_set, size, table),
            report,
            watch=display.watch,
            ranks=ranks,
            teacher=teacher,
        )
        report(
            f"training {options.preset} on {train_set.name} ({len(train_set)} images) for "
            f"{options.steps} steps of {options.batch}; validating on {val_set.name} "
            f"({len(val_set)}) at {size[0]}x{size[1]}"
        )
        return train(net, setup, options, resume=resume)


def _configure(
    options: TrainOptions, train_set: Dataset, report: Callable[[str], None]
) -> HyperSegConfig:
    """The preset with the data's classes, checked against the crop."""
    config = preset(options.preset)
    if (config.labels, config.num_classes) != (train_set.labels.name, len(train_set.labels)):
        report(
            f"preset {options.preset} is made for {config.labels}; its last layer takes the "
            f"{len(train_set.labels)} classes of {train_set.labels.name} instead"
        )
        config = variant(config, labels=train_set.labels)
    check_size(config, *options.augment.crop)
    return config


def _size_for(config: HyperSegConfig, dataset: Dataset) -> tuple[int, int]:
    """(height, width) of the first image, rounded up to what the network takes."""
    multiple = config.size_multiple
    height, width = dataset.read(0, 0).labels.shape
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple
