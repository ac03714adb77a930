"""mIoU of a network on a data set, at the labels' own resolution.

A predictor turns a picture into a mask; `evaluate` is the same for all of them: the picture is
scaled to the network's input as the runtime does, the prediction is mapped back to the labels, and
one confusion matrix counts everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from edge_runtime.errors import OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.metrics import ConfusionMatrix, Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import ResizeMode
    from edge_runtime.labels import LabelSet
    from training.datasets import Dataset


class Predictor(Protocol):
    """Turns a picture at network size into a mask at the picture's original size."""

    input_size: tuple[int, int]
    """(height, width) of the network input."""
    resize: ResizeMode
    labels: LabelSet

    def predict(self, frame: NDArray[np.uint8], geometry: FrameGeometry) -> NDArray[np.uint8]:
        """Mask of one picture.

        Args:
            frame: (height, width, 3) uint8 RGB of `input_size`.
            geometry: where the original picture lies in it.

        Returns:
            (H, W) uint8 train ids at ``geometry.frame``.
        """
        ...


def evaluate(predictor: Predictor, dataset: Dataset) -> Scores:
    """Score a predictor on all images of a data set.

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
    for index in range(len(dataset)):
        sample = dataset.read(0, index)
        height, width = sample.labels.shape
        geometry = FrameGeometry((height, width), predictor.input_size, predictor.resize)
        frame = place(sample.image, geometry)
        matrix.update(sample.labels, predictor.predict(frame, geometry))
    return matrix.scores()


def place(image: NDArray[np.uint8], geometry: FrameGeometry) -> NDArray[np.uint8]:
    """A picture scaled into the network input; black where letterboxing leaves room.

    Args:
        image: (H, W, 3) uint8, (H, W) being ``geometry.frame``.
        geometry: where it goes.

    Returns:
        (height, width, 3) uint8 of ``geometry.network``.
    """
    top, left, height, width = geometry.content
    if image.shape[:2] != (height, width):
        shrinking = image.shape[0] >= height and image.shape[1] >= width
        method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    if (height, width) == geometry.network:
        return image
    frame = np.zeros((*geometry.network, 3), np.uint8)
    frame[top : top + height, left : left + width] = image
    return frame
