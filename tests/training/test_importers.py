"""Annotations of other tools become a data set that training reads."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.cli import main
from tests.training.annotated import (
    ALL_TRAIN,
    coco,
    labelme,
    write_cityscapes,
    write_coco,
    write_cvat,
    write_labelme,
    write_voc,
)
from tests.training.labelled import ANIMALS, write_colours, write_folder, write_ids, write_image
from training.data.datasets import open_dataset


def run(kind: str, source: Path, output: Path, *options: str) -> None:
    code = main(["data", "import", kind, str(source), "-o", str(output), *options])
    assert code == 0


def masks_of(output: Path, split: str = "train") -> dict[str, list[list[int]]]:
    """Train ids by image name."""
    dataset = open_dataset(f"folder:{output}", split)
    return {
        Path(dataset.image_name(i)).stem: dataset.read(0, i).labels.tolist()
        for i in range(len(dataset))
    }


def classes_of(output: Path) -> list[str]:
    return json.loads((output / "meta.json").read_text())["classes"]


def test_cvat_masks_of_any_colours(tmp_path: Path) -> None:
    run("cvat", write_cvat(tmp_path / "src"), tmp_path / "out", *ALL_TRAIN)

    assert classes_of(tmp_path / "out") == ["background", "road", "a:b"]
    assert masks_of(tmp_path / "out") == {"one": [[0, 1], [2, 255]]}
    meta = json.loads((tmp_path / "out/meta.json").read_text())
    assert meta["palette"] == [[0, 0, 0], [12, 34, 56], [255, 0, 255]]


def test_cvat_subsets_become_splits(tmp_path: Path) -> None:
    root = write_cvat(tmp_path / "src")
    lists = root / "ImageSets/Segmentation"
    (lists / "default.txt").unlink()
    for shade, (stem, name) in enumerate({"one": "Train", "two": "Validation"}.items()):
        (lists / f"{name}.txt").write_text(f"{stem}\n")
        write_colours(root / f"SegmentationClass/{stem}.png", [[(12, 34, 56)] * 2] * 2)
        write_image(root / f"JPEGImages/{stem}.png", (2, 2), shade)
    (root / "JPEGImages/one.jpg").unlink()

    run("cvat", root, tmp_path / "out")

    assert masks_of(tmp_path / "out", "val") == {"two": [[1, 1], [1, 1]]}


def test_cvat_names_with_folders_and_images_with_any_suffix(tmp_path: Path) -> None:
    root = write_cvat(tmp_path / "src")
    (root / "ImageSets/Segmentation/default.txt").unlink()
    places = {"cam1/a": "JPG", "cam1/b.v2": "Jpeg", "cam2/a": "PNG"}
    for shade, (name, suffix) in enumerate(places.items()):
        write_colours(root / f"SegmentationClass/{name}.png", [[(12, 34, 56)] * 2] * 2)
        write_image(root / f"JPEGImages/{name}.{suffix}", (2, 2), shade)
    lists = root / "ImageSets/Segmentation"
    (lists / "train.txt").write_text("one\ncam1/a\ncam1/b.v2\n")
    (lists / "val.txt").write_text("cam2/a\n")
    # what an editor keeps beside the masks is none
    write_colours(root / "SegmentationClass/.checkpoints/one-copy.png", [[(12, 34, 56)] * 2] * 2)

    run("cvat", root, tmp_path / "out")

    assert list(masks_of(tmp_path / "out")) == ["b.v2", "cam1__a", "one"]
    assert masks_of(tmp_path / "out", "val") == {"cam2__a": [[1, 1], [1, 1]]}


def test_coco_polygons_runs_and_draw_order(tmp_path: Path) -> None:
    # given: a small cow listed before the barn that covers it, and a cow as run lengths
    cow = [[2, 2, 4, 2, 4, 4, 2, 4]]
    barn = [[1, 1, 7, 1, 7, 5, 1, 5]]
    runs = {"size": [6, 8], "counts": [0, 2, 46]}  # the two uppermost pixels of the first column
    content = coco([barn, runs, barn, cow])
    content["annotations"] = [content["annotations"][i] for i in (3, 0, 1)]
    write_coco(tmp_path / "src", content)

    run("coco", tmp_path / "src", tmp_path / "area", *ALL_TRAIN)
    run("coco", tmp_path / "src", tmp_path / "file", *ALL_TRAIN, "--order", "file")

    assert classes_of(tmp_path / "area") == ["background", "barn", "cow"]
    expected = np.zeros((6, 8), int)
    expected[1:5, 1:7] = 1
    expected[0:2, 0] = 2
    assert masks_of(tmp_path / "file")["one"] == expected.tolist()
    expected[2:4, 2:4] = 2
    assert masks_of(tmp_path / "area")["one"] == expected.tolist()


def test_coco_crowds_and_unlabelled_pixels_can_be_ignored(tmp_path: Path) -> None:
    content = coco([[[0, 0, 4, 0, 4, 6, 0, 6]], {"size": [6, 8], "counts": [42, 6]}])
    content["annotations"][1]["iscrowd"] = 1
    write_coco(tmp_path / "src", content)

    run("coco", tmp_path / "src", tmp_path / "out", *ALL_TRAIN, "--crowd", "ignore",
        "--unlabelled", "ignore")  # fmt: skip

    assert classes_of(tmp_path / "out") == ["barn", "cow"]
    assert masks_of(tmp_path / "out")["one"] == [[0] * 4 + [255] * 4] * 6


def test_coco_annotations_without_segmentation_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path / "src", coco([[], None, [[0, 0, 8, 0, 8, 6, 0, 6]]]))

    run("coco", tmp_path / "src", tmp_path / "out", *ALL_TRAIN)

    assert "left out: 2 annotations without segmentation" in capsys.readouterr().err


def test_labelme_shapes_in_the_order_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = labelme(
        ("field", "polygon", [[0, 0], [8, 0], [8, 6], [0, 6]]),
        ("barn", "rectangle", [[6, 4], [4, 2]]),
        ("pond", "circle", [[2, 2], [3, 2]]),
        ("__ignore__", "polygon", [[0, 5], [2, 5], [2, 6], [0, 6]]),
        ("fence", "linestrip", [[0, 0], [1, 1]]),
    )
    run("labelme", write_labelme(tmp_path / "src", content), tmp_path / "out", *ALL_TRAIN)

    names = classes_of(tmp_path / "out")
    assert names == ["background", "barn", "fence", "field", "pond"]
    expected = np.full((6, 8), names.index("field"))
    expected[2:4, 4:6] = names.index("barn")
    expected[1:3, 1:3] = names.index("pond")
    expected[5, 0:2] = 255
    assert masks_of(tmp_path / "out")["one"] == expected.tolist()
    assert "left out: 1 linestrip shapes" in capsys.readouterr().err


@pytest.mark.parametrize("first", range(4))
def test_labelme_rectangles_of_four_points_and_turned_ones(tmp_path: Path, first: int) -> None:
    # given: corners in turn as X-AnyLabeling stores them, beginning with any
    corners = [[1, 1], [4, 1], [4, 3], [1, 3]]
    content = labelme(
        ("barn", "rectangle", [*corners[first:], *corners[:first]]),
        ("cow", "rotation", [[6, 0.8], [8.2, 3], [6, 5.2], [3.8, 3]]),
    )

    run("labelme", write_labelme(tmp_path / "src", content), tmp_path / "out", *ALL_TRAIN)

    expected = np.zeros((6, 8), int)
    expected[1:3, 1:4] = 1
    for row, columns in enumerate([slice(5, 7), slice(4, 8), slice(4, 8), slice(5, 7)], 1):
        expected[row, columns] = 2
    assert masks_of(tmp_path / "out")["one"] == expected.tolist()


def test_shapes_that_cover_no_pixel_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = labelme(
        ("barn", "rectangle", [[1, 1], [5, 1]]),
        ("cow", "polygon", [[20, 20], [30, 20], [30, 30]]),
    )
    tiny = coco([[[1, 1, 1.2, 1, 1.2, 1.2]], [[0, 0, 2, 0, 2, 2, 0, 2]]])

    run("labelme", write_labelme(tmp_path / "a", flat), tmp_path / "a-out", *ALL_TRAIN)
    said = capsys.readouterr().err
    assert "left out: 1 rectangle shapes that cover no pixel" in said
    assert "left out: 1 polygon shapes that cover no pixel" in said

    write_coco(tmp_path / "b", tiny)
    run("coco", tmp_path / "b", tmp_path / "b-out", *ALL_TRAIN)
    assert "left out: 1 annotations that cover no pixel" in capsys.readouterr().err


def test_labelme_embedded_images_masks_and_listed_classes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8)).save(buffer, "PNG")
    small = base64.b64encode(buffer.getvalue()).decode()
    root = write_labelme(tmp_path / "src", labelme(("cow", "mask", [[3, 1], [4, 2]])))
    content = json.loads((root / "one.json").read_text())
    content["shapes"][0]["mask"] = small
    content["imageData"] = base64.b64encode((root / "one.png").read_bytes()).decode()
    (root / "one.json").write_text(json.dumps(content))
    (root / "one.png").unlink()
    (root / "labels.txt").write_text("__ignore__\n_background_\nbarn\ncow\n")

    run("labelme", root, tmp_path / "out", *ALL_TRAIN)

    assert classes_of(tmp_path / "out") == ["background", "barn", "cow"]
    expected = np.zeros((6, 8), int)
    expected[1, 3] = expected[2, 3] = expected[2, 4] = 2
    assert masks_of(tmp_path / "out") == {"one": expected.tolist()}


def test_images_marked_as_turned_are_turned(tmp_path: Path) -> None:
    # given: 8x6 stored, shown and annotated as 6x8
    root = write_labelme(tmp_path / "src", labelme(("cow", "rectangle", [[0, 0], [8, 1]])))
    exif = Image.Exif()
    exif[274] = 6
    stored = np.zeros((8, 6, 3), np.uint8)
    stored[:, 0] = 255  # the left column is shown as the upper row
    Image.fromarray(stored).save(root / "one.png", exif=exif)

    run("labelme", root, tmp_path / "out", *ALL_TRAIN)

    sample = open_dataset(f"folder:{tmp_path / 'out'}", "train").read(0, 0)
    assert sample.image[..., 0].tolist() == [[255] * 8] + [[0] * 8] * 5
    assert sample.labels[0].tolist() == [1] * 8


def test_camvids_32_colours_become_11_classes(tmp_path: Path) -> None:
    root = tmp_path / "src"
    # given: Sky, SUVPickupTruck, LaneMkgsDriv, Void
    colours = [[(128, 128, 128), (64, 128, 192)], [(128, 0, 192), (0, 0, 0)]]
    write_colours(root / "LabeledApproved_full/a_1_L.png", colours)
    write_image(root / "701_StillsRaw_full/a_1.png", (2, 2))

    run("camvid32", root, tmp_path / "out", *ALL_TRAIN)

    dataset = open_dataset(f"folder:{tmp_path / 'out'}", "train")
    assert dataset.labels.name == "camvid-11"
    assert dataset.read(0, 0).labels.tolist() == [[0, 8], [3, 255]]
    assert "non-commercial" in dataset.license


def test_classes_are_merged_selected_and_ignored(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "src", {
        "classes": ["sky", "car", "bus", "road"],
        "palette": [[0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 0, 4]], "license": "CC BY 4.0",
    })  # fmt: skip
    write_ids(root / "train_labels/train_1.png", [[0, 1, 2], [3, 255, 1]])

    run("folder", root, tmp_path / "out", "--merge", "vehicle=car,bus", "--ignore", "sky",
        "--classes", "road,vehicle")  # fmt: skip
    run("folder", root, tmp_path / "rest", "--classes", "car", "--others", "background")

    meta = json.loads((tmp_path / "out/meta.json").read_text())
    assert meta["classes"] == ["road", "vehicle"]
    assert meta["palette"] == [[0, 0, 4], [0, 0, 2]]
    assert meta["license"] == "CC BY 4.0"
    assert masks_of(tmp_path / "out") == {"train_1": [[255, 1, 1], [0, 255, 1]]}
    assert classes_of(tmp_path / "rest") == ["background", "car"]
    assert masks_of(tmp_path / "rest") == {"train_1": [[0, 1, 0], [0, 255, 1]]}


def test_a_folder_without_splits_is_split_and_the_source_untouched(tmp_path: Path) -> None:
    root = tmp_path / "src"
    for number in range(20):
        write_image(root / f"images/drive{number // 5}_{number:04}.jpg", (2, 2), 10 * number)
        write_ids(root / f"masks/drive{number // 5}_{number:04}.png", [[0, 1], [1, 0]])
    (root / "meta.json").write_text(json.dumps(ANIMALS))
    before = {path: path.read_bytes() for path in root.rglob("*.*")}

    run("masks", root, tmp_path / "out", "--split", "2/1/1")

    drives = {
        split: {name.partition("_")[0] for name in masks_of(tmp_path / "out", split)}
        for split in ("train", "val", "test")
    }
    assert [len(found) for found in drives.values()] == [2, 1, 1]
    assert len(set().union(*drives.values())) == 4
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before
    assert main(["data", "check", str(tmp_path / "out")]) == 0


def test_cityscapes_and_voc_keep_their_splits_and_lose_what_was_not_asked_for(
    tmp_path: Path,
) -> None:
    write_cityscapes(tmp_path / "city")
    write_voc(tmp_path / "voc")

    run("cityscapes", tmp_path / "city", tmp_path / "a", "--classes", "car,road")
    run("voc", tmp_path / "voc", tmp_path / "b", "--merge", "thing=aeroplane,tvmonitor")

    assert masks_of(tmp_path / "a")["ulm_000001_leftImg8bit"] == [[1, 0], [255, 255]]
    assert len(masks_of(tmp_path / "a", "test")) == 1
    assert masks_of(tmp_path / "b", "val") == {"2008_01": [[0, 1], [255, 1]]}
