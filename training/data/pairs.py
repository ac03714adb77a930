"""Labelled images in files: one split of a stored data set, opened safely and read on demand."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from training.data.label_map import read_rgb
from training.data.problems import DataError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from training.data.label_map import LabelMap
    from training.data.layouts import Layout, Pair

Split = Literal["train", "val", "test", "trainval"]
"""``trainval`` is train followed by val: for a final model whose recipe is settled."""
SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""The splits that are stored."""


def parts_of(split: Split) -> tuple[Split, ...]:
    """The stored splits a split is made of, in order."""
    return ("train", "val") if split == "trainval" else (split,)


class Sample(NamedTuple):
    """One labelled image."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    labels: NDArray[np.uint8]
    """(H, W) uint8 train ids; 255 is ignored."""


@dataclass(frozen=True)
class StoredData:
    """A data set in files: where they are and what their values mean."""

    layout: Layout
    label_map: LabelMap
    license: str = ""
    """What the data imposes on weights trained on it."""

    @property
    def labels(self) -> LabelSet:
        """The classes."""
        return self.label_map.labels


class PairFolder:
    """Image and label files of one split.

    Args:
        data: the data set.
        split: which part of it.
        skipped: what is left out, as found by `training.data.check`; empty refuses nothing here,
            and a bad file raises when it is read.

    Raises:
        DataError: a list or file is missing, a pair does not match, or a split shares images
            with another one.
    """

    def __init__(self, data: StoredData, split: Split, skipped: Sequence[Problem] = ()) -> None:
        self.name, self.split = f"{data.labels.name} {split}", split
        self.labels, self.license = data.labels, data.license
        self.skipped = tuple(skipped)
        """The unreadable files whose pairs were left out on request."""
        self._root, self._map = data.layout.root, data.label_map
        bad = {problem.file for problem in skipped}
        self._pairs = [
            pair
            for part in parts_of(split)
            for pair in read_pairs(data.layout, part)
            if not {str(pair.image), str(pair.label)} & bad
        ]
        if not self._pairs:
            raise DataError(
                Problem("missing split", f"every pair of {self.name} is unreadable; restore some")
            )
        refuse_overlap(data.layout, split)

    def __len__(self) -> int:
        return len(self._pairs)

    def image_name(self, index: int) -> str:
        """The image's path, relative to the folder if it is inside."""
        image = self._pairs[index].image
        inside = image.is_relative_to(self._root)  # a list may name files anywhere
        return (image.relative_to(self._root) if inside else image).as_posix()

    def read(self, epoch: int, index: int) -> Sample:
        """See `training.data.datasets.Dataset.read`."""
        pair = self._pairs[index]
        sample = Sample(read_rgb(pair.image), self._map.read(pair.label))
        if sample.image.shape[:2] != sample.labels.shape:
            raise DataError(size_problem(pair, sample.image.shape[:2], sample.labels.shape))
        return sample


def size_problem(pair: Pair, image: tuple[int, ...], label: tuple[int, ...]) -> Problem:
    """The finding about an image and a label of different (height, width)."""
    message = (
        f"{pair.image} is {image[0]}x{image[1]} (HxW) but its label {pair.label.name} is "
        f"{label[0]}x{label[1]}; store both at one size"
    )
    return Problem("size mismatch", message, file=str(pair.image))


def read_pairs(layout: Layout, split: Split) -> list[Pair]:
    """The pairs of a stored split.

    Raises:
        DataError: the first problem with them.
    """
    listing = layout.listing(split)
    if listing.problems:
        raise DataError(listing.problems[0])
    return listing.pairs


def refuse_overlap(layout: Layout, split: Split) -> None:
    """Refuse a split that shares an image with another one, by path or by content.

    ``trainval`` must not share one with test; what its two parts have in common does no harm.

    Raises:
        DataError: naming both files.
    """
    by_size: dict[int, list[Path]] = defaultdict(list)
    for part in parts_of(split):
        for path in layout.images(part):
            by_size[path.stat().st_size].append(path)
    for other in SPLITS:
        if other in parts_of(split):
            continue
        for path in layout.images(other):
            for twin in by_size.get(path.stat().st_size, ()):
                if twin == path or _digest(twin) == _digest(path):
                    raise DataError(overlap_problem(twin, split, path, other))


def overlap_problem(first: Path, split: str, second: Path, other: str) -> Problem:
    """The finding about an image that is in two splits."""
    return Problem(
        "image in two splits",
        f"{first} of split {split!r} is also in split {other!r} as {second}; a trained image must "
        "not be scored: remove it from one list",
        split,
        str(first),
    )


def _digest(path: Path) -> bytes:
    stat = path.stat()
    return _digest_of_version(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of_version(path: Path, size: int, mtime_ns: int) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
