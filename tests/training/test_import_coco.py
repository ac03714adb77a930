"""COCO's files as they lie about: names, several of the same images, and more classes than fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli import main
from tests.training.annotated import ALL_TRAIN, coco
from tests.training.labelled import write_image
from training.data.datasets import open_dataset

ALL = [[[0, 0, 8, 0, 8, 6, 0, 6]]]


def write_files(root: Path, files: dict[str, dict[str, Any]], images: str = "images") -> Path:
    """Annotation files, each of its own image unless it names one."""
    (root / "annotations").mkdir(parents=True)
    for shade, (name, content) in enumerate(files.items()):
        (root / f"annotations/{name}").write_text(json.dumps(content))
        for image in content["images"]:
            write_image(root / images / image["file_name"], (6, 8), 10 * shade)
    return root


def run(source: Path, *options: str) -> int:
    return main(["data", "import", "coco", str(source), "-o", f"{source}-out", *options])


def images_of(source: Path, split: str) -> list[str]:
    dataset = open_dataset(f"folder:{source}-out", split)
    return [Path(dataset.image_name(i)).stem for i in range(len(dataset))]


@pytest.mark.parametrize(
    ("train", "val", "images"),
    [
        ("train_annotations.json", "val_annotations.json", "images"),
        ("my_data_train.json", "my_data_valid.json", "images"),
        ("person_keypoints_train2017.json", "person_keypoints_val2017.json", "images"),
        ("Train.json", "VALIDATION.json", "images"),
        ("my_data_train.json", "val-2.json", "train"),
    ],
)
def test_the_name_of_a_file_says_its_split(
    tmp_path: Path, train: str, val: str, images: str
) -> None:
    source = write_files(
        tmp_path / "src",
        {train: coco(ALL, file_name="a.png"), val: coco(ALL, file_name="b.png")},
        images,
    )
    write_image(source / "images/b.png", (6, 8), 200)

    assert run(source) == 0

    assert [images_of(source, "train"), images_of(source, "val")] == [["a"], ["b"]]


@pytest.mark.parametrize(
    "name",
    ["trainval.json", "train_val.json", "contest.json", "data.json", "test_drive_annotations.json"],
)
def test_a_name_that_says_no_split_or_two_says_none(tmp_path: Path, name: str) -> None:
    source = write_files(tmp_path / "src", {name: coco(ALL)})

    assert run(source) == 2  # one image cannot fill three splits
    assert run(source, *ALL_TRAIN) == 0


def test_cocos_own_annotations_are_read_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files: dict[str, dict[str, Any]] = {}
    for split, image in {"train2017": "a.png", "val2017": "b.png"}.items():
        instances = coco(ALL, file_name=image)
        captions = [{"image_id": 3, "id": 1, "caption": "A barn."}]
        files[f"instances_{split}.json"] = instances
        files[f"person_keypoints_{split}.json"] = {**instances, "annotations": []}
        files[f"captions_{split}.json"] = {"images": instances["images"], "annotations": captions}
    source = write_files(tmp_path / "src", files)

    assert run(source) == 0

    assert [images_of(source, "train"), images_of(source, "val")] == [["a"], ["b"]]
    assert open_dataset(f"folder:{source}-out", "train").read(0, 0).labels.max() == 1
    said = capsys.readouterr().err
    assert "left out: 1 file beside instances_... (captions_train2017.json)" in said
    assert said.count("left out: 1 file beside") == 4


def test_a_file_without_categories_is_left_out_but_not_the_only_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = {"images": [], "annotations": [{"image_id": 3, "caption": "A cow."}]}
    source = write_files(tmp_path / "src", {"a_captions.json": captions, "b.json": coco(ALL)})

    assert run(source, *ALL_TRAIN) == 0
    said = capsys.readouterr().err
    assert "left out: 1 file without annotations of categories (a_captions.json)" in said

    (source / "annotations/b.json").unlink()
    assert main(["data", "import", "coco", str(source), "-o", str(tmp_path / "b")]) == 2
    said = capsys.readouterr().err
    assert "no annotations and categories in a_captions.json" in said
    assert said.count("\n") == 1


def test_of_more_classes_than_fit_some_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given: shapes of the classes around 255, which means ignored, of the last one, and a crowd
    columns = {0: 1, 1: 255, 2: 256, 3: 257, 4: 400, 7: 255}
    content = coco([[[x, 0, x + 1, 0, x + 1, 6, x, 6]] for x in columns])
    content["categories"] = [{"id": n, "name": f"c{n}"} for n in range(1, 401)]
    for annotation, number in zip(content["annotations"], columns.values(), strict=True):
        annotation["category_id"] = number
    content["annotations"][-1]["iscrowd"] = 1
    source = write_files(tmp_path / "src", {"all.json": content})

    assert run(source, *ALL_TRAIN) == 2
    said = capsys.readouterr().err
    assert "401 classes are left; expected 1 to 255, chosen with --classes" in said
    chosen = ["--classes", "c400,c255,c256,background", "--crowd", "ignore"]
    assert run(source, *ALL_TRAIN, *chosen) == 0

    labels = open_dataset(f"folder:{source}-out", "train").read(0, 0).labels
    assert labels.tolist() == [[255, 1, 2, 255, 0, 3, 3, 255]] * 6

    assert run(source, *ALL_TRAIN, "--classes", "moose") == 2
    assert "it has background, c1, " in (said := capsys.readouterr().err)
    assert "and 361 more" in said


def test_roboflow_keeps_each_split_in_a_folder_of_its_own(tmp_path: Path) -> None:
    # Given an export whose every split has its annotations beside its pictures, all of one name
    source = tmp_path / "src"
    for shade, (folder, stem) in enumerate({"train": "a", "valid": "b", "test": "c"}.items()):
        write_image(source / folder / f"{stem}.png", (6, 8), 40 * shade)
        content = coco(ALL, file_name=f"{stem}.png")
        (source / folder / "_annotations.coco.json").write_text(json.dumps(content))

    # When
    assert run(source) == 0

    # Then
    splits = ("train", "val", "test")
    assert [images_of(source, split) for split in splits] == [["a"], ["b"], ["c"]]
    assert open_dataset(f"folder:{source}-out", "test").read(0, 0).labels.max() == 1


def test_one_split_of_roboflow_is_read_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "valid/b.png", (6, 8), 40)
    place = tmp_path / "valid/_annotations.coco.json"
    place.write_text(json.dumps(coco(ALL, file_name="b.png")))
    out = tmp_path / "out"
    assert main(["data", "import", "coco", str(place), "-o", str(out), *ALL_TRAIN]) == 0
    assert len(open_dataset(f"folder:{out}", "train")) == 1


def test_names_that_differ_by_hidden_dots_only_stay_two(tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "annotations").mkdir(parents=True)
    content = coco(ALL, file_name="sub/.a.png")
    content["images"].append({"id": 4, "file_name": "a.png", "height": 6, "width": 8})
    (source / "annotations/instances.json").write_text(json.dumps(content))
    write_image(source / "images/sub/.a.png", (6, 8), 10)
    write_image(source / "images/a.png", (6, 8), 90)

    assert run(source, *ALL_TRAIN) == 0

    assert sorted(images_of(source, "train")) == ["a", "sub__.a"]
    reds = {
        int(open_dataset(f"folder:{source}-out", "train").read(0, i).image[0, 0, 0]) for i in (0, 1)
    }
    assert len(reds) == 2
