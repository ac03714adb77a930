"""Small public data sets and exports of annotation tools, as tests need them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.training.labelled import write_colours, write_ids, write_image

ALL_TRAIN = ["--split", "1"]


def write_cvat(root: Path) -> Path:
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:12,34,56::\n"
        "a:b:255,0,255::\nvoid:9,9,9::\n"
    )
    (root / "ImageSets/Segmentation/default.txt").write_text("one\n")
    write_colours(
        root / "SegmentationClass/one.png", [[(0, 0, 0), (12, 34, 56)], [(255, 0, 255), (9, 9, 9)]]
    )
    write_image(root / "JPEGImages/one.jpg", (2, 2))
    return root


def coco(segmentations: list[Any], **image: Any) -> dict[str, Any]:
    """One 6x8 image with annotations of categories 5, 7, 5, 7, ..."""
    return {
        "images": [{"id": 3, "file_name": "one.png", "height": 6, "width": 8, **image}],
        "categories": [{"id": 7, "name": "cow"}, {"id": 5, "name": "barn"}],
        "annotations": [
            {"image_id": 3, "category_id": (5, 7)[i % 2], "segmentation": shape, "iscrowd": 0}
            for i, shape in enumerate(segmentations)
        ],
    }


def write_coco(root: Path, content: dict[str, Any], size: tuple[int, int] = (6, 8)) -> Path:
    (root / "annotations").mkdir(parents=True)
    (root / "annotations/instances_default.json").write_text(json.dumps(content))
    write_image(root / "images/one.png", size)
    return root


def labelme(*shapes: tuple[str, str, list[list[float]]], **fields: Any) -> dict[str, Any]:
    """One 6x8 image."""
    return {
        "imagePath": "one.png", "imageHeight": 6, "imageWidth": 8, "imageData": None,
        "shapes": [{"label": n, "shape_type": k, "points": p, "group_id": None}
                   for n, k, p in shapes], **fields,
    }  # fmt: skip


def write_labelme(root: Path, content: dict[str, Any]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "one.json").write_text(json.dumps(content))
    write_image(root / "one.png", (6, 8))
    return root


def write_cityscapes(root: Path, kind: str = "labelIds", ids: object = ((7, 26), (0, 33))) -> Path:
    """A frame of each split, of two cities for train."""
    frames = [("train", "ulm_000001"), ("train", "aachen_000002"), ("val", "bonn_000003"),
              ("test", "berlin_000004")]  # fmt: skip
    for shade, (split, stem) in enumerate(frames):
        city = stem.partition("_")[0]
        write_image(root / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png", (2, 2), shade)
        write_ids(root / f"gtFine/{split}/{city}/{stem}_gtFine_{kind}.png", ids)
    return root


def write_voc(root: Path) -> Path:
    base = root / "VOCdevkit/VOC2012"
    lists = base / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for shade, (split, stem) in enumerate({"train": "2007_01", "val": "2008_01"}.items()):
        write_image(base / f"JPEGImages/{stem}.jpg", (2, 2), 80 * shade)
        write_ids(base / f"SegmentationClass/{stem}.png", [[0, 20], [255, 1]])
        (lists / f"{split}.txt").write_text(f"{stem}\n")
    write_image(base / "JPEGImages/2009_07.jpg", (2, 2), 200)
    write_ids(base / "SegmentationClassAug/2009_07.png", [[3, 3], [0, 0]])
    (lists / "trainaug.txt").write_text("/JPEGImages/2009_07.jpg /SegmentationClassAug/2009_07.png")
    return root
