"""A training run by name: preset, data specification and run folder become a network and a loop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edge_runtime.artifacts import Metric
from edge_runtime.errors import OptionError
from training.checkpoint import load_encoder_weights, save_checkpoint
from training.datasets import open_dataset
from training.model.config import check_size
from training.model.hyperseg import HyperSeg
from training.options import TrainOptions
from training.presets import preset, variant
from training.state import STATE_FILE, load_state
from training.train import Outcome, Setup, prepare_torch, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from edge_runtime.metrics import Scores
    from training.datasets import Dataset
    from training.model.config import HyperSegConfig


def start(
    values: Mapping[str, Any],
    folder: Path,
    *,
    epochs: float | None = None,
    report: Callable[[str], None],
) -> Outcome:
    """Begin a run in a folder that holds none yet.

    Args:
        values: of `TrainOptions`, flat.
        folder: of the run; made if it does not exist.
        epochs: length of the schedule instead of ``values["steps"]``.
        report: takes progress lines.

    Raises:
        OptionError: the folder already holds a run, or see `train`.
    """
    if (folder / STATE_FILE).exists():
        raise OptionError(
            f"{folder} already holds a run; continue it with --resume, or choose another folder"
        )
    options = TrainOptions.from_values(values)
    if epochs is not None:
        length = len(open_dataset(options.data, "train"))
        steps = max(math.ceil(epochs * length / options.batch), 1)
        options = TrainOptions.from_values({**values, "steps": steps})
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make run folder {folder}: {error.strerror}") from error
    return _run(options, folder, resume=False, report=report)


def resume(values: Mapping[str, Any], folder: Path, *, report: Callable[[str], None]) -> Outcome:
    """Continue the run in a folder; `values` are only those the user gave this time.

    Raises:
        ArtifactError: the folder holds no usable state.
        OptionError: a value contradicts the run's beginning.
    """
    options = TrainOptions.from_values({**load_state(folder).options, **values})
    return _run(options, folder, resume=True, report=report)


def _run(
    options: TrainOptions, folder: Path, *, resume: bool, report: Callable[[str], None]
) -> Outcome:
    # Before torch's first parallel work: its threads inherit the flushing of denormals when they
    # are started, and with denormals in them training from scratch is 7 times slower.
    prepare_torch(options)
    train_set, val_set = open_dataset(options.data, "train"), open_dataset(options.data, "val")
    config = _configure(options, train_set, report)
    torch.manual_seed(options.seed)
    net = HyperSeg(config)
    if options.encoder_weights is not None and not resume:
        unused = load_encoder_weights(net, options.encoder_weights)
        report(f"encoder weights loaded; not used: {', '.join(unused) or 'none'}")

    def save_weights(
        path: Path, weights: Mapping[str, Tensor], step: int, scores: Scores | None
    ) -> None:
        metrics = [] if scores is None else [Metric("miou", scores.miou, val_set.name)]
        save_checkpoint(
            path,
            net,
            name=f"{options.preset}-{train_set.labels.name}",
            preset=options.preset,
            labels=train_set.labels,
            options={**_public(options), "data": train_set.name, "step": step, "size": list(size)},
            metrics=metrics,
            license=train_set.license,
            state=weights,
        )

    size = options.size or _size_for(config, val_set)
    check_size(config, *size)
    setup = Setup(train_set, val_set, folder, size, config.mean, config.std, save_weights, report)
    report(
        f"training {options.preset} on {train_set.name} ({len(train_set)} images) for "
        f"{options.steps} steps of {options.batch}; validating on {val_set.name} "
        f"({len(val_set)}) at {size[0]}x{size[1]}"
    )
    return train(net, setup, options, resume=resume)


def _public(options: TrainOptions) -> dict[str, Any]:
    """The options without the folders of this machine, which are nobody else's business."""
    weights = options.encoder_weights
    return {
        **options.lineage(),
        "encoder_weights": None if weights is None else Path(weights).name,
    }


def _configure(
    options: TrainOptions, train_set: Dataset, report: Callable[[str], None]
) -> HyperSegConfig:
    """The preset with the data's classes, checked against the crop."""
    config = preset(options.preset)
    if config.labels != train_set.labels.name:
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
