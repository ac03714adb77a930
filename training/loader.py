"""Batches by step number: which samples belong to a step is a pure function of seed and step.

So a run can resume at any step, and the number of workers changes nothing but the speed.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from training.augment import augment, sample_generator

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from training.datasets import Dataset
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


def load_batch(dataset: Dataset, options: TrainOptions, step: int) -> Batch:
    """The batch of one step (from 0)."""
    samples = []
    for position in range(step * options.batch, (step + 1) * options.batch):
        epoch, index = sample_position(len(dataset), options.seed, position)
        sample = dataset.read(epoch, index)
        rng = sample_generator(options.seed, epoch, index)
        samples.append(augment(sample.image, sample.labels, options.augment, rng))
    return Batch(np.stack([image for image, _ in samples]), np.stack([ids for _, ids in samples]))


def batches(
    dataset: Dataset, options: TrainOptions, first_step: int
) -> Generator[Batch, None, None]:
    """The batches of steps `first_step` to ``options.steps``, in order, prepared ahead by threads.

    Reading, OpenCV and torch release the interpreter, so threads overlap with the training step.
    """
    cv2.setNumThreads(1)  # its own thread pool would fight torch's over the cores
    steps = range(first_step, options.steps)
    if options.workers == 0:
        yield from (load_batch(dataset, options, step) for step in steps)
        return
    pool = ThreadPoolExecutor(options.workers, thread_name_prefix="loader")
    waiting: deque[Future[Batch]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(load_batch, dataset, options, step))
            if len(waiting) >= _BATCHES_AHEAD + options.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
