"""Labelme: one JSON file per image, with the image beside it or inside.

Shapes are drawn in the order of the file unless ``area`` is asked for. Polygons, rectangles (turned
ones too), circles and masks have an area; points and lines have none and are counted as left out,
as is what covers no pixel. The label ``__ignore__`` is ignored, ``_background_`` is the background;
``labels.txt``, if there is one, gives the order of the classes.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.labels import IGNORE_INDEX
from training.data.importers.base import (
    BACKGROUND,
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
from training.data.importers.raster import fill_circle, fill_polygon
from training.data.label_map import DECODING_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_IGNORED = ("__ignore__", "ignore")
_BACKGROUNDS = ("_background_", BACKGROUND)
_POINTS = {"polygon": 3, "rectangle": 2, "rotation": 4, "circle": 2, "mask": 2}
"""Shapes with an area, and the points that each needs."""


class _Shape(msgspec.Struct):
    label: str
    points: list[tuple[float, float]]
    shape_type: str = "polygon"
    mask: str | None = None


class _File(msgspec.Struct, rename="camel"):
    shapes: list[_Shape]
    image_path: str
    image_height: Side
    image_width: Side
    image_data: str | None = None


def read(source: Path, options: ReadOptions) -> Imported:
    """All JSON files of a folder and its folders.

    Raises:
        SourceError: a file is malformed, or an image cannot be found.
    """
    files = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    if not files:
        raise SourceError(f"{source} has no labelme files; expected one .json for each image")
    root = source if source.is_dir() else source.parent
    names: set[str] = set()
    for place in files:
        # Read again when it is drawn: embedded images of a whole data set do not fit in memory.
        names.update(shape.label for shape in _load(place).shapes)
    classes = _classes(root, names, options)
    left_out: Counter[str] = Counter()
    items = []
    for place in files:
        content = _load(place)
        name = place.relative_to(root).with_suffix("").as_posix()
        items.append(
            Item(
                name,
                _image(place, content, options),
                partial(_draw, place, classes, options, left_out),
                upright=options.orientation != "stored",
                size=(content.image_height, content.image_width),
            )
        )
    return Imported(tuple(classes), items, left_out=left_out)


def _load(place: Path) -> _File:
    content: _File = decode_json(read_bytes(place), _File, place)
    return content


def _classes(root: Path, found: set[str], options: ReadOptions) -> dict[str, int]:
    """Class name -> code in the masks, in the order of the codes."""
    special = {*_IGNORED, *_BACKGROUNDS}
    names = [BACKGROUND] if options.unlabelled == "background" or found & {*_BACKGROUNDS} else []
    listed = root / "labels.txt"
    if listed.is_file():
        lines = read_bytes(listed).decode("utf-8", "replace").splitlines()
        names += [line.strip() for line in lines if line.strip() and line.strip() not in special]
    unlisted = sorted(found - special - set(names))
    if listed.is_file() and unlisted:
        raise SourceError(f"{listed} does not list {', '.join(unlisted)}; add them there")
    return {name: code_of(i) for i, name in enumerate(dict.fromkeys([*names, *unlisted]))}


def _image(place: Path, content: _File, options: ReadOptions) -> Path | bytes:
    """The image's file or, without one, its embedded content."""
    folders = [options.images] if options.images else [place.parent]
    name = content.image_path.replace("\\", "/")
    try:
        # With another --images its own folder does not matter.
        return find_image(name.rpartition("/")[2] if options.images else name, folders)
    except SourceError:
        if not content.image_data:
            raise
    try:
        return base64.b64decode(content.image_data, validate=True)
    except binascii.Error as error:
        raise SourceError(f"{place}: its embedded image is malformed: {error}") from error


def _draw(
    place: Path, classes: dict[str, int], options: ReadOptions, left_out: Counter[str]
) -> NDArray[np.int32]:
    content = _load(place)
    mask = blank_mask(content.image_height, content.image_width, options)
    drawn = []
    for shape in content.shapes:
        region = _region(place, shape, *mask.shape)
        if region is None:
            left_out[f"{shape.shape_type} shapes"] += 1
            continue
        if not region.any():
            left_out[f"{shape.shape_type} shapes that cover no pixel"] += 1
            continue
        name = BACKGROUND if shape.label in _BACKGROUNDS else shape.label
        drawn.append((region, IGNORE_INDEX if name in _IGNORED else classes[name]))
    if options.order == "area":
        drawn.sort(key=lambda entry: -int(np.count_nonzero(entry[0])))
    for region, target in drawn:
        mask[region] = target
    return mask


def _region(place: Path, shape: _Shape, height: int, width: int) -> NDArray[np.bool_] | None:
    """The (H, W) bool region of a shape; None if its kind has no area."""
    kind, points = shape.shape_type, shape.points
    needed = _POINTS.get(kind)
    if needed is None:
        return None
    if len(points) < needed:
        raise SourceError(
            f"{place}: a {kind} of {shape.label!r} has {len(points)} points; it needs {needed}"
        )
    (x0, y0), (x1, y1) = points[:2]
    if kind == "circle":
        return fill_circle((x0, y0), float(np.hypot(x1 - x0, y1 - y0)), height, width)
    if kind == "mask":
        return _pasted(place, shape, height, width)
    if kind == "rectangle":
        # labelme stores two corners, X-AnyLabeling all four.
        left, right = min(x for x, _ in points), max(x for x, _ in points)
        top, bottom = min(y for _, y in points), max(y for _, y in points)
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return fill_polygon(points, height, width)


def _pasted(place: Path, shape: _Shape, height: int, width: int) -> NDArray[np.bool_]:
    """A shape that is itself a small PNG, at its upper left corner."""
    from PIL import Image

    try:
        content = base64.b64decode(shape.mask or "", validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            small = np.asarray(picture.convert("L")) > 0
    except DECODING_ERRORS as error:
        raise SourceError(f"{place}: the mask of {shape.label!r} is malformed") from error
    left, top = (max(int(v), 0) for v in shape.points[0])
    region = np.zeros((height, width), bool)
    place_in = region[top : top + small.shape[0], left : left + small.shape[1]]
    place_in[:] = small[: place_in.shape[0], : place_in.shape[1]]
    return region
