"""mIoU of a network on a data set, at the labels' own resolution.

A predictor turns a picture into a mask of the same size (`training.evaluation.predictors`);
everything else is the same for all of them: one confusion matrix counts every pixel, and observers
may look at each image as it passes. Nothing of an image is kept, so memory does not grow with their
number.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edge_runtime.errors import OptionError
from edge_runtime.metrics import ConfusionMatrix, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from training.data.datasets import Dataset
    from training.data.pairs import Sample

READERS = 2
"""Threads that read images ahead: decoding lets go of the interpreter."""
_AHEAD = 4


class Predictor(Protocol):
    """Turns a picture into a mask of its size."""

    labels: LabelSet

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mask of one picture.

        Args:
            image: (H, W, 3) uint8 RGB of any size.

        Returns:
            (H, W) uint8 train ids.
        """
        ...


@dataclass(frozen=True)
class Scored:
    """One image as it passes: an observer may look at it, and must copy what it wants to keep."""

    index: int
    """In the data set."""
    name: str
    """Of the image; its number if the data set has no names."""
    sample: Sample
    prediction: NDArray[np.uint8]
    """(H, W) uint8 train ids."""
    counts: NDArray[np.int64]
    """(C, C) int64 of this image, ``counts[label, prediction]``."""


if TYPE_CHECKING:
    Observer = Callable[[Scored], None]


@runtime_checkable
class Named(Protocol):
    """A data set whose images have names."""

    def image_name(self, index: int) -> str:
        """The image's path relative to the data set's folder."""
        ...


def evaluate(predictor: Predictor, dataset: Dataset) -> Scores:
    """Score a predictor on all images of a data set.

    Raises:
        OptionError: the network's classes are not the data set's.
        SourceError: an image or label cannot be read.
    """
    return confusion(predictor, dataset).scores()


def confusion(
    predictor: Predictor,
    dataset: Dataset,
    *,
    indices: Sequence[int] | None = None,
    observers: Sequence[Observer] = (),
    readers: int = READERS,
) -> ConfusionMatrix:
    """The confusion matrix of a predictor on a data set, image by image.

    Args:
        predictor: what is scored.
        dataset: labelled images.
        indices: which of them, such as one process's share; None takes all.
        observers: called with each image in turn.
        readers: threads reading ahead; 0 reads in this one. It does not change the result.

    Raises:
        OptionError: the network's classes are not the data set's.
        SourceError: an image or label cannot be read.
    """
    if predictor.labels.names != dataset.labels.names:
        raise OptionError(
            f"the network predicts {predictor.labels.name} ({len(predictor.labels)} classes) but "
            f"{dataset.name} is labelled with {dataset.labels.name} ({len(dataset.labels)}); "
            "choose data with the network's classes"
        )
    matrix = ConfusionMatrix(dataset.labels)
    wanted = range(len(dataset)) if indices is None else indices
    with closing(read_ahead(dataset, wanted, readers)) as samples:
        for index, sample in samples:
            prediction = predictor.predict(sample.image)
            counts = matrix.update(sample.labels, prediction)
            scored = Scored(index, image_name(dataset, index), sample, prediction, counts)
            for observe in observers:
                observe(scored)
    return matrix


def image_name(dataset: Dataset, index: int) -> str:
    """The name of an image, or its number in a data set without names."""
    return dataset.image_name(index) if isinstance(dataset, Named) else str(index)


def read_ahead(
    dataset: Dataset, indices: Iterable[int], readers: int
) -> Generator[tuple[int, Sample], None, None]:
    """Indices and their samples in the given order, a few of them read ahead by threads.

    Raises:
        SourceError: an image or label cannot be read; those before it have been yielded.
    """
    if readers == 0:
        yield from ((index, dataset.read(0, index)) for index in indices)
        return
    pool = ThreadPoolExecutor(readers, thread_name_prefix="reader")
    waiting: deque[tuple[int, Future[Sample]]] = deque()
    try:
        for index in indices:
            waiting.append((index, pool.submit(dataset.read, 0, index)))
            if len(waiting) >= _AHEAD:
                number, future = waiting.popleft()
                yield number, future.result()
        while waiting:
            number, future = waiting.popleft()
            yield number, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
