"""The training loop: any network that maps normalised images to logits of their size.

A run is a folder: ``checkpoint.safetensors`` (best on the validation split, or the last if that is
trained on), ``last.safetensors``, ``state.pt`` (from which the run resumes exactly) with the state
before it, and ``log.jsonl``. The test split is never read.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.allocator import keep_freed_memory
from edge_runtime.stop import Stop, signals
from training.data.loader import Feed, batches
from training.progress import Progress, progress_line
from training.run import Run, prepare_torch
from training.runlog import Meter, open_log
from training.setup import BEST_FILE, LAST_FILE, SaveWeights, Setup
from training.state import load_state, remove_leftovers

if TYPE_CHECKING:
    from torch import nn

    from edge_runtime.stop import StopReason
    from training.options import TrainOptions
    from training.runlog import RunLog

__all__ = ["BEST_FILE", "LAST_FILE", "Outcome", "SaveWeights", "Setup", "prepare_torch", "train"]


@dataclass(frozen=True)
class Outcome:
    """How a run, or this part of it, ended."""

    step: int
    best_miou: float
    """Of the kept checkpoint on the validation split; -1 if none was kept yet."""
    best_step: int
    stopped: StopReason | Literal["time limit"] | None
    """What ended it early; None if it is finished."""
    chosen: bool = True
    """Whether the kept checkpoint is the best; False if it is the last, see `train_split`."""
    main: bool = True
    """Whether this process speaks for all."""


def train(net: nn.Module, setup: Setup, options: TrainOptions, *, resume: bool = False) -> Outcome:
    """Train `net` in place until its schedule, its time or its user says stop.

    Args:
        net: maps (N, 3, h, w) normalised RGB to (N, C, h, w) logits.
        setup: data, folder and how to write weights.
        options: the recipe.
        resume: continue from the folder's state; weights, optimiser, averages, random numbers and
            the order of samples go on as if the run had never been interrupted.

    Raises:
        ArtifactError: there is no usable state to resume.
        OptionError: other options than the state's, a device that is absent, a loss that is not
            finite, or a folder that cannot be written.
        RankError: another process of the training has ended.
        SourceError: an image or label cannot be read.
    """
    ranks = setup.ranks
    run = _begin(net, setup, options, resume=resume)
    feed = Feed(setup.train_set, options, run.frequencies, ranks)
    folder = setup.folder if ranks.main else None
    with (
        signals(Stop()) as stop,
        open_log(folder, run.step, tensorboard=options.tensorboard) as log,
        closing(batches(feed, run.step)) as stream,
    ):
        log.append("start", run.step, options=options.lineage())
        deadline = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
        meter = Meter()
        stop.awaited = True
        while run.step < options.steps:
            if ranks.any(stop.requested() or time.monotonic() >= deadline):
                break
            began = time.monotonic()
            batch = next(stream)
            waited = time.monotonic() - began
            loss = run.train_step(batch)
            seconds = time.monotonic() - began
            latest = Progress(run.step, options.steps, loss, run.rate, options.batch, seconds)
            meter.add(loss, options.batch, waited, seconds)
            _tell(latest, meter, log, setup, options)
            _keep(run, log)
        stopped = None if run.step == options.steps else _reason(run, stop)
        if stopped == "time limit":  # what was reached in the time shall be there to be used
            run.validate(log)
        if stopped is not None:
            run.save()
        elif ranks.main:
            run.pictures.finished()
    chosen = options.train_split == "train"
    return Outcome(run.step, run.best_miou, run.best_step, stopped, chosen, ranks.main)


def _begin(net: nn.Module, setup: Setup, options: TrainOptions, *, resume: bool) -> Run:
    """The run at its first step, or where its state says."""
    keep_freed_memory()
    run = Run(net, setup, options)
    if setup.ranks.main:
        remove_leftovers(setup.folder)
    if resume:
        run.restore(setup.ranks.from_main(lambda: load_state(setup.folder, setup.report)))
    else:
        run.save()
    return run


def _keep(run: Run, log: RunLog) -> None:
    """Validate and save when it is time."""
    options = run.options
    if run.step % options.validate_every == 0 or run.step == options.steps:
        run.validate(log)
        run.save()
    elif run.step % options.save_every == 0:
        run.save()


def _reason(run: Run, stop: Stop) -> StopReason | Literal["time limit"]:
    """Why all processes stop: any one's signal, else the time."""
    return next((found for found in run.ranks.gather(stop.reason) if found), "time limit")


def _tell(latest: Progress, meter: Meter, log: RunLog, setup: Setup, options: TrainOptions) -> None:
    """Show the step, and log the mean of the last ones when it is time."""
    if setup.watch is not None:
        setup.watch(latest)
    if latest.step % options.log_every and latest.step != options.steps:
        return
    values = meter.summary()
    log.append("train", latest.step, lr=latest.rate, **values)
    if setup.watch is None:
        setup.report(progress_line(latest, values, meter.seconds_per_step))
