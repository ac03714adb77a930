"""The moving parts of a training run, and what one step of it does."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from edge_runtime.errors import ArtifactError, OptionError
from training.data.class_balance import class_frequencies, class_weights
from training.distill import distillation, thinned
from training.evaluation.evaluate import confusion
from training.evaluation.observers import Worst
from training.evaluation.predictors import NetPredictor
from training.loss import make_loss
from training.normalise import normalise
from training.optim import AveragedWeights, learning_rate, make_optimizer, set_learning_rate
from training.reports.run_report import SHOWN, RunReport
from training.setup import BEST_FILE, LAST_FILE
from training.state import (
    RunState,
    check_same_run,
    join_rng,
    restore_rng,
    rng_state,
    rounding_of,
    save_state,
)
from training.trainee import Trainee

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from edge_runtime.metrics import ConfusionMatrix
    from training.data.datasets import Dataset
    from training.data.loader import Batch
    from training.options import TrainOptions
    from training.runlog import RunLog
    from training.setup import Setup


class Run:
    """Weights, their average, optimiser, step and best score."""

    def __init__(self, net: nn.Module, setup: Setup, options: TrainOptions) -> None:
        self.setup, self.options, self.ranks = setup, options, setup.ranks
        self.device = prepare_torch(options)
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own types lack it
        if self.ranks.size > 1 and self.device.type == "cuda":  # torch has none for the CPU
            self.net = nn.SyncBatchNorm.convert_sync_batchnorm(self.net)  # type: ignore[no-untyped-call]
        self.averaged = AveragedWeights(self.net, options.ema)
        classes = len(setup.train_set.labels) if options.aux > 0 else None
        self.trainee = Trainee(self.net, classes).to(self.device)
        self.optimizer = make_optimizer(self.net, options, self.trainee.auxiliary)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "fp16")
        self.frequencies = _frequencies(setup.train_set, options)
        weights = _class_weights(options, self.frequencies, len(setup.train_set.labels))
        self.loss = make_loss(
            options,
            None if weights is None else torch.from_numpy(weights).to(self.device),
            self.ranks,
        )
        if self.ranks.size > 1:
            self._leave_out_unused()
        if options.compile:
            self.trainee.compile()  # in place: the names of its weights stay
        self.engine = self.ranks.parallel(self.trainee)
        if not self.ranks.main:  # each process drops other activations
            torch.manual_seed(options.seed + self.ranks.rank)
        self.pictures = RunReport(setup.folder, setup.report)
        self.worst = Worst(SHOWN)
        self.step, self.rate = 0, 0.0
        self.best_miou, self.best_step = -1.0, 0
        self._started, self._seconds_before = time.monotonic(), 0.0

    def _leave_out_unused(self) -> None:
        """Exchange no gradients of parameters that no loss depends on: they never come."""
        self.trainee.eval()
        image = torch.zeros(1, 3, *self.options.augment.crop, device=self.device)
        outputs = [output for output in self.trainee(image) if output is not None]
        torch.autograd.backward([output.sum() for output in outputs])
        for parameter in self.trainee.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None

    def train_step(self, batch: Batch) -> float:
        """One optimiser step on this process's share of a batch; returns the loss of the whole."""
        self.engine.train()
        self.rate = learning_rate(self.options, self.step)
        set_learning_rate(self.optimizer, self.rate)
        frames = torch.from_numpy(batch.images).to(self.device)
        labels = torch.from_numpy(batch.labels).to(self.device, torch.int64)  # (N, h, w)
        size = len(frames) // self.options.accumulate
        parts = list(zip(torch.split(frames, size), torch.split(labels, size), strict=True))
        shares = self._shares([part for _, part in parts])
        self.optimizer.zero_grad(set_to_none=True)
        value = 0.0
        for number, ((shown, ids), share) in enumerate(zip(parts, shares, strict=True), 1):
            with ExitStack() as stack:
                stack.enter_context(self.ranks.guarded())
                if number < len(parts) and isinstance(self.engine, DistributedDataParallel):
                    stack.enter_context(self.engine.no_sync())
                loss = self._part_loss(shown, ids, share)
                torch.autograd.backward(self.scaler.scale(loss))
                value += loss.item()
        if self.ranks.size > 1:
            value = self.ranks.sum(value)[0] / self.ranks.size
        self._refuse_not_finite(value)
        self._descend()
        return value

    def _shares(self, parts: list[Tensor]) -> list[float]:
        """What each part's mean loss counts in the whole batch's, times the processes.

        Their gradients are averaged over the processes afterwards.
        """
        if len(parts) == self.ranks.size == 1:
            return [1.0]
        amounts = [self.loss.amount(part) for part in parts]
        total = self.ranks.sum(sum(amounts))[0]
        return [amount * self.ranks.size / max(total, 1e-9) for amount in amounts]

    def _part_loss(self, frames: Tensor, labels: Tensor, share: float) -> Tensor:
        """Scalar loss of (n, h, w, 3) uint8 frames and (n, h, w) int64 labels."""
        options = self.options
        images = normalise(frames, self.setup.mean, self.setup.std)  # (n, 3, h, w)
        low = torch.float16 if options.precision == "fp16" else torch.bfloat16
        with torch.autocast(self.device.type, low, enabled=options.precision != "fp32"):
            logits, auxiliary = self._logits(images)  # (n, C, h, w), (n, C, h/16, w/16)
        logits = logits.float()
        loss = self.loss(logits, labels)
        if auxiliary is not None:
            size = (int(labels.shape[1]), int(labels.shape[2]))
            coarse = F.interpolate(auxiliary.float(), size, mode="bilinear", align_corners=False)
            loss = loss + options.aux * self.loss(coarse, labels)
        if share != 1:
            loss = loss * share
        if self.setup.teacher is not None:
            pair = thinned(logits, self.setup.teacher.logits(frames))
            apart = distillation(*pair, options.distill, options.distill_temperature)
            loss = loss + apart * (options.distill_weight / options.accumulate)
        return loss

    def _logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        try:
            logits, auxiliary = self.engine(images)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            height, width = images.shape[2:]
            raise OptionError(
                f"{len(images)} image of {height}x{width} at a time leaves batch norm a single "
                "value to take a variance of; choose a larger --crop or --batch, a smaller "
                "--accumulate, or fewer processes"
            ) from error
        except torch._dynamo.exc.TorchDynamoException as error:
            raise OptionError(
                f"torch cannot compile the network here ({str(error).splitlines()[0]}); leave "
                "--compile out"
            ) from error
        return logits, auxiliary

    def _refuse_not_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise OptionError(
                f"the loss is {loss} at step {self.step}; lower --lr (now {self.options.lr:g}) or "
                "use --precision fp32. The state saved last is still good"
            )

    def _descend(self) -> None:
        """Turn the gradients into new weights."""
        self.scaler.unscale_(self.optimizer)
        if self.options.clip > 0:
            torch.nn.utils.clip_grad_norm_(self.trainee.parameters(), self.options.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update(self.net, self.step)
        self.step += 1

    def validate(self, log: RunLog) -> None:
        """Score the averaged weights on the val split, each process a share of the images.

        They are kept if they are the best so far, or if the val split is trained on and says
        nothing about it.
        """
        setup = self.setup
        matrix = self._score()
        scores = matrix.scores()
        seen = self.options.train_split == "trainval"
        note = {"trained_on": True} if seen else {}
        log.append("val", self.step, **scores.as_json(), **note)
        better = scores.miou > self.best_miou
        if better or seen:
            self.best_miou, self.best_step = scores.miou, self.step
        weights = self.averaged.net.state_dict()

        def write() -> None:
            for name in (LAST_FILE, BEST_FILE) if better or seen else (LAST_FILE,):
                setup.save_weights(setup.folder / name, weights, self.step, scores)

        self.ranks.from_main(write)
        per_class = "  ".join(
            f"{name} {'-' if value is None else f'{100 * value:.1f}'}"
            for name, value in scores.iou.items()
        )
        verdict = "best so far" if better else f"best {100 * self.best_miou:.2f}"
        setup.report(
            f"val   {self.step:>6}  mIoU {100 * scores.miou:.2f} "
            f"({'trained on' if seen else verdict})  {per_class}"
        )
        if self.ranks.main:  # the worst of its own share, where processes share the images
            kept = (self.step, matrix) if better or seen else None
            self.pictures.validated(setup.val_set, self.worst.ranked, kept)

    def _score(self) -> ConfusionMatrix:
        setup, ranks = self.setup, self.ranks
        # On a CPU each process has batch norm statistics of its own; those of the main one count.
        ranks.copy_from_main(self.averaged.net.buffers())
        predictor = NetPredictor(
            self.averaged.net, setup.val_set.labels, setup.val_size, setup.mean, setup.std
        )
        mine = range(ranks.rank, len(setup.val_set), ranks.size)
        self.worst = Worst(SHOWN)
        matrix = confusion(predictor, setup.val_set, indices=mine, observers=[self.worst])
        if ranks.size > 1:
            counts = ranks.add_up(torch.from_numpy(matrix.counts)).numpy()
            images = len(setup.val_set) - matrix.images
            matrix.add(np.asarray(counts - matrix.counts, np.int64), images)
        return matrix

    def save(self) -> None:
        """Write the state between two steps."""
        auxiliary = self.trainee.auxiliary
        state = RunState(
            step=self.step,
            best_miou=self.best_miou,
            best_step=self.best_step,
            seconds=self._seconds_before + time.monotonic() - self._started,
            options=self.options.lineage(),
            net=self.net.state_dict(),
            averaged=self.averaged.net.state_dict(),
            optimizer=self.optimizer.state_dict(),
            rng=join_rng(self.ranks.gather(rng_state())),
            scaler=self.scaler.state_dict(),
            auxiliary={} if auxiliary is None else auxiliary.state_dict(),
            rounding=rounding_of(self.options, self.ranks.size),
        )
        self.ranks.from_main(lambda: save_state(self.setup.folder, state))

    def restore(self, state: RunState) -> None:
        """Continue from a state of the same run."""
        check_same_run(state, self.options.lineage())
        try:
            self.net.load_state_dict(state.net)
        except RuntimeError as error:
            raise ArtifactError(
                f"the run in {self.setup.folder} trains another network than {self.options.preset} "
                "is now: a former version of this program began it; end it there, or start a new "
                "run from its checkpoint with the variation that is that network, if there is one"
            ) from error
        self.averaged.net.load_state_dict(state.averaged)
        self.optimizer.load_state_dict(state.optimizer)
        if state.scaler:
            self.scaler.load_state_dict(state.scaler)
        if self.trainee.auxiliary is not None:
            self.trainee.auxiliary.load_state_dict(state.auxiliary)
        restore_rng(state.rng, self.ranks.rank)
        self.step = state.step
        self.best_miou, self.best_step = state.best_miou, state.best_step
        self._seconds_before = state.seconds


def _frequencies(train_set: Dataset, options: TrainOptions) -> NDArray[np.float64] | None:
    """(C,) shares of the classes, if anything depends on them: counting reads every label."""
    weights = options.class_weights
    if options.augment.rare_crops > 0 or (not isinstance(weights, tuple) and weights > 0):
        return class_frequencies(train_set)
    return None


def _class_weights(
    options: TrainOptions, frequencies: NDArray[np.float64] | None, classes: int
) -> NDArray[np.float32] | None:
    """(C,) float32 weights of the loss; None if all are equal."""
    weights = options.class_weights
    if isinstance(weights, tuple):
        if len(weights) != classes:
            raise OptionError(
                f"--class-weights has {len(weights)} values for {classes} classes; give one per "
                "class, in the order of the train ids"
            )
        return np.array(weights, np.float32)
    return class_weights(frequencies, weights) if frequencies is not None and weights > 0 else None


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
    if name.startswith("cuda"):
        torch.backends.cudnn.benchmark = True  # sizes never change: its fastest way is looked for
    return torch.device(name)
