"""Labelled images to judge a quantised model by, and to sample with regard to classes.

The folders are those of `training.data.datasets`; this stage must run without torch and reads them
itself. A set is named ``camvid:DIR``, ``folder:DIR`` or ``street:``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import CAMVID_11, IGNORE_INDEX, LABEL_SETS, STREET_8, LabelSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.street import StreetCamera

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
KINDS = ("camvid", "folder", "street")


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


@dataclass(frozen=True)
class Pairs:
    """Images and label files listed in ``<split>.txt``, or matched by their stems."""

    name: str
    labels: LabelSet
    root: Path
    pairs: tuple[tuple[str, str], ...]
    train_ids: dict[int, int]
    """Stored id -> train id."""

    def __len__(self) -> int:
        return len(self.pairs)

    def file(self, index: int) -> Path:
        """See `Labelled.file`."""
        return self.root / self.pairs[index][0]

    def read(self, index: int) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Labelled.read`.

        Raises:
            SourceError: a file is unreadable, sizes differ, or an id is unknown.
        """
        from edge_runtime.sources.images import read_image

        image_name, label_name = self.pairs[index]
        image = read_image(self.root / image_name)
        stored = _read_ids(self.root / label_name)
        if stored.shape != image.shape[:2]:
            raise SourceError(
                f"{self.root / image_name} is {image.shape[:2]} but its label {label_name} is "
                f"{stored.shape}; store both at one size"
            )
        table = np.full(256, -1, np.int16)
        table[list(self.train_ids)] = list(self.train_ids.values())
        ids = table[stored]
        if ids.min() < 0:
            raise SourceError(
                f"{self.root / label_name} holds id {int(stored[ids < 0][0])}, which "
                f"{self.labels.name} does not have; `hyperseg eval` explains more"
            )
        return image_name, image, ids.astype(np.uint8)


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


def open_labelled(spec: str, split: Split, size: tuple[int, int]) -> Labelled:
    """The labelled images that `spec` names.

    Args:
        spec: ``camvid:DIR``, ``folder:DIR`` or ``street:``.
        split: which of them.
        size: (height, width) of drawn streets; files have their own.

    Raises:
        OptionError: the text is not understood.
        SourceError: the data cannot be read.
    """
    kind, _, place = spec.partition(":")
    if kind == "street" and not place:
        return Streets(split, size)
    if kind not in ("camvid", "folder") or not place:
        raise OptionError(
            f"data {spec!r} is not understood; expected camvid:DIR, folder:DIR or street:"
        )
    root = Path(place).expanduser()
    if not root.is_dir():
        raise SourceError(f"data folder {root} does not exist")
    labels, train_ids = _camvid() if kind == "camvid" else _described(root / "meta.json")
    return Pairs(f"{labels.name} {split}", labels, root, _pairs(root, split), train_ids)


def _camvid() -> tuple[LabelSet, dict[int, int]]:
    return CAMVID_11, {**{i: i for i in range(11)}, 11: IGNORE_INDEX}


def _described(place: Path) -> tuple[LabelSet, dict[int, int]]:
    try:
        name = json.loads(place.read_bytes()).get("labels")
    except (OSError, ValueError, AttributeError) as error:
        raise SourceError(f"cannot read {place}: {error}; it must name the classes") from error
    if name not in LABEL_SETS:
        raise SourceError(f"{place}: 'labels' is {name!r}; expected one of {', '.join(LABEL_SETS)}")
    labels = LABEL_SETS[name]
    return labels, {**{i: i for i in range(len(labels))}, IGNORE_INDEX: IGNORE_INDEX}


def _pairs(root: Path, split: Split) -> tuple[tuple[str, str], ...]:
    listed = root / f"{split}.txt"
    if listed.is_file():
        rows = [line.split() for line in listed.read_text(encoding="utf-8").splitlines()]
        pairs = [(row[0], row[1]) for row in rows if len(row) == 2]
    else:
        from edge_runtime.sources.images import images_in

        pairs = [
            (f"{split}/{path.name}", f"{split}_labels/{path.stem}_L.png")
            for path in images_in(root / split)
        ]
    if not pairs:
        raise SourceError(f"{root} has no images in split {split!r}")
    return tuple(pairs)


def _read_ids(path: Path) -> NDArray[np.uint8]:
    """Stored ids. Read with PIL: OpenCV would expand a palette to colours."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode not in ("P", "L"):
                raise SourceError(
                    f"{path} is stored as {picture.mode}; a label is a palette or 8-bit grey PNG"
                )
            return np.asarray(picture, np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read label {path}: {error}") from error
