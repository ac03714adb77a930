"""What looks at images as they are evaluated, and keeps little of them; see `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_runtime.errors import OptionError
from edge_runtime.metrics import ConfusionMatrix, intersection_over_union

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from training.evaluation.evaluate import Scored

GroupBy = Literal["prefix", "folder"]


def group_of(name: str, by: GroupBy) -> str:
    """The group of an image name.

    ``prefix`` is its stem up to the first underscore: the sequence in CamVid, the city in
    Cityscapes. ``folder`` is the folder the image lies in.
    """
    path = PurePosixPath(name)
    return path.stem.partition("_")[0] if by == "prefix" else path.parent.name


class Groups:
    """One confusion matrix for each group of images.

    Args:
        labels: the classes.
        by: what makes a group.
    """

    def __init__(self, labels: LabelSet, by: GroupBy) -> None:
        self.by: GroupBy = by
        self.matrices: dict[str, ConfusionMatrix] = {}
        """By group, in the order in which the groups appear."""
        self._labels = labels

    def __call__(self, scored: Scored) -> None:
        """Count one image."""
        group = group_of(scored.name, self.by)
        if group not in self.matrices:
            self.matrices[group] = ConfusionMatrix(self._labels)
        self.matrices[group].add(scored.counts)


@dataclass(frozen=True)
class Ranked:
    """An image by how well it was predicted."""

    iou: float
    """Mean over the classes that are labelled in it, 0..1."""
    index: int
    """In the data set."""
    name: str
    prediction: NDArray[np.uint8]
    """(H, W) uint8 train ids."""


class Worst:
    """The `count` images with the lowest IoU, with their masks and nothing else of them.

    The rank is by the mean over the classes labelled in the image: a class that only the network
    sees there lowers the classes it is taken for, but does not count as one at zero.
    """

    def __init__(self, count: int) -> None:
        if count < 0:
            raise OptionError(f"cannot show the {count} worst images; expected 0 or more")
        self.ranked: list[Ranked] = []
        """Worst first."""
        self._count = count

    def __call__(self, scored: Scored) -> None:
        """Rank one image; one without a scored pixel has no rank."""
        labelled = scored.counts.sum(axis=1) > 0
        if not labelled.any():
            return
        iou = float(intersection_over_union(scored.counts)[labelled].mean())
        if len(self.ranked) == self._count and (not self.ranked or iou >= self.ranked[-1].iou):
            return
        self.ranked.append(Ranked(iou, scored.index, scored.name, scored.prediction.copy()))
        self.ranked.sort(key=lambda image: (image.iou, image.index))
        del self.ranked[self._count :]


class LabelSizes:
    """The distinct (height, width) of the labels: the resolution that was scored."""

    def __init__(self) -> None:
        self.sizes: set[tuple[int, int]] = set()

    def __call__(self, scored: Scored) -> None:
        """Note one image's size."""
        height, width = scored.sample.labels.shape
        self.sizes.add((height, width))
