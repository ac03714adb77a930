"""COCO: polygons, plain and compressed run lengths, crowds.

An image has pixels of the class of their topmost annotation. By default larger annotations are
drawn first, as COCO has no order of its own, and a small thing before a large one stays visible.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
    decode_json,
    find_image,
    read_bytes,
)
from training.data.importers.raster import decode_rle, fill_polygon

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


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
    category_id: int
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: int = 0


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read(source: Path, options: ReadOptions) -> Imported:
    """An annotation file, or a folder with such files in ``annotations/`` or itself.

    A file's name says its split, as in ``instances_train2017.json``, if it holds the word.

    Raises:
        SourceError: a file is malformed, or an image cannot be found.
    """
    files = [source]
    if source.is_dir():
        files = sorted((source / "annotations").glob("*.json")) or sorted(source.glob("*.json"))
    if not files:
        raise SourceError(f"{source} has no annotation files; expected annotations/*.json")
    classes: dict[str, int] = {BACKGROUND: 0} if options.unlabelled == "background" else {}
    items: list[Item] = []
    left_out: Counter[str] = Counter()
    for place in files:
        content: _File = decode_json(read_bytes(place), _File, place)
        for category in sorted(content.categories, key=lambda category: category.id):
            classes.setdefault(category.name, len(classes))
        items += _items(place, source, content, classes, options, left_out)
    return Imported(tuple(classes), items, left_out=left_out)


def _items(
    place: Path,
    source: Path,
    content: _File,
    classes: dict[str, int],
    options: ReadOptions,
    left_out: Counter[str],
) -> list[Item]:
    targets = {category.id: classes[category.name] for category in content.categories}
    by_image: dict[int, list[_Annotation]] = defaultdict(list)
    for annotation in content.annotations:
        if annotation.category_id not in targets:
            raise SourceError(
                f"{place} has an annotation of category {annotation.category_id}, which is not "
                "among its categories; add it there"
            )
        by_image[annotation.image_id].append(annotation)
    kind = place.stem.partition("_")[2] or place.stem  # instances_train2017 -> train2017
    split = next((s for word, s in SPLIT_NAMES.items() if kind.lower().startswith(word)), None)
    base = source if source.is_dir() else place.parent
    folders = [options.images] if options.images else [
        base / part
        for part in ("", "images", kind, f"images/{kind}", "../images", f"../{kind}", "..")
    ]  # fmt: skip
    items = []
    for image in content.images:
        draw = partial(_draw, place, image, by_image[image.id], targets, options, left_out)
        name = image.file_name.rpartition(".")[0] or image.file_name
        items.append(Item(name, find_image(image.file_name, folders), draw, split))
    return items


def _draw(
    place: Path,
    image: _Image,
    annotations: list[_Annotation],
    targets: dict[int, int],
    options: ReadOptions,
    left_out: Counter[str],
) -> NDArray[np.uint8]:
    fill = 0 if options.unlabelled == "background" else IGNORE_INDEX
    mask = np.full((image.height, image.width), fill, np.uint8)
    shapes = []
    for annotation in annotations:
        if not annotation.segmentation:
            left_out["annotations without segmentation"] += 1
            continue
        try:
            region = _region(annotation.segmentation, image)
        except ValueError as error:
            raise SourceError(f"{place}, image {image.file_name}: {error}") from error
        ignored = annotation.iscrowd and options.crowd == "ignore"
        target = IGNORE_INDEX if ignored else targets[annotation.category_id]
        shapes.append((region, target))
    if options.order != "file":
        shapes.sort(key=lambda shape: -int(np.count_nonzero(shape[0])))
    for region, target in shapes:
        mask[region] = target
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
