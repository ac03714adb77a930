from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from calibration.labelled import open_labelled
from calibration.samples import SampleOptions, gather, refuse_shared
from calibration.selection import Candidates
from edge_runtime.artifacts import Manifest, read_manifest
from edge_runtime.errors import HypersegError, OptionError, SourceError
from tests.calibration.graphs import HEIGHT, WIDTH, frames, write_model


@pytest.fixture
def tiny(tmp_path: Path) -> Manifest:
    return read_manifest(write_model(tmp_path))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six different pictures, each three times with a little noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, frame in enumerate(frames(6)):
        for copy in range(3):
            noisy = np.clip(frame + rng.normal(0, 1, frame.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"p{number}_{copy}.png"), noisy)
    return folder


def write_split(root: Path, split: str, pictures: list[np.ndarray]) -> None:
    for kind in (split, f"{split}_labels"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    (root / "meta.json").write_text('{"labels": "street-8"}')
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(root / split / f"{split}{number}.png"), picture)
        labels = np.full((HEIGHT, WIDTH), number % 8, np.uint8)
        Image.fromarray(labels).save(root / f"{split}_labels" / f"{split}{number}_L.png")


def test_near_duplicates_are_left_out_and_the_rest_is_recorded(tmp_path, tiny, pictures):
    # when more frames are wanted than are different
    samples = gather(SampleOptions(str(pictures), 18), tiny, tmp_path / "work")
    # then one of each, with file and pixel hashes
    assert [sample.name for sample in samples.samples] == [f"p{i}_0.png" for i in range(6)]
    assert len({sample.sha256 for sample in samples.samples}) == 6
    assert all(len(sample.file_sha256) == 64 for sample in samples.samples)
    # and frames are RGB of the network's size
    name, frame = samples.read(2)
    picture = cv2.imread(str(pictures / name))
    np.testing.assert_array_equal(frame, picture[:, :, ::-1])


def test_the_same_seed_chooses_the_same_frames(tmp_path, tiny, pictures):
    def names(seed: int, folder: str) -> list[str]:
        chosen = gather(SampleOptions(str(pictures), 3, seed=seed), tiny, tmp_path / folder)
        return [sample.name for sample in chosen.samples]

    assert names(0, "a") == names(0, "b")
    assert len({tuple(names(seed, f"s{seed}")) for seed in range(6)}) > 1


def test_frames_of_an_interrupted_calibration_are_found_again(tmp_path, tiny, pictures):
    # given chosen frames whose source is gone
    options = SampleOptions(str(pictures), 4)
    first = gather(options, tiny, tmp_path / "work")
    shutil.rmtree(pictures)
    # then
    assert gather(options, tiny, tmp_path / "work").samples == first.samples
    with pytest.raises(SourceError):
        gather(SampleOptions(str(pictures), 5), tiny, tmp_path / "work")


def test_an_altered_stored_frame_is_refused(tmp_path, tiny, pictures):
    samples = gather(SampleOptions(str(pictures), 2), tiny, tmp_path / "work")
    for path in (tmp_path / "work").glob("*.png"):
        cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(SourceError, match="altered"):
        samples.read(0)


def test_selection_covers_brightness_and_classes():
    # given many middling frames, a dark one, a bright one, and one with a rare class
    rng = np.random.default_rng(0)
    candidates = Candidates()
    special = {10: 5, 25: 250, 40: 135}
    for number in range(60):
        level = special.get(number, 128)
        noise = rng.integers(-9, 10, (HEIGHT // 8, WIDTH // 8, 1)).repeat(8, 0).repeat(8, 1)
        frame = np.clip(level + noise, 0, 255).astype(np.uint8).repeat(3, 2)
        candidates.offer(frame, np.full((HEIGHT, WIDTH), 7 if number == 40 else 0, np.uint8))
    # when
    chosen = candidates.choose(4, seed=0)
    # then
    assert {10, 25, 40} <= set(chosen)


def test_a_damaged_picture_is_named(tmp_path, tiny, pictures):
    (pictures / "p3_1.png").write_bytes((pictures / "p3_1.png").read_bytes()[:100])
    with pytest.raises(SourceError, match=r"p3_1\.png"):
        gather(SampleOptions(str(pictures), 2), tiny, tmp_path / "work")


@pytest.mark.parametrize("source", ["", "nowhere.mp4", "camvid:nowhere", "coco:x"])
def test_sources_that_are_none_are_refused(tmp_path, tiny, source):
    with pytest.raises(HypersegError):
        gather(SampleOptions(source, 2), tiny, tmp_path / "work")


def test_no_frames_wanted_is_refused():
    with pytest.raises(OptionError, match="at least one"):
        SampleOptions("street:", 0)


def test_judging_on_calibrated_images_is_refused(tmp_path, tiny):
    # given a validation split with a training picture, stored in another file
    root = tmp_path / "data"
    many = frames(6)
    write_split(root, "train", many[:4])
    write_split(root, "val", [many[5], many[2]])
    samples = gather(SampleOptions(f"folder:{root}", 4), tiny, tmp_path / "work")
    # then
    with pytest.raises(OptionError, match=r"train/train2\.png.*street-8 val"):
        refuse_shared(samples, open_labelled(f"folder:{root}", "val", tiny.input_size), tiny)
    write_split(root, "test", [many[5]])
    refuse_shared(samples, open_labelled(f"folder:{root}", "test", tiny.input_size), tiny)


def test_labels_are_those_of_the_trainer(tmp_path):
    # given CamVid's layout with a palette label and Void
    from training.data.datasets import open_dataset

    root = tmp_path / "camvid"
    write_split(root, "val", frames(2))
    label = Image.fromarray(np.array([[0, 10], [11, 3]], np.uint8).repeat(16, 0).repeat(24, 1))
    label.putpalette([i for i in range(256) for _ in range(3)])
    label.save(root / "val_labels" / "val0_L.png")
    # when
    _, image, labels = open_labelled(f"camvid:{root}", "val", (HEIGHT, WIDTH)).read(0)
    wanted = open_dataset(f"camvid:{root}", "val").read(0, 0)
    # then
    np.testing.assert_array_equal(labels, wanted.labels)
    np.testing.assert_array_equal(image[:, :, ::-1], wanted.image)


@pytest.mark.parametrize("split", ["val", "test"])
def test_streets_are_those_of_the_trainer(split):
    from training.data.datasets import Street

    size = (64, 96)
    ours, theirs = open_labelled("street:", split, size), Street(split, size)
    assert len(ours) == len(theirs)
    _, image, labels = ours.read(5)
    wanted = theirs.read(0, 5)
    np.testing.assert_array_equal(image[:, :, ::-1], wanted.image)
    np.testing.assert_array_equal(labels, wanted.labels)


@pytest.mark.gst
def test_a_live_source_is_watched_until_there_is_enough_to_choose_from(tmp_path, tiny):
    # when frames of a test camera are wanted
    samples = gather(SampleOptions("test:?size=64x96&fps=30&frames=40", 3), tiny, tmp_path / "w")
    # then only the chosen are kept
    assert 1 <= len(samples) <= 3
    assert len(list((tmp_path / "w").glob("*.png"))) == len(samples)
    record = json.loads((tmp_path / "w" / "samples.json").read_text())
    assert len(record["samples"]) == len(samples)
