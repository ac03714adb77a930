"""Labelled images as numpy: stored data sets, and endless procedural streets.

A data set is named by a specification: ``camvid:DIR``, ``cityscapes:DIR``, ``voc:DIR``,
``folder:DIR``, ``street:`` and more, see `training.data.stored`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from edge_runtime.labels import STREET_8, LabelSet
from edge_runtime.sizes import parse_size
from training.data.pairs import PairFolder, Sample, Split, parts_of
from training.data.stored import open_stored

if TYPE_CHECKING:
    from edge_runtime.street import StreetCamera
    from training.data.problems import Problem


class Dataset(Protocol):
    """Labelled images of one split. Reading is thread-safe and the same on every call."""

    name: str
    """What it is, for reports: the specification without its folder."""
    split: Split
    labels: LabelSet
    license: str
    """What the data imposes on weights trained on it; empty if nothing."""

    def __len__(self) -> int:
        """Images of one epoch."""
        ...

    def read(self, epoch: int, index: int) -> Sample:
        """Image `index` of an epoch; a stored data set has the same images in every epoch.

        Raises:
            SourceError: a file is unreadable, sizes differ, or a label holds an unknown id.
        """
        ...


@dataclass(frozen=True)
class _Streets:
    """Which procedural streets make a split, and how many pictures are taken of each."""

    first_seed: int
    streets: int
    frames: int
    cameras: int
    """Cameras kept: making one costs as much as a dozen frames, and tens of megabytes."""
    fresh: bool = False
    """Every epoch has streets of its own."""


class Street:
    """Procedural street scenes: every training epoch has new streets, val and test are fixed.

    Args:
        split: chooses a range of street seeds that no other split uses.
        size: (height, width) of the scenes; None takes the street camera's own.
    """

    _SPLITS: ClassVar[dict[Split, _Streets]] = {
        "train": _Streets(1_000_000, streets=8, frames=16, cameras=10, fresh=True),
        "val": _Streets(10_000, streets=16, frames=4, cameras=1),
        "test": _Streets(20_000, streets=32, frames=4, cameras=1),
    }
    _STRIDE = 45  # frames of the 30 Hz drive between two pictures: some 15 m

    def __init__(self, split: Split, size: tuple[int, int] | None = None) -> None:
        self.name, self.split, self.labels, self.license = f"street-8 {split}", split, STREET_8, ""
        self._size = size
        self._plans = tuple(self._SPLITS[part] for part in parts_of(split))
        self._lock = Lock()
        self._camera = lru_cache(sum(plan.cameras for plan in self._plans))(self._make_camera)

    def __len__(self) -> int:
        return sum(plan.streets * plan.frames for plan in self._plans)

    def read(self, epoch: int, index: int) -> Sample:
        """See `Dataset.read`."""
        plan = self._plans[0]
        if index >= plan.streets * plan.frames:
            index -= plan.streets * plan.frames
            plan = self._plans[1]
        street, number = divmod(index, plan.frames)
        if plan.fresh:
            street += epoch * plan.streets
        with self._lock:  # a camera paints into buffers of its own
            image, labels = self._camera(plan.first_seed + street).frame(number * self._STRIDE)
            return Sample(np.ascontiguousarray(image[:, :, ::-1]), labels.copy())

    def _make_camera(self, seed: int) -> StreetCamera:
        from edge_runtime.street import StreetCamera, StreetOptions

        options = StreetOptions(seed=seed)
        return StreetCamera(replace(options, size=self._size) if self._size else options)


def open_dataset(spec: str, split: Split, *, skip_unreadable: bool = False) -> Dataset:
    """The data set of a specification.

    Args:
        spec: such as ``camvid:DIR``.
        split: which part of it.
        skip_unreadable: leave out the pairs of which a file cannot be decoded instead of failing
            when one is read; the set's ``skipped`` names them. All files are read once for it.

    Raises:
        OptionError: the specification is not understood.
        SourceError: the data cannot be read.
    """
    kind, _, place = spec.partition(":")
    if kind == "street":
        return Street(split, parse_size(place)) if place else Street(split)
    data = open_stored(spec)
    if not skip_unreadable:
        return PairFolder(data, split)
    from training.data.check import unreadable_files  # it rests on this module

    return PairFolder(data, split, unreadable_files(data, split))


def left_out(dataset: Dataset) -> tuple[Problem, ...]:
    """The unreadable files whose pairs `open_dataset` left out on request."""
    return dataset.skipped if isinstance(dataset, PairFolder) else ()
