"""Batches by step number: which samples belong to a step is a pure function of seed and step.

So a run can resume at any step, and the number of workers changes nothing but the speed.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from training.data.views import Views
from training.distributed import Ranks

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from training.data.datasets import Dataset
    from training.options import TrainOptions

_BATCHES_AHEAD = 3


class Batch(NamedTuple):
    """Augmented samples of one step."""

    images: NDArray[np.uint8]
    """(N, h, w, 3) uint8 RGB."""
    labels: NDArray[np.uint8]
    """(N, h, w) uint8 train ids; 255 is ignored."""


def sample_position(length: int, seed: int, position: int) -> tuple[int, int]:
    """(epoch, index) of the n-th sample of a run over `length` images, shuffled every epoch."""
    epoch, place = divmod(position, length)
    order = np.random.default_rng([seed, epoch]).permutation(length)
    return epoch, int(order[place])


@dataclass(frozen=True)
class Feed:
    """What a run's batches are made of.

    Raises:
        OptionError: the batch does not divide among the processes.
    """

    dataset: Dataset
    options: TrainOptions
    frequencies: NDArray[np.float64] | None = None
    """(C,) share of each class, for rare crops."""
    ranks: Ranks = field(default_factory=Ranks)
    """Each takes a share of each part of a batch: together the samples of one process."""

    def __post_init__(self) -> None:
        self.ranks.share(self.options.batch, self.options.accumulate)

    def load(self, step: int) -> Batch:
        """The batch of one step (from 0)."""
        options = self.options
        views = Views(self.dataset, options.augment, options.seed, self.frequencies)
        samples = []
        for position in self.positions(step):
            epoch, index = sample_position(len(self.dataset), options.seed, position)
            samples.append(views.of(epoch, index))
        images, labels = zip(*samples, strict=True)
        return Batch(np.stack(images), np.stack(labels))

    def positions(self, step: int) -> list[int]:
        """Which samples of the run this process takes in a step, part after part."""
        batch, parts = self.options.batch, self.options.accumulate
        share = self.ranks.share(batch, parts) // parts
        first = step * batch + self.ranks.rank * share
        return [
            first + part * (batch // parts) + number
            for part in range(parts)
            for number in range(share)
        ]


def batches(feed: Feed, first_step: int) -> Generator[Batch, None, None]:
    """The batches of the steps from `first_step` on, in order, prepared ahead by threads.

    Reading, OpenCV and torch release the interpreter, so threads overlap with the training step.
    """
    cv2.setNumThreads(1)  # its own thread pool would fight torch's over the cores
    options = feed.options
    steps = range(first_step, options.steps)
    if options.workers == 0:
        yield from map(feed.load, steps)
        return
    pool = ThreadPoolExecutor(options.workers, thread_name_prefix="loader")
    waiting: deque[Future[Batch]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(feed.load, step))
            if len(waiting) >= _BATCHES_AHEAD + options.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
