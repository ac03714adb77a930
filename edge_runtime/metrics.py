"""Accuracy against labels: one int64 confusion matrix, updated image by image, and its scores.

Only the matrix is kept, never a prediction, so memory does not grow with the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet


class ConfusionMatrix:
    """Counts of pixels by label (row) and prediction (column)."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.counts: NDArray[np.int64] = np.zeros((len(labels), len(labels)), np.int64)
        """(C, C) int64; ``counts[label, prediction]``."""
        self.images = 0

    def update(self, labels: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Add one image.

        Args:
            labels: (H, W) uint8 train ids; `LabelSet.ignore_index` is not scored.
            prediction: (H, W) uint8 train ids.

        Returns:
            (C, C) int64 counts of this image alone.

        Raises:
            OptionError: the shapes differ, or either holds an id that is not a class.
        """
        if labels.shape != prediction.shape:
            raise OptionError(
                f"labels are {labels.shape}, the prediction is {prediction.shape}; map the "
                "prediction to the labels' own size first"
            )
        # Both are uint8, so one histogram over 256 x 256 pairs counts and checks in a single pass.
        pairs = (labels.astype(np.intp) << 8) | prediction
        table = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        table[self.labels.ignore_index] = 0
        classes = len(self.labels)
        _refuse_unknown("labels", table.sum(axis=1), self.labels)
        _refuse_unknown("the prediction", table.sum(axis=0), self.labels)
        added = table[:classes, :classes].astype(np.int64)
        self.add(added)
        return added

    def add(self, counts: NDArray[np.int64], images: int = 1) -> None:
        """Add (C, C) counts of `images` images that were taken elsewhere."""
        self.counts += counts
        self.images += images

    def iou(self) -> NDArray[np.float64]:
        """(C,) intersection over union; nan for a class neither labelled nor predicted."""
        return intersection_over_union(self.counts)

    def scores(self) -> Scores:
        """The scores of all images so far.

        Raises:
            OptionError: no pixel was scored.
        """
        total = int(self.counts.sum())
        if total == 0:
            raise OptionError(
                f"no pixel was scored in {self.images} images: every label is "
                f"{self.labels.ignore_index} (ignored); check the label files"
            )
        iou = self.iou()
        labelled = self.counts.sum(axis=1)
        recall = np.diag(self.counts)[labelled > 0] / labelled[labelled > 0]
        return Scores(
            miou=float(np.nanmean(iou)),
            iou={
                name: None if np.isnan(value) else float(value)
                for name, value in zip(self.labels.names, iou, strict=True)
            },
            accuracy=float(np.trace(self.counts)) / total,
            mean_accuracy=float(recall.mean()),
            frequency_weighted=float(np.nansum(iou * labelled) / total),
            images=self.images,
        )


def intersection_over_union(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C,) intersection over union of (C, C) ``counts[label, prediction]``; nan for 0 / 0."""
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    iou = np.full(len(hits), np.nan)
    np.divide(hits, union, out=iou, where=union > 0)
    return iou


def _refuse_unknown(what: str, counts: NDArray[np.int64], labels: LabelSet) -> None:
    unknown = [(i, int(n)) for i, n in enumerate(counts) if n and i >= len(labels)]
    if unknown:
        listed = ", ".join(f"{i} ({n} px)" for i, n in unknown[:5])
        raise OptionError(
            f"{what} hold ids {listed}; {labels.name} has classes 0..{len(labels) - 1} and "
            f"ignores {labels.ignore_index}: the label set and the data do not belong together"
        )


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says. All values are shares, 0..1."""

    miou: float
    """Mean over the classes that were labelled or predicted."""
    iou: dict[str, float | None]
    """By class name; None where the class was neither labelled nor predicted."""
    accuracy: float
    """Of pixels: the share of the scored ones that are right."""
    mean_accuracy: float
    """Mean over the labelled classes of the share of each one's pixels that are right."""
    frequency_weighted: float
    """Mean of the IoU weighted by how many pixels are labelled with the class."""
    images: int

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes left out of the mean because they were neither labelled nor predicted."""
        return tuple(name for name, value in self.iou.items() if value is None)

    def as_json(self) -> dict[str, Any]:
        """Plain values for a report; an absent class is null."""
        return {
            "miou": self.miou,
            "iou": dict(self.iou),
            "accuracy": self.accuracy,
            "mean_accuracy": self.mean_accuracy,
            "frequency_weighted": self.frequency_weighted,
            "images": self.images,
        }
