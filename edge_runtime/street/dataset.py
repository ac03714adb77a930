"""Writes frames of many streets as an image data set in CamVid's folder layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import OptionError
from edge_runtime.labels import STREET_8
from edge_runtime.street.camera import StreetCamera, StreetOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

_HELD_OUT = 0.15


def write_dataset(
    folder: Path,
    *,
    seeds: Iterable[int],
    frames_per_seed: int,
    stride: int = 15,
    size: tuple[int, int] = (384, 512),
) -> dict[str, int]:
    """Write ``SPLIT/NAME.png`` and ``SPLIT_labels/NAME_L.png`` for splits train, val and test.

    No street is in two splits: of the seeds in the given order the last 15 % (at least one) are
    test, those before them val. Label files hold train ids in one channel. ``meta.json`` is
    written last: a folder without it was interrupted and is incomplete.

    Args:
        folder: a new or empty folder.
        seeds: at least three different streets.
        frames_per_seed: pictures of each street.
        stride: frames of a 30 Hz drive from one picture to the next.
        size: (height, width) of the pictures in pixels.

    Returns:
        How many pictures each split has.

    Raises:
        OptionError: bad arguments, the folder is not empty, or it cannot be written.
    """
    order = list(dict.fromkeys(seeds))
    if len(order) < 3:
        raise OptionError(f"a data set of {len(order)} seeds cannot be split; give at least 3")
    if frames_per_seed < 1 or stride < 1:
        raise OptionError(
            f"frames_per_seed {frames_per_seed} and stride {stride} must both be 1 or more"
        )
    splits = _split(order)
    for seed in order:
        StreetOptions(size=size, seed=seed)
    _prepare(folder, list(splits))
    for split, members in splits.items():
        for seed in members:
            camera = StreetCamera(StreetOptions(size=size, seed=seed))
            for number in range(frames_per_seed):
                _write_frame(folder, split, camera, number * stride)
    counts = {split: len(members) * frames_per_seed for split, members in splits.items()}
    meta = {
        "counts": counts,
        "frames_per_seed": frames_per_seed,
        "labels": STREET_8.name,
        "seeds": splits,
        "size": list(size),
        "stride": stride,
    }
    write_text_atomic(folder / "meta.json", json.dumps(meta, indent=2, sort_keys=True) + "\n")
    return counts


def _split(seeds: list[int]) -> dict[str, list[int]]:
    held_out = max(round(len(seeds) * _HELD_OUT), 1)
    train = len(seeds) - 2 * held_out
    return {
        "train": seeds[:train],
        "val": seeds[train : train + held_out],
        "test": seeds[train + held_out :],
    }


def _prepare(folder: Path, splits: list[str]) -> None:
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OptionError(f"{folder} is not empty; delete it or name a new folder")
        for split in splits:
            (folder / split).mkdir(parents=True)
            (folder / f"{split}_labels").mkdir()
    except OSError as error:
        raise OptionError(f"cannot write {folder}: {error.strerror}; choose another") from error


def _write_frame(folder: Path, split: str, camera: StreetCamera, index: int) -> None:
    import cv2

    image, labels = camera.frame(index)
    name = f"street{camera.options.seed:06d}_{index:06d}"
    for path, pixels in (
        (folder / split / f"{name}.png", image),
        (folder / f"{split}_labels" / f"{name}_L.png", labels),
    ):
        ok, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not ok:
            raise OptionError(f"cannot encode {path.name} as PNG; OpenCV was built without it")
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            raise OptionError(f"cannot write {path}: {error.strerror}") from error
