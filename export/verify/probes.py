"""How a form differs from the reference frame by frame and class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.yuv import to_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Preprocess
    from edge_runtime.labels import LabelSet
    from export.verify.figures import Answer

SHOWN = 4
"""Frames with pictures on a page."""


@dataclass(frozen=True)
class Probe:
    """One frame."""

    agreement: float
    """Share of its pixels, 0..1, whose class is the reference's."""
    max_abs_error: float | None
    """Largest difference of a score; null where scores are not to be had, or are not finite."""


class Differences:
    """What one form says where the reference says something.

    Args:
        labels: the classes of both.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.probes: list[Probe] = []
        self._labels = labels
        self._counts: NDArray[np.int64] = np.zeros((256, 256), np.int64)

    def add(self, reference: Answer, found: Answer) -> None:
        """Take in one frame."""
        # Over all ids: a broken form may say some that are no class.
        pairs = (reference.mask.astype(np.intp) << 8) | found.mask
        counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        self._counts += counts
        agreement = float(np.trace(counts) / counts.sum())
        self.probes.append(Probe(agreement, largest_error(reference, found)))

    def by_class(self) -> dict[str, float | None]:
        """Share of the reference's pixels of a class, 0..1, that agree; null where it has none."""
        totals = self._counts.sum(axis=1)
        return {
            name: float(self._counts[place, place] / totals[place]) if totals[place] else None
            for place, name in enumerate(self._labels.names)
        }

    def confusion(self) -> list[list[int]] | None:
        """(C, C) pixels, ``[reference][form]``; None if they agree everywhere."""
        if np.trace(self._counts) == self._counts.sum():
            return None
        classes = len(self._labels)
        found: list[list[int]] = self._counts[:classes, :classes].tolist()
        return found


def largest_error(reference: Answer, found: Answer) -> float | None:
    """The largest difference of a score; None where scores are not to be had, or not finite."""
    if reference.scores is None or found.scores is None or found.non_finite:
        return None
    return float(np.abs(found.scores - reference.scores).max())


@dataclass
class Sample:
    """One of the frames and every form's mask of it, for the page."""

    number: int
    """Of the frame, from 0."""
    frame: NDArray[np.uint8]
    """As the network takes it."""
    masks: dict[str, NDArray[np.uint8]]
    """By form, the reference's first."""
    labels: LabelSet
    preprocess: Preprocess
    """What the frame's bytes are."""

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The frame as (H, W, 3) uint8 BGR."""
        yuv = self.preprocess.yuv
        if yuv is None:
            return self.frame if self.preprocess.color == "BGR" else self.frame[..., ::-1]
        rgb = np.clip(np.rint(to_rgb(self.frame, yuv)), 0, 255).astype(np.uint8)
        return rgb[..., ::-1]

    @property
    def agreement(self) -> float:
        """Of the form that differs most, 0..1."""
        reference, *others = self.masks.values()
        return min((float((mask == reference).mean()) for mask in others), default=1.0)


class Samples:
    """The frame that tells an onlooker most, and of the others the worst.

    Args:
        shown: number of the frame that is kept in any case.
    """

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self._first: list[Sample] = []
        self._worst: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Keep a frame, if it is one of those."""
        if sample.number == self._shown:
            self._first.append(sample)
        elif sample.agreement < 1:
            self._worst.append(sample)
            self._worst.sort(key=lambda one: (one.agreement, one.number))
            del self._worst[SHOWN - 1 :]

    @property
    def kept(self) -> list[Sample]:
        """The frame to show first, then those on which a form differs, worst first."""
        return self._first + self._worst
