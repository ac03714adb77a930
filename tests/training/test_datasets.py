"""Data sets read what is stored, and say which file is wrong and what to do about it."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import CAMVID_11, STREET_8
from edge_runtime.street import write_dataset
from training.data.class_balance import class_frequencies, class_weights
from training.data.datasets import Street, open_dataset

PALETTE = [channel for i in range(12) for channel in (20 * i, 10 * i, 5 * i)]


def write_pair(root: Path, split: str, stem: str, ids: np.ndarray, shade: int = 90) -> str:
    """An image and a palette label as CamVid stores them; returns the list's line."""
    (root / split).mkdir(exist_ok=True)
    (root / f"{split}_labels").mkdir(exist_ok=True)
    image, label = f"{split}/{stem}.png", f"{split}_labels/{stem}_L.png"
    pixels = np.full((*ids.shape, 3), (shade, 50, 200), np.uint8)
    Image.fromarray(pixels).save(root / image)
    picture = Image.fromarray(ids.astype(np.uint8), mode="P")
    picture.putpalette(PALETTE)
    picture.save(root / label, bits=4)
    return f"{image} {label}\n"


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """One pair per split; the train label holds ids 0, 3 and Void."""
    ids = np.array([[0, 3, 11], [0, 0, 3]])
    for number, split in enumerate(("train", "val", "test")):
        line = write_pair(tmp_path, split, f"frame_{split}", ids, shade=90 + number)
        (tmp_path / f"{split}.txt").write_text(line)
    return tmp_path


def test_reads_rgb_and_ignores_void(camvid):
    dataset = open_dataset(f"camvid:{camvid}", "train")

    sample = dataset.read(0, 0)

    assert len(dataset) == 1
    assert dataset.labels is CAMVID_11
    assert "non-commercial" in dataset.license
    assert sample.image[0, 0].tolist() == [90, 50, 200]
    assert sample.labels.tolist() == [[0, 3, 255], [0, 0, 3]]
    assert sample.labels.dtype == np.uint8


@pytest.mark.parametrize("lists", [True, False])
def test_camvid_as_segnet_distributes_it(camvid, lists):
    # given: its names of folders and labels, and lists from the root of another machine
    for split in ("train", "val", "test"):
        label = next((camvid / f"{split}_labels").iterdir())
        (camvid / f"{split}annot").mkdir()
        label.rename(camvid / f"{split}annot" / label.name.replace("_L", ""))
        label.parent.rmdir()
        place = camvid / f"{split}.txt"
        name = f"frame_{split}.png"
        place.write_text(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
        if not lists:
            place.unlink()

    # when, then
    for split in ("train", "val", "test"):
        dataset = open_dataset(f"camvid:{camvid}", split)
        assert dataset.image_name(0) == f"{split}/frame_{split}.png"
        assert dataset.read(0, 0).labels.tolist() == [[0, 3, 255], [0, 0, 3]]
    (camvid / "trainannot/frame_train.png").unlink()
    gone = f"{camvid}/trainannot/frame_train.png" if lists else "frame_train"
    with pytest.raises(SourceError, match=f"{gone}.* does not exist but its pair is in"):
        open_dataset(f"camvid:{camvid}", "train")


def test_authors_protocol_learns_void(camvid):
    dataset = open_dataset(f"camvid12:{camvid}", "train")

    assert len(dataset.labels) == 12
    assert dataset.read(0, 0).labels.tolist() == [[0, 3, 11], [0, 0, 3]]


def test_unknown_ids_are_named_with_counts(camvid):
    write_pair(camvid, "train", "frame_train", np.array([[0, 13, 13], [14, 0, 3]]))
    dataset = open_dataset(f"camvid:{camvid}", "train")

    with pytest.raises(SourceError, match=r"frame_train_L.png holds ids 13 \(2 px\), 14 \(1 px\)"):
        dataset.read(0, 0)


def test_size_mismatch_names_both(camvid):
    Image.new("RGB", (5, 4)).save(camvid / "train/frame_train.png")
    dataset = open_dataset(f"camvid:{camvid}", "train")

    with pytest.raises(SourceError, match=r"frame_train.png is 4x5 .*frame_train_L.png is 2x3"):
        dataset.read(0, 0)


def test_truncated_image_is_named(camvid):
    place = camvid / "train/frame_train.png"
    place.write_bytes(place.read_bytes()[:45])
    dataset = open_dataset(f"camvid:{camvid}", "train")

    with pytest.raises(SourceError, match=r"cannot read .*frame_train.png: .*restore the file"):
        dataset.read(0, 0)


def test_colour_label_is_refused(camvid):
    Image.new("RGB", (3, 2)).save(camvid / "train_labels/frame_train_L.png")
    dataset = open_dataset(f"camvid:{camvid}", "train")

    with pytest.raises(SourceError, match="stored as RGB; a label is a palette or 8-bit grey"):
        dataset.read(0, 0)


def test_missing_half_of_a_pair_is_found_on_opening(camvid):
    (camvid / "train_labels/frame_train_L.png").unlink()

    with pytest.raises(SourceError, match=r"frame_train_L.png does not exist.*take the pair out"):
        open_dataset(f"camvid:{camvid}", "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train/a.png\n", r"train.txt, line 1: 'train/a.png'; expected '<image> <label>'"),
        ("\n", "split 'train' of .* has no images"),
        ("train/frame_train.png val_labels/frame_val_L.png\n", "pairs must share their stem"),
    ],
)
def test_bad_list_is_refused(camvid, text, message):
    (camvid / "train.txt").write_text(text)

    with pytest.raises(SourceError, match=message):
        open_dataset(f"camvid:{camvid}", "train")


def test_pair_listed_in_two_splits_is_refused(camvid):
    (camvid / "test.txt").write_text((camvid / "train.txt").read_text())

    with pytest.raises(SourceError, match="'train' is also in split 'test'"):
        open_dataset(f"camvid:{camvid}", "train")


def test_copy_under_another_name_in_two_splits_is_refused(camvid):
    # given: the test image holds the same bytes as the trained one
    (camvid / "test/frame_test.png").write_bytes((camvid / "train/frame_train.png").read_bytes())

    for split in ("train", "test"):
        with pytest.raises(SourceError, match="must not be scored"):
            open_dataset(f"camvid:{camvid}", split)


def test_trainval_is_train_followed_by_val(camvid):
    dataset = open_dataset(f"camvid:{camvid}", "trainval")

    assert len(dataset) == 2
    assert dataset.name == "camvid-11 trainval"
    assert [dataset.image_name(i) for i in (0, 1)] == [
        "train/frame_train.png",
        "val/frame_val.png",
    ]
    assert [dataset.read(0, i).image[0, 0, 0] for i in (0, 1)] == [90, 91]


def test_trainval_may_share_images_with_val_but_never_with_test(camvid):
    assert len(open_dataset(f"camvid:{camvid}", "val")) == 1  # for monitoring, beside trainval

    (camvid / "test/frame_test.png").write_bytes((camvid / "val/frame_val.png").read_bytes())

    with pytest.raises(SourceError, match="'trainval' is also in split 'test'"):
        open_dataset(f"camvid:{camvid}", "trainval")


def test_streets_of_trainval_are_those_of_its_parts():
    both, val = Street("trainval", (48, 64)), Street("val", (48, 64))
    first = len(both) - len(val)

    assert first == len(Street("train", (48, 64)))
    np.testing.assert_array_equal(both.read(3, first).image, val.read(0, 0).image)
    assert (both.read(0, 0).image != both.read(1, 0).image).any()


@pytest.mark.parametrize("spec", ["camvid:", "nuscenes:/data", "street:big", "camvid"])
def test_unknown_specification_is_refused(spec):
    with pytest.raises(OptionError, match="is not understood; expected"):
        open_dataset(spec, "train")


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        open_dataset(f"camvid:{tmp_path / 'nowhere'}", "train")


def test_written_streets_are_read_back(tmp_path):
    counts = write_dataset(tmp_path, seeds=range(3), frames_per_seed=1, size=(64, 96))

    dataset = open_dataset(f"folder:{tmp_path}", "train")

    assert len(dataset) == counts["train"]
    assert dataset.labels is STREET_8
    assert dataset.read(0, 0).image.shape == (64, 96, 3)


def test_image_without_label_in_unlisted_folders_is_refused(tmp_path):
    write_dataset(tmp_path, seeds=range(3), frames_per_seed=1, size=(64, 96))
    next((tmp_path / "train_labels").iterdir()).unlink()

    with pytest.raises(
        SourceError, match=r"_L.png does not exist but its pair is in split 'train'"
    ):
        open_dataset(f"folder:{tmp_path}", "train")


def test_label_without_image_in_unlisted_folders_is_refused(tmp_path):
    write_dataset(tmp_path, seeds=range(3), frames_per_seed=1, size=(64, 96))
    next((tmp_path / "train").iterdir()).unlink()

    with pytest.raises(SourceError, match="labels no image"):
        open_dataset(f"folder:{tmp_path}", "train")


def test_unlabelled_test_folder_is_no_obstacle_but_still_guarded(tmp_path):
    write_dataset(tmp_path, seeds=range(3), frames_per_seed=1, size=(64, 96))
    for path in (tmp_path / "test_labels").iterdir():
        path.unlink()
    (tmp_path / "test_labels").rmdir()

    assert len(open_dataset(f"folder:{tmp_path}", "train")) == 1

    trained = next((tmp_path / "train").iterdir())
    (tmp_path / "test/copy.png").write_bytes(trained.read_bytes())
    with pytest.raises(SourceError, match="also in split 'test'"):
        open_dataset(f"folder:{tmp_path}", "train")


def test_own_classes_close_the_gap_of_the_ignored_id(camvid):
    # given: ids 0..3 of which 1 is not learned; 11 occurs in the file but is not declared
    meta = {
        "name": "own",
        "classes": ["lawn", "unsure", "path", "wall"],
        "palette": [[0, 99, 0], [0, 0, 0], [99, 99, 99], [200, 0, 0]],
        "ignore_id": 1,
    }
    (camvid / "meta.json").write_text(json.dumps(meta))
    write_pair(camvid, "train", "frame_train", np.array([[0, 1, 2], [3, 3, 0]]))

    dataset = open_dataset(f"folder:{camvid}", "train")

    assert dataset.labels.names == ("lawn", "path", "wall")
    assert dataset.labels.palette[2] == (200, 0, 0)
    assert dataset.read(0, 0).labels.tolist() == [[0, 255, 1], [2, 2, 0]]
    with pytest.raises(SourceError, match=r"holds ids 11 \(1 px\); own stores 0..3"):
        open_dataset(f"folder:{camvid}", "val").read(0, 0)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "cannot read"),
        ("{", "cannot read"),
        ("[]", "holds a list; expected an object"),
        ('{"labels": "nonsense"}', "must have 'labels', one of"),
        ('{"classes": ["a"], "palette": []}', "1 classes but 0 colours"),
        ('{"classes": [], "palette": [], "ignore_id": 300}', "ignore_id 300"),
    ],
)
def test_bad_meta_is_refused(camvid, meta, message):
    if meta is not None:
        (camvid / "meta.json").write_text(meta)

    with pytest.raises(SourceError, match=message):
        open_dataset(f"folder:{camvid}", "train")


def test_streets_repeat_exactly_and_differ_between_epochs_and_splits():
    first, again = Street("train", (48, 64)), Street("train", (48, 64))

    image = first.read(0, 3).image

    np.testing.assert_array_equal(again.read(0, 3).image, image)
    for other in (first.read(1, 3), first.read(0, 4), Street("val", (48, 64)).read(0, 3)):
        assert (other.image != image).any()
    np.testing.assert_array_equal(first.read(0, 3).image, image)  # evicted or not, the same


def test_streets_of_the_splits_never_meet():
    seeds = {}
    for split, plan in Street._SPLITS.items():
        epochs = 50_000 if split == "train" else 1
        seeds[split] = range(plan.first_seed, plan.first_seed + epochs * plan.streets)
    ordered = sorted(seeds.values(), key=lambda span: span.start)

    assert all(a.stop <= b.start for a, b in pairwise(ordered))
    assert Street("val").read(5, 0).labels.max() < len(STREET_8)


def test_class_weights_favour_the_rare_within_bounds(camvid):
    # given: train has class 0 three times, class 3 twice, the rest never
    shares = class_frequencies(open_dataset(f"camvid:{camvid}", "train"))
    assert shares[0] == pytest.approx(0.6)
    assert shares.sum() == pytest.approx(1)

    weights = class_weights(np.array([0.9, 0.0999, 0.0001, 0.0]), 0.5)

    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1)
    assert weights[0] < weights[1] < weights[2] == weights[3]
    assert weights[1] / weights[0] == pytest.approx((0.9 / 0.0999) ** 0.5, rel=1e-4)
    assert weights[2] / weights[0] == pytest.approx(10)
    np.testing.assert_array_equal(class_weights(np.array([0.9, 0.1]), 0.0), [1, 1])


def test_camvid_as_distributed():
    place = os.environ.get("HYPERSEG_CAMVID")
    if place is None:
        pytest.skip("set HYPERSEG_CAMVID to the folder of CamVid 480x360")
    lengths = {s: len(open_dataset(f"camvid:{place}", s)) for s in ("train", "val", "test")}

    shares = class_frequencies(open_dataset(f"camvid:{place}", "train"))

    assert lengths == {"train": 367, "val": 101, "test": 233}
    np.testing.assert_allclose(shares[[0, 3, 10]], [0.1754, 0.3296, 0.0030], atol=2e-4)
