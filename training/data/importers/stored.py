"""Data sets that training reads as they are, and the two that it does not.

``voc``, ``vocaug``, ``cityscapes``, ``camvid`` and ``folder`` are imported to merge, select or
re-split; ``camvid32`` is CamVid as first published; ``masks`` is a folder without splits.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError
from edge_runtime.labels import CAMVID_11, IGNORE_INDEX
from training.data.folder_meta import label_map_of, read_meta
from training.data.importers.base import Imported, Item, ReadOptions
from training.data.label_map import LabelMap
from training.data.layouts import Listing, match_stems, pictures_in
from training.data.pairs import SPLITS, read_pairs
from training.data.problems import DataError
from training.data.stored import KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.label_map import Colour
    from training.data.layouts import Pair
    from training.data.pairs import Split

CAMVID_32: dict[str, tuple[Colour, ...]] = {
    "Sky": ((128, 128, 128),),
    "Building": ((192, 0, 128), (0, 128, 64), (128, 0, 0), (64, 0, 64), (64, 192, 0)),
    "Pole": ((192, 192, 128), (0, 0, 64)),
    "Road": ((128, 64, 128), (128, 0, 192), (192, 0, 64)),
    "Sidewalk": ((0, 0, 192), (64, 192, 128), (128, 128, 192)),
    "Tree": ((128, 128, 0), (192, 192, 0)),
    "SignSymbol": ((192, 128, 128), (128, 128, 64), (0, 64, 64)),
    "Fence": ((64, 64, 128),),
    "Car": ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    "Pedestrian": ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    "Bicyclist": ((0, 128, 192), (192, 0, 192)),
}
"""CamVid's 32 colours by the 11 classes of the SegNet protocol; black, Void, is the 32nd."""


def read(kind: str, source: Path, options: ReadOptions) -> Imported:
    """A data set of a kind that `open_dataset` knows, with its splits.

    Raises:
        SourceError: see `training.data.stored.open_stored`.
    """
    data = KINDS[kind](source)
    items = [
        _item(data.layout.root, pair, data.label_map, split, options)
        for split in SPLITS
        if data.layout.has(split)
        for pair in read_pairs(data.layout, split)
    ]
    return Imported(data.labels.names, items, data.labels.palette, data.license)


def read_camvid32(source: Path, options: ReadOptions) -> Imported:
    """CamVid's 701 stills and their 32-colour labels, as 11 classes.

    Raises:
        SourceError: the folders are missing, or an image lacks its label.
    """
    images = options.images or _folder(source, "701_StillsRaw_full", "images")
    masks = _folder(source, "LabeledApproved_full", "labels")
    colours = {c: i for i, name in enumerate(CAMVID_11.names) for c in CAMVID_32[name]}
    label_map = LabelMap(CAMVID_11, {}, {**colours, (0, 0, 0): IGNORE_INDEX}, expand_palette=True)
    return Imported(
        CAMVID_11.names,
        _matched(images, masks, label_map, options),
        CAMVID_11.palette,
        KINDS["camvid"](source).license,
    )


def read_masks(source: Path, options: ReadOptions) -> Imported:
    """``images/`` and ``masks/`` (or ``labels/``) without splits, and a ``meta.json``.

    ``meta.json`` is that of ``folder:``; see `training.data.folder_meta`.

    Raises:
        SourceError: a part is missing or malformed.
    """
    place = source / "meta.json"
    meta = read_meta(place)
    label_map = label_map_of(place, meta, source.name)
    images = options.images or _folder(source, "images")
    masks = _folder(source, "masks", "labels", "annotations")
    items = _matched(images, masks, label_map, options)
    labels = label_map.labels
    return Imported(labels.names, items, labels.palette, str(meta.get("license", "")))


def _folder(source: Path, *names: str) -> Path:
    for name in names:
        if (source / name).is_dir():
            return source / name
    raise SourceError(f"{source} has no folder {' or '.join(names)}; it should hold the files")


def _matched(images: Path, masks: Path, label_map: LabelMap, options: ReadOptions) -> list[Item]:
    """Items of two folders, by stem.

    Raises:
        DataError: an image or a mask is left over.
    """
    listing = Listing("train")
    suffixes = ("", "_L", "_mask", "_label")
    pairs = match_stems(pictures_in(images), pictures_in(masks), suffixes, listing, images)
    listing.keep_existing(pairs)
    if listing.problems:
        raise DataError(listing.problems[0])
    return [_item(images, pair, label_map, None, options) for pair in listing.pairs]


def _item(
    root: Path, pair: Pair, label_map: LabelMap, split: Split | None, options: ReadOptions
) -> Item:
    inside = pair.image.is_relative_to(root)
    name = pair.image.relative_to(root) if inside else pair.image
    return Item(
        name.with_suffix("").as_posix(),
        pair.image,
        partial(label_map.read, pair.label),
        split,
        upright=options.orientation == "upright",
    )
