"""How often each class occurs in a data set, and the loss weights that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.datasets import Dataset

_FREQUENCY_IMAGES = 400
"""Images whose labels are counted."""


def class_frequencies(dataset: Dataset) -> NDArray[np.float64]:
    """(C,) share of each class among the labelled pixels of (at most 400, evenly picked) images."""
    count = min(len(dataset), _FREQUENCY_IMAGES)
    totals = np.zeros(256, np.int64)
    for index in np.linspace(0, len(dataset) - 1, count).astype(int):
        totals += np.bincount(dataset.read(0, int(index)).labels.ravel(), minlength=256)
    kept = totals[: len(dataset.labels)].astype(np.float64)
    shares: NDArray[np.float64] = kept / max(kept.sum(), 1.0)
    return shares


def class_weights(frequencies: NDArray[np.float64], power: float) -> NDArray[np.float32]:
    """(C,) float32 loss weights, (median frequency / frequency) ** power, mean 1, at most 10:1.

    A class without pixels weighs as much as the rarest that has some.
    """
    present = frequencies > 0
    floor = frequencies[present].min() if present.any() else 1.0
    shares = np.maximum(frequencies, floor)
    weights = (np.median(shares) / shares) ** power
    weights = np.minimum(weights, 10 * weights.min())
    scaled: NDArray[np.float32] = (weights / weights.mean()).astype(np.float32)
    return scaled
