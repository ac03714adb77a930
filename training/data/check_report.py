"""What a check of a data set gives: figures of every split, and the problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.labels import IGNORE_INDEX
from training.data.class_balance import class_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from training.data.problems import Problem
    from training.data.scan import PairFacts

SUGGESTED_POWER = 0.3
"""Strength of the suggested class weights: the default of training."""


@dataclass
class SplitSummary:
    """Figures of the usable pairs of one split."""

    classes: int
    images: int = 0
    """Pairs that are listed and complete, readable or not."""
    sizes: Counter[str] = field(default_factory=Counter)
    """Images by size, ``HxW``."""
    ignored: int = 0
    """Pixels."""
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    stored: set[int] = field(default_factory=set)
    """Every id found in masks of ids."""

    def __post_init__(self) -> None:
        self.pixels: NDArray[np.int64] = np.zeros(self.classes, np.int64)
        """(C,) labelled pixels of each class."""
        self.present: NDArray[np.int64] = np.zeros(self.classes, np.int64)
        """(C,) images in which each class occurs."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """(C,) share of each class among the labelled pixels."""
        shares: NDArray[np.float64] = self.pixels / max(int(self.pixels.sum()), 1)
        return shares

    @property
    def mean(self) -> NDArray[np.float64]:
        """(3,) mean of R, G, B, 0..1; every image counts alike."""
        mean: NDArray[np.float64] = self.means / max(self.sizes.total(), 1)
        return mean

    @property
    def std(self) -> NDArray[np.float64]:
        """(3,) standard deviation of the pixels of R, G, B."""
        variance = self.squares / max(self.sizes.total(), 1) - self.mean**2
        std: NDArray[np.float64] = np.sqrt(np.maximum(variance, 0))
        return std

    def add(self, facts: PairFacts, train_ids: NDArray[np.int64]) -> None:
        """Count a usable pair; `train_ids` are those of its codes, -1 where unknown."""
        assert facts.image_size is not None
        self.sizes["x".join(map(str, facts.image_size))] += 1
        self.means += facts.mean
        self.squares += facts.square
        counts = np.array(list(facts.codes.values()), np.int64)
        learned = (train_ids >= 0) & (train_ids != IGNORE_INDEX)
        np.add.at(self.pixels, train_ids[learned], counts[learned])
        self.present[np.unique(train_ids[learned])] += 1
        self.ignored += int(counts[train_ids == IGNORE_INDEX].sum())
        if not facts.coloured:
            self.stored.update(facts.codes)


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    data: str
    """The specification."""
    labels: LabelSet
    splits: dict[str, SplitSummary]
    problems: list[Problem]

    @property
    def fatal(self) -> list[Problem]:
        """The problems a training refuses."""
        return [problem for problem in self.problems if problem.fatal]

    def weights(self, split: str) -> NDArray[np.float32]:
        """(C,) suggested loss weights by the frequencies of a split."""
        return class_weights(self.splits[split].shares, SUGGESTED_POWER)

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "data": self.data,
            "ok": not self.fatal,
            "labels": self.labels.name,
            "splits": {name: self._split_json(name) for name in self.splits},
            "problems": [
                {
                    "kind": problem.kind,
                    "fatal": problem.fatal,
                    "split": problem.split,
                    "file": problem.file,
                    "ids": dict(problem.ids),
                    "message": problem.message,
                }
                for problem in self.problems
            ],
        }

    def _split_json(self, name: str) -> dict[str, Any]:
        split = self.splits[name]
        columns = zip(
            self.labels.names,
            split.pixels.tolist(),
            split.shares.tolist(),
            split.present.tolist(),
            self.weights(name).tolist(),
            strict=True,
        )
        return {
            "images": split.images,
            "usable": split.sizes.total(),
            "sizes": dict(split.sizes),
            "ignored_pixels": split.ignored,
            "rgb_mean": [round(v, 6) for v in split.mean.tolist()],
            "rgb_std": [round(v, 6) for v in split.std.tolist()],
            "classes": {
                label: {
                    "pixels": pixels,
                    "share": round(share, 8),
                    "images": images,
                    "suggested_weight": round(weight, 4),
                }
                for label, pixels, share, images, weight in columns
            },
        }
