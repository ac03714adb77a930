"""Whatever is wrong with an export or an option ends in one line, and nothing is left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli import main
from tests.training.annotated import (
    ALL_TRAIN,
    coco,
    labelme,
    write_coco,
    write_cvat,
    write_labelme,
)

BAD_COCO = [
    ("{", "cannot be imported"),
    ('{"images": []}', "cannot be imported.*annotations"),
    (coco([[[0, 0, 1, 1]]]), r"image one.png: a polygon has 4 numbers"),
    (coco([{"size": [6, 9], "counts": [54]}]), "do not fit the image's 6x8"),
    (coco([{"size": [6, 8], "counts": [3]}]), "add up to 3"),
    (coco([], file_name="gone.png"), "the image gone.png is in none of"),
    (coco([], height=7), r"is 6x8 \(HxW\) but its annotation is for 7x8"),
    # nothing of 17 GB is drawn to find that out
    (coco([[[0, 0, 8, 0, 8, 6]]], height=65535, width=65535), "annotation is for 65535x65535"),
    (coco([{"size": [6, 8], "counts": [2**63]}]), "image one.png: "),
    (coco([], height=-1), "cannot be imported"),
    ({**coco([[[0, 0, 1, 1, 0, 1]]]), "categories": []}, "category 5, which is not"),
    ({**coco([]), "images": []}, "no labelled images"),
]


@pytest.mark.parametrize(("content", "message"), BAD_COCO)
def test_bad_coco_files_end_in_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, message: str
) -> None:
    write_coco(tmp_path / "src", {})
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "src/annotations/instances_default.json").write_text(text)

    refused(capsys, tmp_path, message, "coco", *ALL_TRAIN)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"shapes": []}, "cannot be imported"),
        (labelme(("cow", "polygon", [[0, 0], [1, 1]])), "has 2 points; it needs 3"),
        (labelme(("cow", "mask", [[0, 0], [1, 1]])), "mask of 'cow' is malformed"),
        (labelme(imagePath="gone.png"), "gone.png is in none of"),
        (labelme(imagePath="gone.png", imageData="!"), "embedded image is malformed"),
        (labelme(imagePath="gone.png", imageData="aGFsbG8="), "the embedded image of one"),
        (labelme(imageWidth=9), "its annotation is for 6x9"),
        (labelme(imageWidth=65535, imageHeight=65535), "its annotation is for 65535x65535"),
    ],
)
def test_bad_labelme_files_end_in_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: dict[str, Any], message: str
) -> None:
    write_labelme(tmp_path / "src", content)

    refused(capsys, tmp_path, message, "labelme", *ALL_TRAIN)


@pytest.mark.parametrize(
    ("labelmap", "message"),
    [
        (None, "cannot read .*labelmap.txt"),
        ("", "lists no labels"),
        ("road 1,2,3\n", "line 1: 'road 1,2,3'; expected"),
        ("road:1,2,300::\n", "line 1"),
        ("road:1,2,3::\nsky:1,2,3::\n", "sky has the colour of road"),
        ("background:0,0,0::\n", "holds colours #"),
    ],
)
def test_bad_cvat_exports_end_in_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labelmap: str | None, message: str
) -> None:
    place = write_cvat(tmp_path / "src") / "labelmap.txt"
    place.unlink() if labelmap is None else place.write_text(labelmap)

    refused(capsys, tmp_path, message, "cvat", *ALL_TRAIN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "a/b"], "shares of train/val/test"),
        (["--split", "0/1"], "the first above 0"),
        (["--split", "1/1/1/1"], "shares of train/val/test"),
        (["--split", "1/nan"], "shares of train/val/test"),
        (["--split", "1/1", "--group", "folder"], "1 images cannot fill train, val"),
        (["--classes", "moose"], "no class 'moose'; it has|no class 'moose' in the source"),
        (["--ignore", "moose"], "no class 'moose'"),
        (["--merge", "x"], "expected NEW=OLD,OLD"),
        (["--merge", "x=road", "--merge", "y=road"], "merged into 'x' and 'y'"),
        (["--merge", "x=road", "--ignore", "road"], "both merged and ignored"),
        (["--ignore", "background,road,a:b"], "0 classes are left"),
        (["--images", "nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_options_end_in_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    write_cvat(tmp_path / "src")
    chosen = options if "--split" in options else [*ALL_TRAIN, *options]

    refused(capsys, tmp_path, message, "cvat", *chosen)


def refused(
    capsys: pytest.CaptureFixture[str], folder: Path, message: str, kind: str, *options: str
) -> None:
    """The command fails in one line that matches, and only the source is there afterwards."""
    code = main(["data", "import", kind, str(folder / "src"), "-o", str(folder / "out"), *options])

    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.count("\n") == 1
    assert re.search(message, captured.err)
    assert [path.name for path in folder.iterdir()] == ["src"]


def test_an_occupied_output_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cvat(tmp_path / "src")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")

    code = main(["data", "import", "cvat", str(tmp_path / "src"), "-o", str(tmp_path / "out")])

    assert code == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_interrupted_import_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.data.importers import writer

    write_cvat(tmp_path / "src")
    (tmp_path / "out").mkdir()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_write_meta", interrupt)

    code = main(["data", "import", "cvat", str(tmp_path / "src"), "-o", str(tmp_path / "out"),
                 *ALL_TRAIN])  # fmt: skip

    assert code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "src"]
    assert list((tmp_path / "out").iterdir()) == []
