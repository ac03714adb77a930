"""Labelled images as numpy: CamVid, folders in its layout, and endless procedural streets.

A data set is named by a specification: ``camvid:DIR``, ``camvid12:DIR``, ``folder:DIR``,
``street:`` or ``street:HxW``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import CAMVID_11, CAMVID_12, IGNORE_INDEX, LABEL_SETS, STREET_8, LabelSet
from training.options import parse_size
from training.pairs import PairFolder, Sample, Split

if TYPE_CHECKING:
    from edge_runtime.street import StreetCamera


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


def camvid(root: Path, split: Split, labels: LabelSet = CAMVID_11) -> PairFolder:
    """CamVid at 480x360 as distributed with SegNet; Void (id 11) is ignored unless learned."""
    train_ids = {i: i for i in range(11)} | {11: 11 if len(labels) == 12 else IGNORE_INDEX}
    return PairFolder(
        root,
        split,
        labels,
        train_ids,
        name=f"{labels.name} {split}",
        license="trained on CamVid: CC BY-NC 4.0, non-commercial use only",
    )


def folder(root: Path, split: Split) -> PairFolder:
    """A folder in CamVid's layout whose ``meta.json`` says what its ids mean.

    Either ``labels`` names a built-in label set whose train ids are stored, with 255 ignored, or
    ``classes`` and ``palette`` list names and RGB colours in the order of the stored ids, of which
    ``ignore_id`` (255 if absent) is not learned. ``name`` and ``license`` are optional.

    Raises:
        SourceError: see `PairFolder`, or ``meta.json`` is missing or malformed.
    """
    place = root / "meta.json"
    meta = _read_meta(place)
    if meta.get("labels") in LABEL_SETS:
        labels = LABEL_SETS[meta["labels"]]
        train_ids = {i: i for i in range(len(labels))} | {IGNORE_INDEX: IGNORE_INDEX}
    else:
        labels, train_ids = _custom_labels(place, meta, root.name)
    license_ = str(meta.get("license", ""))
    return PairFolder(
        root, split, labels, train_ids, name=f"{labels.name} {split}", license=license_
    )


def _read_meta(place: Path) -> dict[str, Any]:
    try:
        meta = json.loads(place.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(
            f"cannot read {place}: {error}; it must name the classes, see the README"
        ) from error
    if not isinstance(meta, dict):
        raise SourceError(f"{place} holds a {type(meta).__name__}; expected an object")
    return meta


def _custom_labels(
    place: Path, meta: dict[str, Any], default_name: str
) -> tuple[LabelSet, dict[int, int]]:
    """The label set that ``meta.json`` spells out, and stored id -> train id."""
    classes, palette = meta.get("classes"), meta.get("palette")
    if not isinstance(classes, list) or not isinstance(palette, list):
        raise SourceError(
            f"{place} must have 'labels', one of {', '.join(LABEL_SETS)}, or lists 'classes' "
            "(names) and 'palette' (RGB colours)"
        )
    if len(classes) != len(palette):
        raise SourceError(f"{place} has {len(classes)} classes but {len(palette)} colours")
    ignored = meta.get("ignore_id", IGNORE_INDEX)
    if not isinstance(ignored, int) or not 0 <= ignored <= 255:
        raise SourceError(f"{place} has ignore_id {ignored!r}; expected a stored id 0..255")
    kept = [i for i in range(len(classes)) if i != ignored]
    names = tuple(str(classes[i]) for i in kept)
    for known in LABEL_SETS.values():
        if known.names == names:
            labels = known
            break
    else:
        colours = tuple((c[0], c[1], c[2]) for c in (palette[i] for i in kept))
        labels = LabelSet(str(meta.get("name", default_name)), names, colours)
    train_ids = {stored: train_id for train_id, stored in enumerate(kept)}
    return labels, {**train_ids, ignored: IGNORE_INDEX}


@dataclass(frozen=True)
class _Streets:
    """Which procedural streets make a split, and how many pictures are taken of each."""

    first_seed: int
    streets: int
    frames: int
    cameras: int
    """Cameras kept: making one costs as much as a dozen frames, and tens of megabytes."""


class Street:
    """Procedural street scenes: every training epoch has new streets, val and test are fixed.

    Args:
        split: chooses a range of street seeds that no other split uses.
        size: (height, width) of the scenes; None takes the street camera's own.
    """

    _SPLITS: ClassVar[dict[Split, _Streets]] = {
        "train": _Streets(1_000_000, streets=8, frames=16, cameras=10),
        "val": _Streets(10_000, streets=16, frames=4, cameras=1),
        "test": _Streets(20_000, streets=32, frames=4, cameras=1),
    }
    _STRIDE = 45  # frames of the 30 Hz drive between two pictures: some 15 m

    def __init__(self, split: Split, size: tuple[int, int] | None = None) -> None:
        self.name, self.split, self.labels, self.license = f"street-8 {split}", split, STREET_8, ""
        self._size = size
        self._plan = self._SPLITS[split]
        self._lock = Lock()
        self._camera = lru_cache(self._plan.cameras)(self._make_camera)

    def __len__(self) -> int:
        return self._plan.streets * self._plan.frames

    def read(self, epoch: int, index: int) -> Sample:
        """See `Dataset.read`."""
        street, number = divmod(index, self._plan.frames)
        if self.split == "train":
            street += epoch * self._plan.streets
        with self._lock:  # a camera paints into buffers of its own
            image, labels = self._camera(self._plan.first_seed + street).frame(
                number * self._STRIDE
            )
            return Sample(np.ascontiguousarray(image[:, :, ::-1]), labels.copy())

    def _make_camera(self, seed: int) -> StreetCamera:
        from edge_runtime.street import StreetCamera, StreetOptions

        options = StreetOptions(seed=seed)
        return StreetCamera(replace(options, size=self._size) if self._size else options)


def open_dataset(spec: str, split: Split) -> Dataset:
    """The data set of a specification.

    Raises:
        OptionError: the specification is not understood.
        SourceError: the data cannot be read.
    """
    kind, _, place = spec.partition(":")
    if kind == "street":
        return Street(split, parse_size(place)) if place else Street(split)
    if place and kind in ("camvid", "camvid12", "folder"):
        root = Path(place).expanduser()
        if not root.is_dir():
            raise SourceError(f"data folder {root} does not exist")
        if kind == "folder":
            return folder(root, split)
        return camvid(root, split, CAMVID_11 if kind == "camvid" else CAMVID_12)
    raise OptionError(
        f"data {spec!r} is not understood; expected camvid:DIR, camvid12:DIR, folder:DIR, street: "
        "or street:HxW"
    )
