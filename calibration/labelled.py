"""Labelled images to judge a quantised model by, and to sample with regard to classes.

The folders are those of `training.data.stored`, and its reader reads them: the gate must score what
the trainer learned and ``eval`` scores. That part of the trainer's package knows no torch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from edge_runtime.errors import OptionError
from edge_runtime.labels import STREET_8, LabelSet

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.street import StreetCamera
    from training.data.pairs import StoredData

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
KINDS = ("camvid", "camvid12", "cityscapes", "voc", "vocaug", "folder", "street")
"""Of labelled images, as the trainer knows them."""


class Labelled(Protocol):
    """Labelled images of one split."""

    @property
    def name(self) -> str:
        """For reports."""
        ...

    @property
    def labels(self) -> LabelSet:
        """The classes."""
        ...

    def __len__(self) -> int: ...

    def file(self, index: int) -> Path | None:
        """The image's file; None if there is none."""
        ...

    def read(self, index: int) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
        """(name, (H, W, 3) uint8 BGR, (H, W) uint8 train ids with 255 ignored)."""
        ...


class Stored:
    """Images in files.

    Args:
        data: the data set.
        split: which part of it.

    Raises:
        SourceError: a list or file is missing, a pair does not match, or a split shares images
            with another one.
    """

    def __init__(self, data: StoredData, split: Split) -> None:
        from training.data.pairs import PairFolder  # needs PIL

        self._data, self._split = data, split
        self._pairs = PairFolder(data, split)
        self.name, self.labels = self._pairs.name, self._pairs.labels

    def __len__(self) -> int:
        return len(self._pairs)

    def file(self, index: int) -> Path:
        """See `Labelled.file`."""
        return self._data.layout.root / self._pairs.image_name(index)

    def files(self) -> list[Path]:
        """All files that say what the images and labels are."""
        layout = self._data.layout
        found = [layout.root / "meta.json"]
        for pair in layout.listing(self._split).pairs:
            found += [pair.image, pair.label]
        return [path for path in found if path.is_file()]

    def read(self, index: int) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Labelled.read`.

        Raises:
            SourceError: a file is unreadable, sizes differ, or an id is unknown.
        """
        image, labels = self._pairs.read(0, index)
        return self._pairs.image_name(index), image[:, :, ::-1].copy(), labels


class Streets:
    """The val and test streets of `training.data.datasets.Street`, or some of its train streets.

    Args:
        split: which streets.
        size: (height, width).
    """

    _FIRST = {"train": (1_000_000, 16), "val": (10_000, 16), "test": (20_000, 32)}  # noqa: RUF012
    _FRAMES, _STRIDE = 4, 45

    def __init__(self, split: Split, size: tuple[int, int]) -> None:
        self.name, self.labels = f"street-8 {split}", STREET_8
        self._first, self._streets = self._FIRST[split]
        self._size = size
        self._camera = lru_cache(1)(self._make)

    def __len__(self) -> int:
        return self._streets * self._FRAMES

    def file(self, index: int) -> None:
        """Streets are drawn, not read."""

    def files(self) -> list[Path]:
        """None."""
        return []

    def read(self, index: int) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Labelled.read`."""
        street, number = divmod(index, self._FRAMES)
        image, labels = self._camera(self._first + street).frame(number * self._STRIDE)
        return f"street {self._first + street} frame {number}", image.copy(), labels.copy()

    def _make(self, seed: int) -> StreetCamera:
        from edge_runtime.street import StreetCamera, StreetOptions

        return StreetCamera(StreetOptions(size=self._size, seed=seed))


def is_labelled(spec: str) -> bool:
    """Whether a text names labelled images and not a source of frames."""
    return spec.partition(":")[0] in KINDS and ":" in spec


def open_labelled(spec: str, split: Split, size: tuple[int, int]) -> Stored | Streets:
    """The labelled images that `spec` names.

    Args:
        spec: ``street:``, or a folder as ``KIND:DIR``, see `training.data.stored`.
        split: which of them.
        size: (height, width) of drawn streets; files have their own.

    Raises:
        OptionError: the text is not understood.
        SourceError: the data cannot be read.
    """
    kind, _, place = spec.partition(":")
    if kind == "street":
        if place:
            raise OptionError(f"data {spec!r}: streets are drawn in the model's size; say street:")
        return Streets(split, size)
    from training.data.stored import open_stored  # needs PIL

    return Stored(open_stored(spec), split)
