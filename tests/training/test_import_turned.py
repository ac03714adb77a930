"""Images that EXIF marks as turned: refused in a data set, and brought in with their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_runtime.cli import main
from edge_runtime.errors import SourceError
from edge_runtime.sources.images import read_image
from tests.training.annotated import (
    ALL_TRAIN,
    coco,
    labelme,
    write_coco,
    write_cvat,
    write_labelme,
)
from tests.training.labelled import write_colours, write_folder, write_ids
from training.data.check import check, guard
from training.data.datasets import open_dataset
from training.data.label_map import read_rgb

STORED = np.zeros((6, 8), np.uint8)
STORED[0, :3] = 1  # the cow, whose pixels are white
TURNS = {3: 2, 6: 3, 8: 1}
"""EXIF orientation -> quarter turns (anticlockwise) that show the image."""


def write_turned(path: Path, orientation: object, **options: Any) -> None:
    """An image in which the cow is white, stored as `STORED`."""
    exif = Image.Exif()
    exif[274] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.repeat(STORED[..., None] * np.uint8(255), 3, axis=2)
    options = {"quality": 95, "subsampling": 0, **options} if path.suffix == ".jpg" else options
    Image.fromarray(pixels).save(path, exif=exif, **options)


def folder_of(root: Path, orientation: int, mask: np.ndarray, suffix: str = ".jpg") -> Path:
    """A data set whose train image is turned."""
    write_folder(root)
    (root / "train/train_1.png").unlink()
    write_turned(root / f"train/train_1{suffix}", orientation)
    write_ids(root / "train_labels/train_1.png", mask)
    return root


def assert_white_is_cow(output: Path, shape: tuple[int, int], split: str = "train") -> None:
    """The pair fits, for training and as the runtime reads the image."""
    dataset = open_dataset(f"folder:{output}", split)
    sample = dataset.read(0, 0)
    assert sample.labels.shape == shape
    shown = read_image(output / dataset.image_name(0))
    for image in (sample.image, shown):
        np.testing.assert_array_equal(image[..., 1] > 127, sample.labels == 1)
    assert check(f"folder:{output}").fatal == []


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_data_set_with_a_turned_image_is_refused_with_its_remedy(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    root = folder_of(tmp_path / "a", orientation, STORED, suffix)

    (problem,) = check(f"folder:{root}").fatal

    assert (problem.kind, problem.split, Path(problem.file).stem) == (
        "turned image", "train", "train_1",
    )  # fmt: skip
    assert f"EXIF orientation {orientation}" in problem.message
    assert "hyperseg data import" in problem.message
    with pytest.raises(SourceError, match="marked as turned"):
        guard(f"folder:{root}", ["train", "val"], skip_unreadable=True)
    with pytest.raises(SourceError, match="marked as turned"):
        open_dataset(f"folder:{root}", "train").read(0, 0)


def test_a_sheet_of_a_data_set_with_a_turned_image_is_drawn(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "a", 3, STORED)

    code = main(["data", "check", str(root), "--sheet", str(tmp_path / "sheet.png")])

    assert (code, (tmp_path / "sheet.png").is_file()) == (1, True)


@pytest.mark.parametrize(("name", "orientation"), [("a.jpg", 0), ("a.jpg", 9), ("a.jpg", 1),
                                                   ("a.tif", 3)])  # fmt: skip
def test_marks_that_leave_all_readers_at_one_are_no_matter(
    tmp_path: Path, name: str, orientation: int
) -> None:
    write_turned(tmp_path / name, orientation)

    image = read_rgb(tmp_path / name)

    np.testing.assert_array_equal(image > 127, read_image(tmp_path / name) > 127)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["folder", "masks"])
def test_masks_in_files_are_of_the_stored_pixels_unless_said_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, orientation: int
) -> None:
    upright = np.rot90(STORED, TURNS[orientation])
    for way, mask in {"stored": STORED, "upright": upright}.items():
        root = folder_of(tmp_path / way, orientation, mask)
        options = [] if way == "stored" else ["--orientation", "upright"]
        if kind == "masks":
            for new, old in {"images": "train", "masks": "train_labels"}.items():
                (root / old).rename(root / new)
            options += ALL_TRAIN

        code = main(["data", "import", kind, str(root), "-o", str(tmp_path / f"{way}-out"),
                     *options])  # fmt: skip

        assert code == 0
        assert "turned by EXIF: 1 images" in capsys.readouterr().err
        assert_white_is_cow(tmp_path / f"{way}-out", mask.shape)


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("kind", ["coco", "cvat", "labelme"])
def test_annotation_tools_show_images_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    shown = np.rot90(STORED, TURNS[orientation])
    (height, width), rows, columns = shown.shape, *np.nonzero(shown)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    corners = [[float(x), float(y)] for x in (left, right) for y in (top, bottom)]
    corners = [corners[i] for i in (0, 1, 3, 2)]
    root = tmp_path / "src"
    if kind == "coco":
        content = coco(
            [None, [[v for corner in corners for v in corner]]], height=height, width=width
        )
        write_turned(write_coco(root, content) / "images/one.png", orientation)
    elif kind == "labelme":
        content = labelme(("cow", "polygon", corners), imageHeight=height, imageWidth=width)
        write_turned(write_labelme(root, content) / "one.png", orientation)
    else:
        colours = np.array([(0, 0, 0), (12, 34, 56)], np.uint8)[shown]
        write_colours(write_cvat(root) / "SegmentationClass/one.png", colours)
        write_turned(root / "JPEGImages/one.jpg", orientation)

    options = [*ALL_TRAIN, "--classes", "background,road" if kind == "cvat" else "background,cow"]
    code = main(["data", "import", kind, str(root), "-o", str(tmp_path / "out"), *options])

    assert code == 0
    assert_white_is_cow(tmp_path / "out", shown.shape)


def test_a_size_that_fits_the_other_way_round_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_of(tmp_path / "src", 6, STORED.T)
    command = ["data", "import", "folder", str(root), "-o", str(tmp_path / "out")]

    assert main(command) == 2
    said = capsys.readouterr().err
    assert "is 6x8 (HxW) as stored but its annotation is for 8x6" in said
    assert "import with --orientation upright" in said
    assert main([*command, "--orientation", "upright"]) == 0

    write_ids(root / "train_labels/train_1.png", STORED)
    assert main([*command[:-1], str(tmp_path / "b"), "--orientation", "upright"]) == 2
    assert "import with --orientation stored" in capsys.readouterr().err
