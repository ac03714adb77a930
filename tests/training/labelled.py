"""Small labelled data sets in files, as tests need them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

# All 256 colours: with fewer, PIL stores fewer bits an id.
PALETTE = [c % 256 for i in range(256) for c in (20 * i, 10 * i, 5 * i)]
ANIMALS = {"classes": ["grass", "cow"], "palette": [[0, 128, 0], [200, 100, 0]]}


def write_image(path: Path, size: tuple[int, int] = (4, 6), shade: int = 90) -> Path:
    """An RGB image of (height, width) whose left upper pixel has a red of `shade`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size).astype(np.uint8)
    pixels = np.stack([np.full(size, shade, np.uint8), ramp, ramp[::-1]], axis=-1)
    Image.fromarray(pixels).save(path)
    return path


def write_ids(path: Path, ids: object) -> Path:
    """A palette label with these ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.array(ids, np.uint8))
    picture.putpalette(PALETTE)
    picture.save(path)
    return path


def write_colours(path: Path, colours: object) -> Path:
    """An RGB label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(colours, np.uint8)).save(path)
    return path


def write_pair(root: Path, split: str, stem: str, ids: object, shade: int = 90) -> None:
    """An image and its label in a data set of folders."""
    label = write_ids(root / f"{split}_labels/{stem}.png", ids)
    with Image.open(label) as picture:
        size = picture.height, picture.width
    write_image(root / f"{split}/{stem}.png", size, shade)


def write_folder(root: Path, meta: dict[str, object] | None = None) -> Path:
    """A clean data set: two classes, one image in each split."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "meta.json").write_text(json.dumps(meta or ANIMALS))
    for number, split in enumerate(("train", "val", "test")):
        write_pair(root, split, f"{split}_1", [[0, 0, 1], [1, 255, 0]], shade=50 + number)
    return root
