"""Images and labels in files, paired by their stems.

``<split>.txt`` names a pair a line, ``<image> <label>`` relative to the folder; without it the
files of ``<split>/`` and ``<split>_labels/`` are matched. A label is a PNG whose pixel values are
ids, palette or grey, read with PIL: OpenCV would expand a palette to colours.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from PIL import Image

from edge_runtime.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_IMAGES = (".png", ".jpg", ".jpeg")


class Sample(NamedTuple):
    """One labelled image."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    labels: NDArray[np.uint8]
    """(H, W) uint8 train ids; 255 is ignored."""


class PairFolder:
    """Image and label files of one split.

    Args:
        root: the folder.
        split: which list.
        labels: the classes.
        train_ids: stored id -> train id; every other stored id is refused.
        name: for reports.
        license: what the data imposes.

    Raises:
        SourceError: a list or file is missing, a pair does not match, or a split shares images
            with another one.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        labels: LabelSet,
        train_ids: dict[int, int],
        *,
        name: str,
        license: str = "",
    ) -> None:
        self.name, self.split, self.labels, self.license = name, split, labels, license
        self._root = root
        self._table = np.full(256, -1, np.int16)
        for stored, train_id in train_ids.items():
            self._table[stored] = train_id
        self._pairs = read_pairs(root, split)
        refuse_overlap(root, split)

    def __len__(self) -> int:
        return len(self._pairs)

    def image_name(self, index: int) -> str:
        """The image's path relative to the folder."""
        return self._pairs[index][0]

    def read(self, epoch: int, index: int) -> Sample:
        """See `Dataset.read`."""
        image_name, label_name = self._pairs[index]
        image = _open_image(self._root / image_name, "RGB")
        labels = self._read_labels(label_name)
        if image.shape[:2] != labels.shape:
            raise SourceError(
                f"{self._root / image_name} is {image.shape[0]}x{image.shape[1]} (HxW) but its "
                f"label {label_name} is {labels.shape[0]}x{labels.shape[1]}; store both at one size"
            )
        return Sample(image, labels)

    def _read_labels(self, name: str) -> NDArray[np.uint8]:
        path = self._root / name
        stored = _open_image(path, None)
        train_ids = self._table[stored]
        if train_ids.min() < 0:
            ids, counts = np.unique(stored[train_ids < 0], return_counts=True)
            listed = ", ".join(f"{i} ({n} px)" for i, n in zip(ids[:5], counts[:5], strict=True))
            known = np.flatnonzero(self._table >= 0)
            raise SourceError(
                f"{path} holds ids {listed}; {self.labels.name} stores "
                f"{', '.join(_ranges(known))}: relabel them, or add them to the data set's classes"
            )
        return train_ids.astype(np.uint8)


def _ranges(ids: NDArray[np.intp]) -> Iterator[str]:
    """Sorted ids as ranges: 0, 1, 2, 255 -> "0..2", "255"."""
    for run in np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1):
        yield str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}"


def _open_image(path: Path, mode: Literal["RGB"] | None) -> NDArray[np.uint8]:
    """An image as RGB, or (mode None) a single-channel image's stored values."""
    try:
        with Image.open(path) as picture:
            if mode is None and picture.mode not in ("P", "L"):
                raise SourceError(
                    f"{path} is stored as {picture.mode}; a label is a palette or 8-bit grey PNG "
                    "whose pixel values are class ids: convert colours to ids first"
                )
            return np.asarray(picture.convert(mode) if mode else picture, np.uint8)
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error}; restore the file or drop its line from the list"
        ) from error


def read_pairs(root: Path, split: Split) -> list[tuple[str, str]]:
    """(image, label) names of a split: from ``<split>.txt``, or without it from its two folders.

    Raises:
        SourceError: the list is malformed, there are no images, or a pair is incomplete.
    """
    place = root / f"{split}.txt"
    pairs = _listed_pairs(place) if place.is_file() else _found_pairs(root, split)
    if not pairs:
        raise SourceError(f"split {split!r} of {root} has no images")
    for image, label in pairs:
        stem = Path(image).stem
        if Path(label).stem not in (stem, f"{stem}_L"):
            raise SourceError(
                f"{place}: {image} is paired with {label}; expected {stem}.png or {stem}_L.png, "
                "as pairs must share their stem"
            )
        for name in (image, label):
            if not (root / name).is_file():
                raise SourceError(
                    f"{root / name} does not exist but its pair is in split {split!r}; restore "
                    "it, or take the pair out"
                )
    return pairs


def _listed_pairs(place: Path) -> list[tuple[str, str]]:
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {place}: {error}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        names = line.split()
        if len(names) == 2:
            pairs.append((names[0], names[1]))
        elif names:
            raise SourceError(f"{place}, line {number}: {line!r}; expected '<image> <label>'")
    return pairs


def _found_pairs(root: Path, split: Split) -> list[tuple[str, str]]:
    """Images of ``<split>/`` with the label of the same stem (or stem + "_L")."""
    images, labels = root / split, root / f"{split}_labels"
    if not (images.is_dir() and labels.is_dir()):
        raise SourceError(
            f"{root} has neither {split}.txt nor folders {images.name} and {labels.name}; write "
            "a list of '<image> <label>' lines, or make the folders"
        )
    stems = {path.stem.removesuffix("_L"): path for path in sorted(labels.glob("*.png"))}
    pairs = []
    for path in _images_in(images):
        label = stems.pop(path.stem, labels / f"{path.stem}_L.png")
        pairs.append((f"{split}/{path.name}", f"{split}_labels/{label.name}"))
    if stems:
        orphan = next(iter(stems.values()))
        raise SourceError(f"{orphan} labels no image in {images}; restore the image or delete it")
    return pairs


def refuse_overlap(root: Path, split: Split) -> None:
    """Refuse a split that shares an image with another one, by path or by content.

    Raises:
        SourceError: naming both files.
    """
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in _image_files(root, split):
        by_size[path.stat().st_size].append(path)
    for other in SPLITS:
        if other == split:
            continue
        for path in _image_files(root, other):
            for twin in by_size.get(path.stat().st_size, ()):
                if twin == path or _digest(twin) == _digest(path):
                    raise SourceError(
                        f"{twin} of split {split!r} is also in split {other!r} as {path}; a "
                        "trained image must not be scored: remove it from one list"
                    )


def _image_files(root: Path, split: Split) -> list[Path]:
    """The existing images of a split, labelled or not; none if there is no such split."""
    place = root / f"{split}.txt"
    if place.is_file():
        paths = [root / image for image, _ in _listed_pairs(place)]
        return [path for path in paths if path.is_file()]
    return _images_in(root / split) if (root / split).is_dir() else []


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES)


@lru_cache(maxsize=4096)
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
