"""CVAT "Segmentation mask 1.1": ``labelmap.txt`` with any colours, masks of those colours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError
from edge_runtime.labels import IGNORE_INDEX, LabelSet
from training.data.importers.base import (
    SPLIT_NAMES,
    Imported,
    Item,
    ReadOptions,
    find_image,
    read_bytes,
)
from training.data.label_map import LabelMap
from training.data.layouts import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.label_map import Colour
    from training.data.pairs import Split

_IGNORED = ("ignore", "__ignore__", "void")


def read(source: Path, options: ReadOptions) -> Imported:
    """An unpacked export: ``labelmap.txt``, ``SegmentationClass/`` and the images.

    Images lie in ``JPEGImages/`` if CVAT was asked to save them; otherwise --images names their
    folder. A label called ``void``, ``ignore`` or ``__ignore__`` is ignored.

    Raises:
        SourceError: a part is missing or malformed.
    """
    place = source / "labelmap.txt"
    colours = _colours(place)
    masks = source / "SegmentationClass"
    if not masks.is_dir():
        raise SourceError(f"{source} has no folder SegmentationClass; unpack CVAT's whole export")
    names = tuple(name for name in dict.fromkeys(colours.values()) if name not in _IGNORED)
    first = {name: colour for colour, name in reversed(colours.items())}
    labels = LabelSet("cvat", names, tuple(first[name] for name in names))
    targets = {
        colour: names.index(name) if name in names else IGNORE_INDEX
        for colour, name in colours.items()
    }
    label_map = LabelMap(labels, {}, targets, expand_palette=True)
    folders = [options.images] if options.images else [source / "JPEGImages", source]
    splits = _splits(source)
    items = []
    for path in _masks(masks):
        name = path.relative_to(masks).with_suffix("").as_posix()
        image, draw = find_image(name, folders), partial(label_map.read, path)
        upright = options.orientation != "stored"
        items.append(Item(name, image, draw, splits.get(name), upright))
    return Imported(names, items, labels.palette)


def _masks(folder: Path) -> list[Path]:
    """The masks of a folder and its folders, sorted: an image's name in CVAT may hold folders."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _colours(place: Path) -> dict[Colour, str]:
    """Colour -> label of ``label:r,g,b:parts:actions`` lines."""
    colours: dict[Colour, str] = {}
    lines = read_bytes(place).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        # The label itself may hold a colon; colour, parts and actions do not.
        name, *rest = line.rsplit(":", 3)
        values = rest[0].split(",") if len(rest) == 3 else []
        if len(values) != 3 or not all(v.strip().isdecimal() and int(v) < 256 for v in values):
            raise SourceError(f"{place}, line {number}: {line!r}; expected 'label:r,g,b:parts:'")
        colour = (int(values[0]), int(values[1]), int(values[2]))
        if colours.get(colour, name) != name:
            raise SourceError(
                f"{place}, line {number}: {name} has the colour of {colours[colour]}; export "
                "again with a colour for each label"
            )
        colours[colour] = name
    if not colours:
        raise SourceError(f"{place} lists no labels; expected lines 'label:r,g,b:parts:actions'")
    return colours


def _splits(source: Path) -> dict[str, Split]:
    """Name -> split, of the subsets that have the name of one."""
    splits: dict[str, Split] = {}
    for place in sorted((source / "ImageSets/Segmentation").glob("*.txt")):
        split = SPLIT_NAMES.get(place.stem.lower())
        if split is not None:
            names = read_bytes(place).decode("utf-8", "replace").splitlines()
            splits.update({name.strip(): split for name in names if name.strip()})
    return splits
