"""Public layouts as they are distributed, and folders described by meta.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import CITYSCAPES_19, VOC_21
from tests.training.annotated import write_cityscapes, write_voc
from tests.training.labelled import (
    ANIMALS,
    write_colours,
    write_folder,
    write_ids,
    write_image,
    write_pair,
)
from training.data.datasets import open_dataset
from training.data.stored import guess_spec


def test_cityscapes_label_ids_become_the_19_train_ids(tmp_path: Path) -> None:
    dataset = open_dataset(f"cityscapes:{write_cityscapes(tmp_path)}", "train")

    assert dataset.labels is CITYSCAPES_19
    assert len(dataset) == 2
    assert dataset.image_name(0) == "leftImg8bit/train/aachen/aachen_000002_leftImg8bit.png"
    assert dataset.read(0, 0).labels.tolist() == [[0, 13], [255, 18]]
    assert "non-commercial" in dataset.license


def test_cityscapes_train_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, "labelTrainIds", [[7, 18], [255, 0]])

    dataset = open_dataset(f"cityscapes:{tmp_path}", "val")

    assert dataset.read(0, 0).labels.tolist() == [[7, 18], [255, 0]]


def test_cityscapes_frame_without_labels_is_refused(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    (tmp_path / "gtFine/train/ulm/ulm_000001_gtFine_labelIds.png").unlink()

    with pytest.raises(SourceError, match=r"ulm_000001_gtFine_labelIds.png does not exist"):
        open_dataset(f"cityscapes:{tmp_path}", "train")


def test_voc_and_its_augmented_training_set(tmp_path: Path) -> None:
    write_voc(tmp_path)

    plain, augmented = (open_dataset(f"{kind}:{tmp_path}", "train") for kind in ("voc", "vocaug"))

    assert plain.labels is VOC_21
    assert plain.read(0, 0).labels.tolist() == [[0, 20], [255, 1]]
    assert augmented.image_name(0) == "JPEGImages/2009_07.jpg"
    assert augmented.read(0, 0).labels.tolist() == [[3, 3], [0, 0]]
    assert open_dataset(f"vocaug:{tmp_path}", "val").image_name(0) == "JPEGImages/2008_01.jpg"


@pytest.mark.parametrize("kind", ["cityscapes", "voc", "vocaug"])
def test_an_empty_folder_says_what_was_expected(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceError, match=r"expected (leftImg8bit|PASCAL VOC)"):
        open_dataset(f"{kind}:{tmp_path}", "train")


def test_pairs_follow_stems_and_never_the_order(tmp_path: Path) -> None:
    # given: sorted by name, labels and images would pair crosswise
    write_folder(tmp_path)
    for shade, (stem, label) in enumerate({"x": "x_L", "a_L": "a_L", "a": "a"}.items()):
        write_image(tmp_path / f"train/{stem}.png", (1, 1), shade)
        write_ids(tmp_path / f"train_labels/{label}.png", [[shade % 2]])
    dataset = open_dataset(f"folder:{tmp_path}", "train")

    read = {dataset.image_name(i): dataset.read(0, i) for i in range(len(dataset))}

    for stem, shade in {"x": 0, "a_L": 1, "a": 2}.items():
        sample = read[f"train/{stem}.png"]
        assert (sample.image[0, 0, 0], sample.labels[0, 0]) == (shade, shade % 2)


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    write_image(tmp_path / "train/train_1.jpg")

    with pytest.raises(SourceError, match="share the label"):
        open_dataset(f"folder:{tmp_path}", "train")


def test_names_with_spaces_are_listed_with_a_tab(tmp_path: Path) -> None:
    write_folder(tmp_path)
    write_pair(tmp_path, "train", "my frame", [[0, 1]])
    (tmp_path / "train.txt").write_text("train/my frame.png\ttrain_labels/my frame.png\n")

    assert open_dataset(f"folder:{tmp_path}", "train").image_name(0) == "train/my frame.png"


def test_meta_names_other_folders_and_an_id_map(tmp_path: Path) -> None:
    meta = {**ANIMALS, "images": "img/{split}", "masks_in": "seg/{split}", "label_suffix": "_seg",
            "id_map": {"7": "cow", "3": "grass", "4": "grass", "*": "ignore"}}  # fmt: skip
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    write_image(tmp_path / "img/train/one.jpg", (2, 2))
    write_ids(tmp_path / "seg/train/one_seg.png", [[7, 3], [4, 99]])

    dataset = open_dataset(f"folder:{tmp_path}", "train")

    assert dataset.read(0, 0).labels.tolist() == [[1, 0], [0, 255]]


def test_colour_masks_are_decoded_by_palette_and_colour_map(tmp_path: Path) -> None:
    meta = {**ANIMALS, "colour_map": {"#000000": "ignore", "#0000ff": "cow"}}
    write_folder(tmp_path, meta)
    write_colours(
        tmp_path / "train_labels/train_1.png",
        [[(0, 128, 0), (200, 100, 0), (0, 0, 0)], [(0, 0, 255), (0, 128, 0), (0, 128, 0)]],
    )

    dataset = open_dataset(f"folder:{tmp_path}", "train")

    assert dataset.read(0, 0).labels.tolist() == [[0, 1, 255], [1, 0, 0]]


def test_the_folders_own_palette_decodes_even_with_names_of_a_known_set(tmp_path: Path) -> None:
    # given: VOC's class names in other colours
    palette = [[i, 0, 200] for i in range(21)]
    write_folder(tmp_path, {"classes": list(VOC_21.names), "palette": palette})
    write_colours(tmp_path / "train_labels/train_1.png", [[(5, 0, 200)] * 3] * 2)

    assert open_dataset(f"folder:{tmp_path}", "train").read(0, 0).labels[0, 0] == 5


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"id_map": {}}, "id_map"),
        ({"id_map": {"x": "cow"}}, "maps the id 'x'"),
        ({"id_map": {"70000": "cow"}}, "maps the id '70000'"),
        ({"id_map": {"1": "dog"}}, "maps to 'dog'; expected 'ignore'.*grass, cow"),
        ({"id_map": {"1": 2}}, "maps to 2; expected .* 0..1"),
        ({"id_map": "cityscapes"}, "19 classes, not 2"),
        ({"colour_map": []}, "colour_map"),
        ({"colour_map": {"red": "cow"}}, "colour 'red'"),
        ({"colour_map": {"#00ff0g": "cow"}}, "colour '#00ff0g'"),
        ({"palette": [[0, 0, 0], [0, 0, 256]]}, r"colour \[0, 0, 256\]"),
        ({"palette": [[0, 0, 0], "x"]}, "colour 'x'"),
        ({"classes": ["cow", "cow"]}, "class 'cow' twice"),
        ({"masks": "rgb"}, "masks 'rgb'; expected 'ids' or 'colours'"),
        ({"images": "pictures"}, "images 'pictures'"),
        ({"masks_in": "{split}/{x}"}, "only {split}"),
        ({"label_suffix": 3}, "label_suffix 3"),
    ],
)
def test_bad_descriptions_are_refused(
    tmp_path: Path, extra: dict[str, object], message: str
) -> None:
    write_folder(tmp_path, {**ANIMALS, **extra})

    with pytest.raises(SourceError, match=message):
        open_dataset(f"folder:{tmp_path}", "train")


def test_a_folder_shows_what_it_is(tmp_path: Path) -> None:
    places = [write_folder(tmp_path / "f"), write_cityscapes(tmp_path / "c"), write_voc(
        tmp_path / "v")]  # fmt: skip

    assert [guess_spec(str(place)).partition(":")[0] for place in places] == [
        "folder", "cityscapes", "voc",
    ]  # fmt: skip
    assert guess_spec("camvid:x") == "camvid:x"
    with pytest.raises(OptionError, match="shows no known layout"):
        guess_spec(str(tmp_path))
