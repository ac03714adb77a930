"""The check finds everything, names it, and guards the training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import OptionError, SourceError
from tests.training.labelled import ANIMALS, write_folder, write_ids, write_image, write_pair
from training.data import scan
from training.data.check import check, guard
from training.data.datasets import open_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "animals")


def kinds(root: Path, **options: Any) -> list[tuple[str, str]]:
    """(kind, file name) of every problem."""
    report = check(f"folder:{root}", **options)
    return [(problem.kind, Path(problem.file).name) for problem in report.problems]


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_clean_set_has_figures_and_no_problems(root: Path) -> None:
    report = check(f"folder:{root}")

    train = report.as_json()["splits"]["train"]
    assert report.problems == []
    assert list(report.splits) == ["train", "val", "test"]
    assert train["sizes"] == {"2x3": 1}
    assert (train["ignored_pixels"], train["images"]) == (1, 1)
    assert train["classes"]["grass"] == {
        "pixels": 3, "share": 0.6, "images": 1,
        "suggested_weight": pytest.approx(float(report.weights("train")[0]), abs=1e-4),
    }  # fmt: skip
    with Image.open(root / "train/train_1.png") as picture:
        pixels = np.asarray(picture) / 255
    np.testing.assert_allclose(train["rgb_mean"], pixels.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(train["rgb_std"], pixels.std((0, 1)), atol=1e-5)


def test_every_bad_file_is_named_not_only_the_first(root: Path) -> None:
    for number in range(6):
        write_pair(root, "train", f"t{number}", [[0, 1, 0], [1, 0, number % 2]], 100 + number)
    cut_short(root / "train/t0.png")
    cut_short(root / "train_labels/t1.png")
    (root / "train/t2.png").write_bytes(b"")
    write_ids(root / "train_labels/t3.png", [[0, 9, 9], [8, 0, 0]])
    write_image(root / "train/t4.png", (5, 5))
    Image.new("L", (3, 2)).save(root / "train_labels/t5.png", "JPEG")

    report = check(f"folder:{root}")

    assert [(p.kind, Path(p.file).name) for p in report.fatal] == [
        ("unreadable file", "t0.png"),
        ("unreadable file", "t1.png"),
        ("unreadable file", "t2.png"),
        ("unknown ids", "t3.png"),
        ("size mismatch", "t4.png"),
        ("unusable label format", "t5.png"),
    ]
    unknown = report.fatal[3]
    assert unknown.ids == (("8", 1), ("9", 2))
    assert unknown.split == "train"
    assert report.splits["train"].sizes == {"2x3": 2}  # train_1 and t3; the rest is not counted


def test_every_broken_pair_is_named(root: Path) -> None:
    write_image(root / "val/lonely.png")
    write_ids(root / "val_labels/orphan.png", [[0]])

    assert kinds(root) == [
        ("label without image", "orphan.png"),
        ("missing file", "lonely_L.png"),
    ]


def test_lists_are_checked_line_by_line(root: Path) -> None:
    (root / "train.txt").write_text(
        "train/train_1.png train_labels/train_1.png\nonly_one\n"
        "train/train_1.png val_labels/val_1.png\ntrain/gone.png train_labels/gone.png\n"
    )

    found = [kind for kind, _ in kinds(root)]

    assert found == ["bad list", "stem mismatch", "missing file", "missing file"]


def test_the_same_pixels_in_two_splits_are_found_in_another_format(root: Path) -> None:
    with Image.open(root / "train/train_1.png") as picture:
        picture.save(root / "test/test_1.bmp")
    (root / "test/test_1.png").unlink()

    assert kinds(root) == [("image in two splits", "train_1.png")]


def test_a_repeated_image_is_a_warning(root: Path) -> None:
    content = (root / "train/train_1.png").read_bytes()
    write_pair(root, "train", "again", [[0, 0, 1], [1, 255, 0]])
    (root / "train/again.png").write_bytes(content)

    report = check(f"folder:{root}")

    assert [problem.kind for problem in report.problems] == ["repeated image"]
    assert report.fatal == []


def test_binary_masks_are_refused_though_255_is_known(root: Path) -> None:
    for split in ("train", "val", "test"):
        write_ids(root / f"{split}_labels/{split}_1.png", [[0, 255, 255], [0, 0, 0]])

    report = check(f"folder:{root}")

    assert [p.kind for p in report.fatal] == ["binary masks"]
    assert "did you mean 1?" in report.fatal[0].message

    # when: the remedy is followed
    (root / "meta.json").write_text(json.dumps({**ANIMALS, "id_map": {"0": 0, "255": 1}}))

    assert check(f"folder:{root}").fatal == []


def test_absent_classes_and_missing_splits(root: Path) -> None:
    write_ids(root / "val_labels/val_1.png", [[0, 0, 0], [0, 0, 0]])
    write_ids(root / "train_labels/train_1.png", [[255, 255, 255], [255, 255, 255]])

    report = check(f"folder:{root}")
    assert [(p.kind, p.split, p.fatal) for p in report.problems] == [
        ("no labelled pixels", "train", True),
        ("absent class", "val", False),
    ]

    for folder in ("val", "val_labels"):
        for path in (root / folder).iterdir():
            path.unlink()
        (root / folder).rmdir()
    assert ("missing split", "val") in [(p.kind, p.split) for p in check(f"folder:{root}").problems]


def test_what_cannot_be_checked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="drawn anew"):
        check("street:")
    (tmp_path / "meta.json").write_text(json.dumps(ANIMALS))
    with pytest.raises(SourceError, match=r"neither train.txt nor folders"):
        check(f"folder:{tmp_path}")


def test_guard_passes_clean_data_and_streets(root: Path) -> None:
    guard(f"folder:{root}", ["trainval", "val"])
    guard("street:", ["train"])


def test_guard_refuses_in_one_line_with_counts_and_the_command(root: Path) -> None:
    for number in range(3):
        write_pair(root, "train", f"t{number}", [[0, 1]], 100 + number)
    cut_short(root / "train/t0.png")
    cut_short(root / "train/t1.png")
    write_ids(root / "train_labels/t2.png", [[0, 7]])

    with pytest.raises(SourceError) as caught:
        guard(f"folder:{root}", ["train", "val"])

    assert "3 problems (unreadable file: 2, unknown ids: 1)" in str(caught.value)
    assert f"`hyperseg data check folder:{root}`" in str(caught.value)
    assert "\n" not in str(caught.value)
    guard(f"folder:{root}", ["val"])  # what is not used does not matter


def test_unreadable_files_are_skipped_only_when_asked(root: Path) -> None:
    for number in range(3):
        write_pair(root, "train", f"t{number}", [[0, 1]], 100 + number)
    cut_short(root / "train/t0.png")
    cut_short(root / "train_labels/t1.png")
    spec = f"folder:{root}"

    with pytest.raises(SourceError, match=r"t0.png"):
        [open_dataset(spec, "train").read(0, i) for i in range(4)]

    guard(spec, ["train"], skip_unreadable=True)
    dataset = open_dataset(spec, "train", skip_unreadable=True)

    assert [dataset.image_name(i) for i in range(len(dataset))] == [
        "train/t2.png", "train/train_1.png",
    ]  # fmt: skip
    assert [Path(problem.file).name for problem in dataset.skipped] == ["t0.png", "t1.png"]
    assert [dataset.read(0, i).labels.shape for i in range(2)] == [(1, 2), (2, 3)]


def test_nothing_is_left_when_all_is_skipped(root: Path) -> None:
    cut_short(root / "train/train_1.png")

    with pytest.raises(SourceError, match=r"every pair .* is unreadable"):
        open_dataset(f"folder:{root}", "train", skip_unreadable=True)


def test_files_are_looked_at_again_only_when_they_change(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    examine = scan.examine
    monkeypatch.setattr(
        scan, "examine", lambda pair, **how: looked.append(pair) or examine(pair, **how)
    )
    check(f"folder:{root}")
    assert len(looked) == 3

    # when: the meaning of the ids changes, but no file
    (root / "meta.json").write_text(json.dumps({**ANIMALS, "id_map": {"0": 0, "255": 1}}))
    assert [p.kind for p in check(f"folder:{root}").fatal] == ["unknown ids"] * 3
    assert len(looked) == 3

    # when: a label becomes another one of the same size and time
    label = root / "val_labels/val_1.png"
    before = label.stat()
    write_ids(label, [[0, 0, 9], [0, 0, 0]])
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert any(("9", 1) in p.ids for p in check(f"folder:{root}").problems)
    assert len(looked) == 4


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 0}', b'{"format": 1, "entries": 3}'])
def test_a_damaged_memory_is_forgotten(root: Path, content: bytes) -> None:
    check(f"folder:{root}")
    (cache,) = (Path(os.environ["XDG_CACHE_HOME"]) / "hyperseg").iterdir()
    cache.write_bytes(content)

    assert check(f"folder:{root}").problems == []
    assert cache.read_bytes() != content


def test_an_unwritable_memory_is_no_obstacle(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "meta.json"))

    assert check(f"folder:{root}").problems == []


def test_camvid_as_distributed_is_clean() -> None:
    place = os.environ.get("HYPERSEG_CAMVID")
    if place is None:
        pytest.skip("set HYPERSEG_CAMVID to the folder of CamVid 480x360")

    report = check(f"camvid:{place}")

    assert report.problems == []
    assert {name: split.images for name, split in report.splits.items()} == {
        "train": 367, "val": 101, "test": 233,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "twin", "refused"),
    [
        (("train", "val"), "val", True),
        (("train", "val"), "test", True),
        (("trainval", "val"), "val", False),  # both are trained on
        (("trainval", "val"), "test", True),
    ],
)
def test_guard_refuses_a_picture_that_is_trained_on_and_scored(
    root: Path, splits: list[Any], twin: str, refused: bool
) -> None:
    # given: the same pixels, stored as other bytes
    with Image.open(root / "train/train_1.png") as picture:
        picture.save(root / twin / f"{twin}_1.bmp")
    (root / twin / f"{twin}_1.png").unlink()

    if not refused:
        guard(f"folder:{root}", splits)
        return
    with pytest.raises(SourceError, match=r"train_1.png of split 'train' is also in split"):
        guard(f"folder:{root}", splits)


def test_guard_does_not_mind_what_else_is_wrong_with_the_test_split(root: Path) -> None:
    cut_short(root / "test/test_1.png")
    (root / "test_labels/test_1.png").unlink()

    guard(f"folder:{root}", ["train", "val"])


def test_a_list_may_name_files_elsewhere_and_begin_with_a_mark(root: Path, tmp_path: Path) -> None:
    away = write_image(tmp_path / "away/a.png")
    label = write_ids(tmp_path / "away/a_L.png", np.zeros((4, 6), np.uint8))
    text = f"{away} {label}\nval/val_1.png val_labels/val_1.png\n"
    (root / "val.txt").write_text(text, encoding="utf-8-sig")

    guard(f"folder:{root}", ["train", "val"])
    dataset = open_dataset(f"folder:{root}", "val")

    names = [dataset.image_name(i) for i in range(len(dataset))]
    assert names == [away.as_posix(), "val/val_1.png"]
    assert dataset.read(0, 0).labels.shape == (4, 6)
