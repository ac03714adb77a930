"""COCO: polygons, plain and compressed run lengths, crowds.

An image has pixels of the class of their topmost annotation. By default larger annotations are
drawn first, as COCO has no order of its own, and a small thing before a large one stays visible.

Of a folder of files those without categories (captions) are left out, and those beside
``instances_...`` of the same images (keypoints, stuff).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.labels import IGNORE_INDEX
from training.data.importers.base import (
    BACKGROUND,
    SPLIT_NAMES,
    Imported,
    Item,
    ReadOptions,
    Side,
    blank_mask,
    code_of,
    decode_json,
    find_image,
    read_bytes,
)
from training.data.importers.raster import decode_rle, fill_polygon

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.pairs import Split


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: Side
    width: Side


class _Category(msgspec.Struct):
    id: int
    name: str


class _Runs(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int | None = None
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: int = 0


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation] | None = None
    categories: list[_Category] | None = None


_ROBOFLOW = "_annotations.coco.json"
"""What Roboflow calls the file of a split, which lies with the images in the split's folder."""

_Drawings = dict[int, list[tuple[int, _Annotation]]]
"""Image id -> code in the mask, and what is drawn with it."""


def read(source: Path, options: ReadOptions) -> Imported:
    """An annotation file, or a folder with such files in ``annotations/`` or itself.

    A file's name says its split if it holds the word, as in ``instances_train2017.json`` or
    ``my_data_val.json``, and another file's name says another one; of Roboflow's files the folder's
    name does.

    Raises:
        SourceError: a file is malformed, or an image cannot be found.
    """
    left_out: Counter[str] = Counter()
    files = _files(source, left_out) if source.is_dir() else [source]
    classes: dict[str, int] = {BACKGROUND: 0} if options.unlabelled == "background" else {}
    items: list[Item] = []
    used = 0
    for place in files:
        content: _File = decode_json(read_bytes(place), _File, place)
        if content.categories is None or content.annotations is None:
            left_out[f"file without annotations of categories ({place.name})"] += 1
            continue
        used += 1
        for category in sorted(content.categories, key=lambda category: category.id):
            classes.setdefault(category.name, code_of(len(classes)))
        targets = {category.id: classes[category.name] for category in content.categories}
        annotations = _by_image(place, content.annotations, targets)
        items += _items(place, source, content.images, annotations, options, left_out)
    if not used:
        raise SourceError(
            f"{source} cannot be imported: no annotations and categories in "
            f"{', '.join(place.name for place in files)}; export segmentation as COCO"
        )
    if len({item.split for item in items}) == 1:
        items = [replace(item, split=None) for item in items]  # all is no split
    return Imported(tuple(classes), items, left_out=left_out)


def _files(folder: Path, left_out: Counter[str]) -> list[Path]:
    """The annotation files of a folder, each image in one: COCO's own has captions and keypoints.

    Raises:
        SourceError: there is none.
    """
    found = (
        sorted((folder / "annotations").glob("*.json"))
        or sorted(folder.glob("*.json"))
        or sorted(folder.glob(f"*/{_ROBOFLOW}"))
    )
    if not found:
        raise SourceError(
            f"{folder} has no annotation files; expected annotations/*.json, *.json or Roboflow's "
            f"{{train,valid,test}}/{_ROBOFLOW}"
        )
    # _train2017, where instances_train2017.json has the images of person_keypoints_train2017.json
    ends = tuple(
        place.stem.removeprefix("instances")
        for place in found
        if place.stem.startswith("instances_")
    )
    files = []
    for place in found:
        if place.stem.endswith(ends) and not place.stem.startswith("instances_"):
            left_out[f"file beside instances_... ({place.name})"] += 1
        else:
            files.append(place)
    return files


def _by_image(place: Path, annotations: list[_Annotation], targets: dict[int, int]) -> _Drawings:
    """Annotations and their codes by image.

    Raises:
        SourceError: one is of an unknown category.
    """
    drawings: _Drawings = defaultdict(list)
    for annotation in annotations:
        code = None if annotation.category_id is None else targets.get(annotation.category_id)
        if code is None:
            raise SourceError(
                f"{place} has an annotation of category {annotation.category_id}, which is not "
                "among its categories; add it there"
            )
        drawings[annotation.image_id].append((code, annotation))
    return drawings


def _split_of(name: str) -> Split | None:
    """The split whose word is in a name, between other signs than letters; None if not just one."""
    words = re.split(r"[^a-z]+", name.lower())
    found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def _folders(place: Path, source: Path) -> list[Path]:
    """Where the images of a file may lie."""
    if place.name == _ROBOFLOW:
        return [place.parent]
    base = source if source.is_dir() else place.parent
    tail = place.stem.partition("_")[2] or place.stem  # instances_train2017 -> train2017
    kinds = [tail, *(part for part in place.stem.split("_") if _split_of(part))]
    return [
        base / part
        for part in (
            "", "images", *kinds, *(f"images/{kind}" for kind in kinds),
            "../images", *(f"../{kind}" for kind in kinds), "..",
        )
    ]  # fmt: skip


def _items(
    place: Path,
    source: Path,
    images: list[_Image],
    drawings: _Drawings,
    options: ReadOptions,
    left_out: Counter[str],
) -> list[Item]:
    split = _split_of(place.parent.name if place.name == _ROBOFLOW else place.stem)
    folders = [options.images] if options.images else _folders(place, source)
    upright = options.orientation != "stored"
    items = []
    for image in images:
        draw = partial(_draw, place, image, drawings[image.id], options, left_out)
        name = image.file_name.rpartition(".")[0] or image.file_name
        found = find_image(image.file_name, folders)
        items.append(Item(name, found, draw, split, upright, (image.height, image.width)))
    return items


def _draw(
    place: Path,
    image: _Image,
    annotations: list[tuple[int, _Annotation]],
    options: ReadOptions,
    left_out: Counter[str],
) -> NDArray[np.int32]:
    mask = blank_mask(image.height, image.width, options)
    shapes = []
    for code, annotation in annotations:
        if not annotation.segmentation:
            left_out["annotations without segmentation"] += 1
            continue
        try:
            region = _region(annotation.segmentation, image)
        except (ValueError, OverflowError) as error:
            raise SourceError(f"{place}, image {image.file_name}: {error}") from error
        if not region.any():
            left_out["annotations that cover no pixel"] += 1
            continue
        ignored = annotation.iscrowd and options.crowd == "ignore"
        shapes.append((region, IGNORE_INDEX if ignored else code))
    if options.order != "file":
        shapes.sort(key=lambda shape: -int(np.count_nonzero(shape[0])))
    for region, code in shapes:
        mask[region] = code
    return mask


def _region(segmentation: list[list[float]] | _Runs, image: _Image) -> NDArray[np.bool_]:
    """The (H, W) bool region of one annotation.

    Raises:
        ValueError: it does not fit the image.
    """
    if isinstance(segmentation, _Runs):
        if segmentation.size != (image.height, image.width):
            raise ValueError(
                f"run lengths of size {segmentation.size} do not fit the image's "
                f"{image.height}x{image.width}"
            )
        return decode_rle(segmentation.counts, image.height, image.width)
    region = np.zeros((image.height, image.width), bool)
    for polygon in segmentation:
        if len(polygon) % 2 or len(polygon) < 6:
            raise ValueError(f"a polygon has {len(polygon)} numbers; expected x and y of 3 points")
        region |= fill_polygon(polygon, image.height, image.width)
    return region
