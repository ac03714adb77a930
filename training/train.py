"""The training loop: any network that maps normalised images to logits of their size.

A run is a folder: ``checkpoint.safetensors`` (best on the validation split), ``last.safetensors``,
``state.pt`` (from which the run resumes exactly) and ``log.jsonl``. The test split is never read.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from edge_runtime.errors import OptionError
from edge_runtime.stop import Stop, signals
from training.class_balance import class_frequencies, class_weights
from training.evaluate import evaluate
from training.loader import batches
from training.loss import make_loss
from training.normalise import normalise
from training.optim import AveragedWeights, learning_rate, make_optimizer, set_learning_rate
from training.predictors import NetPredictor
from training.runlog import Meter, RunLog
from training.state import (
    RunState,
    check_same_run,
    load_state,
    restore_rng,
    rng_state,
    save_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from edge_runtime.metrics import Scores
    from edge_runtime.stop import StopReason
    from training.datasets import Dataset
    from training.loader import Batch
    from training.options import TrainOptions

BEST_FILE = "checkpoint.safetensors"
LAST_FILE = "last.safetensors"


class SaveWeights(Protocol):
    """Writes weights as an artefact, complete or not at all."""

    def __call__(
        self, path: Path, weights: Mapping[str, Tensor], step: int, scores: Scores | None
    ) -> None:
        """Write the network's `weights` to `path` with what they scored on the val split."""
        ...


@dataclass(frozen=True)
class Setup:
    """What a run works with, besides its options."""

    train_set: Dataset
    val_set: Dataset
    folder: Path
    """Of the run; exists."""
    val_size: tuple[int, int]
    """(height, width) the network is validated at."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    save_weights: SaveWeights
    report: Callable[[str], None]
    """Takes progress lines."""


@dataclass(frozen=True)
class Outcome:
    """How a run, or this part of it, ended."""

    step: int
    best_miou: float
    """Of the kept checkpoint on the validation split; -1 if none was kept yet."""
    best_step: int
    stopped: StopReason | Literal["time limit"] | None
    """What ended it early; None if it is finished."""


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
        OptionError: other options than the state's, a device that is absent, or a loss that is not
            finite.
        SourceError: an image or label cannot be read.
    """
    run = Run(net, setup, options)
    if resume:
        run.restore(load_state(setup.folder))
    else:
        run.save()
    log = RunLog(setup.folder, run.step)
    log.append("start", run.step, options=options.lineage())
    deadline = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    meter = Meter()
    with (
        signals(Stop()) as stop,
        closing(batches(setup.train_set, options, run.step)) as stream,
    ):
        stop.awaited = True
        while run.step < options.steps and not stop.requested() and time.monotonic() < deadline:
            began = time.monotonic()
            batch = next(stream)
            waited = time.monotonic() - began
            loss = run.train_step(batch)
            meter.add(loss, len(batch.images), waited, time.monotonic() - began)
            if run.step % options.log_every == 0 or run.step == options.steps:
                values = meter.summary()
                log.append("train", run.step, lr=run.rate, **values)
                setup.report(_progress_line(run, values, meter.seconds_per_step))
            if run.step % options.validate_every == 0 or run.step == options.steps:
                run.validate(log)
                run.save()
            elif run.step % options.save_every == 0:
                run.save()
        stopped = None if run.step == options.steps else stop.reason or "time limit"
        if stopped == "time limit":  # what was reached in the time shall be there to be used
            run.validate(log)
        if stopped is not None:
            run.save()
    return Outcome(run.step, run.best_miou, run.best_step, stopped)


class Run:
    """The moving parts of a run: weights, their average, optimiser, step and best score."""

    def __init__(self, net: nn.Module, setup: Setup, options: TrainOptions) -> None:
        self.setup, self.options = setup, options
        self.device = prepare_torch(options)
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own types lack it
        self.averaged = AveragedWeights(self.net, options.ema)
        self.optimizer = make_optimizer(self.net, options)
        weight = None
        if options.class_weights > 0:
            shares = class_frequencies(setup.train_set)
            weight = torch.from_numpy(class_weights(shares, options.class_weights)).to(self.device)
        self.loss = make_loss(options, weight)
        self.step, self.rate = 0, 0.0
        self.best_miou, self.best_step = -1.0, 0
        self._started, self._seconds_before = time.monotonic(), 0.0

    def train_step(self, batch: Batch) -> float:
        """One optimiser step; returns the loss."""
        self.net.train()
        self.rate = learning_rate(self.options, self.step)
        set_learning_rate(self.optimizer, self.rate)
        frames = torch.from_numpy(batch.images).to(self.device)
        labels = torch.from_numpy(batch.labels).to(self.device, torch.int64)  # (N, h, w)
        images = normalise(frames, self.setup.mean, self.setup.std)  # (N, 3, h, w)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"
        ):
            logits = self.net(images)  # (N, C, h, w)
        loss = self.loss(logits.float(), labels)
        value = loss.item()
        self._refuse_not_finite(value)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.options.clip)
        self.optimizer.step()
        self.averaged.update(self.net, self.step)
        self.step += 1
        return value

    def _refuse_not_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise OptionError(
                f"the loss is {loss} at step {self.step}; lower --lr (now {self.options.lr:g}) or "
                "use --precision fp32. The state saved last is still good"
            )

    def validate(self, log: RunLog) -> None:
        """Score the averaged weights on the val split; keep them if they are the best so far."""
        setup = self.setup
        predictor = NetPredictor(
            self.averaged.net, setup.val_set.labels, setup.val_size, setup.mean, setup.std
        )
        scores = evaluate(predictor, setup.val_set)
        log.append("val", self.step, **scores.as_json())
        better = scores.miou > self.best_miou
        if better:
            self.best_miou, self.best_step = scores.miou, self.step
        weights = self.averaged.net.state_dict()
        for name in (LAST_FILE, BEST_FILE) if better else (LAST_FILE,):
            setup.save_weights(setup.folder / name, weights, self.step, scores)
        per_class = "  ".join(
            f"{name} {'-' if value is None else f'{100 * value:.1f}'}"
            for name, value in scores.iou.items()
        )
        setup.report(
            f"val   {self.step:>6}  mIoU {100 * scores.miou:.2f}"
            f"{' (best so far)' if better else f' (best {100 * self.best_miou:.2f})'}  {per_class}"
        )

    def save(self) -> None:
        """Write the state between two steps."""
        save_state(
            self.setup.folder,
            RunState(
                step=self.step,
                best_miou=self.best_miou,
                best_step=self.best_step,
                seconds=self._seconds_before + time.monotonic() - self._started,
                options=self.options.lineage(),
                net=self.net.state_dict(),
                averaged=self.averaged.net.state_dict(),
                optimizer=self.optimizer.state_dict(),
                rng=rng_state(),
            ),
        )

    def restore(self, state: RunState) -> None:
        """Continue from a state of the same run."""
        check_same_run(state, self.options.lineage())
        self.net.load_state_dict(state.net)
        self.averaged.net.load_state_dict(state.averaged)
        self.optimizer.load_state_dict(state.optimizer)
        restore_rng(state.rng)
        self.step = state.step
        self.best_miou, self.best_step = state.best_miou, state.best_step
        self._seconds_before = state.seconds


def prepare_torch(options: TrainOptions) -> torch.device:
    """Set torch's threads and numerics; returns the device of the options.

    Raises:
        OptionError: CUDA is asked for and absent.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    # Young networks underflow, and denormal numbers are up to 100x slower on a CPU.
    torch.set_flush_denormal(True)
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise OptionError("device 'cuda' is not available; use --device cpu")
    return torch.device(name)


def _progress_line(run: Run, values: dict[str, float], seconds_per_step: float) -> str:
    total = run.options.steps
    eta = timedelta(seconds=round((total - run.step) * seconds_per_step))
    return (
        f"step  {run.step:>6}/{total}  loss {values['loss']:.4f}  lr {run.rate:.2e}  "
        f"{values['images_per_s']:.1f} img/s  data wait {100 * values['wait']:.0f} %  eta {eta}"
    )
