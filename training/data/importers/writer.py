"""Writes an imported data set as a ``folder:`` data set: complete, or not at all."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import IGNORE_INDEX
from training.data.importers.base import SPLIT_NAMES
from training.data.importers.splitting import GroupBy, Ratios, assign
from training.data.label_map import DECODING_ERRORS, orientation
from training.data.layouts import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.data.importers.base import Imported, Item
    from training.data.importers.selection import Plan
    from training.data.pairs import Split


@dataclass(frozen=True)
class WriteOptions:
    """How the data set is divided and described."""

    name: str
    """Of the data set."""
    license: str = ""
    """What the data imposes on weights; empty takes the source's."""
    ratios: Ratios | None = None
    """Shares of the splits; None keeps the source's splits, or takes 0.8/0.1/0.1."""
    group_by: GroupBy = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """What was written."""

    counts: dict[str, int]
    """Images by split."""
    how: str
    """How they were divided, in words."""
    turned: int = 0
    """Images that EXIF marked as turned."""


def write(
    source: Imported,
    plan: Plan,
    folder: Path,
    options: WriteOptions,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write ``<split>/``, ``<split>_labels/`` and ``meta.json``; the source stays untouched.

    Images are copied as they are, except those that EXIF marks as turned, which training refuses:
    they become PNG files without the mark, with their pixels the way round that the mask is.

    Args:
        source: what was read.
        plan: its classes.
        folder: a new or empty folder, whose parent exists.
        options: division and description.
        progress: called with the images written and their number.

    Raises:
        OptionError: the folder is not empty or cannot be written.
        SourceError: an image or annotation is unreadable, or their sizes differ.
    """
    if not source.items:
        raise SourceError("the source has no labelled images; check the path and the format")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} already exists and is not empty; choose another -o")
    splits, how = _divide(source.items, options)
    names = _file_names(source.items)
    try:
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    except OSError as error:
        raise OptionError(f"cannot write {folder}: {error.strerror}; choose another -o") from error
    try:
        for split in dict.fromkeys(splits):
            (part / split).mkdir()
            (part / f"{split}_labels").mkdir()
        turned = 0
        for number, (item, name, split) in enumerate(zip(source.items, names, splits, strict=True)):
            turned += _write_item(item, name, part / split, part / f"{split}_labels", plan)
            if progress is not None:
                progress(number + 1, len(source.items))
        counts = {str(split): count for split, count in Counter(splits).items()}
        _write_meta(part, source, plan, options, counts)
        part.chmod(0o755)
        part.replace(folder)
    except OSError as error:
        raise OptionError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Written(counts, how, turned)


def _divide(items: Sequence[Item], options: WriteOptions) -> tuple[list[Split], str]:
    own = [item.split for item in items if item.split is not None]
    if options.ratios is None and own:
        if len(own) < len(items):
            raise OptionError(
                f"the source puts {len(own)} of {len(items)} images into splits; divide them all "
                "with --split 0.8/0.1/0.1"
            )
        return own, "as in the source"
    return assign(
        [_without_split(item.name) for item in items],
        options.ratios or Ratios(),
        seed=options.seed,
        group_by=options.group_by,
    )


def _without_split(name: str) -> str:
    """A name without folders that are splits: frames of one drive may lie in several."""
    *folders, last = name.split("/")
    return "/".join([part for part in folders if part.lower() not in SPLIT_NAMES] + [last])


def _file_names(items: Sequence[Item]) -> list[str]:
    """A name for each item: the last part of its own, or all parts where that is taken."""
    # Not hidden, which a data set's pictures must not be.
    shown = [item.name.rpartition("/")[2].lstrip(".") or "image" for item in items]
    last = Counter(shown)
    names = []
    for item, short in zip(items, shown, strict=True):
        whole = item.name.replace("/", "__").lstrip(".") or "image"
        names.append(short if last[short] == 1 else whole)
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise SourceError(f"two images of the source are called {twice!r}; rename one of them")
    return names


def _write_item(item: Item, name: str, images: Path, labels: Path, plan: Plan) -> bool:
    """Whether the image was marked as turned."""
    content, suffix, size, turned = _image(item)
    if item.size is not None and size != item.size:
        raise SourceError(_size_message(item, size, item.size, turned))
    mask = plan.table[item.mask()]
    if size != mask.shape:
        raise SourceError(_size_message(item, size, mask.shape, turned))
    (images / f"{name}{suffix}").write_bytes(content)
    _save_label(mask, labels / f"{name}.png", plan)
    return turned


def _shown(item: Item) -> str:
    return str(item.image) if isinstance(item.image, Path) else f"the embedded image of {item.name}"


def _image(item: Item) -> tuple[bytes, str, tuple[int, int], bool]:
    """The file to write, its suffix, its (height, width), and whether it was marked as turned.

    Raises:
        SourceError: the image is unreadable.
    """
    try:
        content = item.image.read_bytes() if isinstance(item.image, Path) else item.image
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()  # a truncated file is no training image
            suffix = f".{(opened.format or 'png').lower()}".replace(".jpeg", ".jpg")
            turned = orientation(opened) != 1
            picture = ImageOps.exif_transpose(opened) if turned and item.upright else opened
            if turned or suffix not in IMAGE_SUFFIXES:
                buffer, suffix = io.BytesIO(), ".png"
                # By way of the bare pixels, so that no mark comes along.
                Image.fromarray(np.asarray(picture.convert("RGB"))).save(buffer, "PNG")
                content = buffer.getvalue()
            return content, suffix, (picture.height, picture.width), turned
    except DECODING_ERRORS as error:
        raise SourceError(
            f"cannot read {_shown(item)}: {error}; restore it, or leave it out"
        ) from error


def _size_message(item: Item, size: tuple[int, ...], mask: tuple[int, ...], turned: bool) -> str:
    way, remedy = "", "give the images that were annotated"
    if turned:
        way = ", turned as EXIF says," if item.upright else " as stored"
        if size[::-1] == mask:
            drawn, other = ("stored", "stored") if item.upright else ("shown, turned", "upright")
            remedy = f"if that was drawn on the image as {drawn}, import with --orientation {other}"
    return (
        f"{_shown(item)} is {size[0]}x{size[1]} (HxW){way} but its annotation is for "
        f"{mask[0]}x{mask[1]}; {remedy}"
    )


def _save_label(mask: NDArray[np.uint8], path: Path, plan: Plan) -> None:
    """A palette PNG whose values are ids and whose colours are for viewing."""
    picture = Image.fromarray(mask)
    picture.putpalette(_stored_palette(plan))
    picture.save(path, "PNG")


def _stored_palette(plan: Plan) -> list[int]:
    table = np.zeros((256, 3), np.uint8)
    table[: len(plan.palette)] = plan.palette
    table[IGNORE_INDEX] = (224, 224, 192)  # VOC's colour of the border
    return [int(value) for value in table.ravel()]


def _write_meta(
    part: Path, source: Imported, plan: Plan, options: WriteOptions, counts: dict[str, int]
) -> None:
    meta = {
        "name": options.name,
        "classes": list(plan.classes),
        "palette": [list(colour) for colour in plan.palette],
        "ignore_id": IGNORE_INDEX,
        "license": options.license or source.license,
        "splits": counts,
    }
    text = json.dumps(meta, indent=2, ensure_ascii=False) + "\n"
    (part / "meta.json").write_text(text, encoding="utf-8")
