from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from calibration.labelled import KINDS, open_labelled
from calibration.samples import SampleOptions, forget, gather, refuse_shared
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


def test_frames_of_an_interrupted_calibration_are_taken_over_and_said(
    tmp_path, tiny, pictures, monkeypatch
):
    # given chosen frames
    options, said = SampleOptions(str(pictures), 4), []
    first = gather(options, tiny, tmp_path / "work", said.append)
    assert said == [f"4 frames chosen from {pictures}"]
    # then they are found again without looking at a picture
    with monkeypatch.context() as patch:
        patch.setattr("calibration.samples._Reader", None)
        again = gather(options, tiny, tmp_path / "work", said.append)
    assert again.samples == first.samples
    assert "taken over from an interrupted calibration" in said[-1]
    assert str(tmp_path / "work") in said[-1]
    # and others are wanted for other options
    assert len(gather(SampleOptions(str(pictures), 5), tiny, tmp_path / "work")) == 5


@pytest.mark.parametrize("kind", ["folder of images", "labelled", "label", "classes"])
def test_frames_of_files_that_changed_are_chosen_anew(tmp_path, tiny, kind):
    # given chosen frames
    root = tmp_path / "data"
    write_split(root, "train", frames(3))
    source = str(root / "train") if kind == "folder of images" else f"folder:{root}"
    first = gather(SampleOptions(source, 2), tiny, tmp_path / "work")
    # when a file of them is replaced
    if kind == "classes":
        (root / "meta.json").write_text(json.dumps({"labels": "street-8", "name": "other"}))
    elif kind == "label":
        Image.fromarray(np.full((HEIGHT, WIDTH), 1, np.uint8)).save(
            root / "train_labels" / "train0_L.png", compress_level=0
        )
    else:
        write_split(root, "train", frames(3, seed=9))
    # then
    said = []
    second = gather(SampleOptions(source, 2), tiny, tmp_path / "work", said.append)
    assert said == [f"2 frames chosen from {source}"]
    if kind in ("folder of images", "labelled"):
        assert not {s.sha256 for s in first.samples} & {s.sha256 for s in second.samples}
    # and nothing is made of what is no longer there
    shutil.rmtree(root)
    with pytest.raises(SourceError):
        gather(SampleOptions(source, 2), tiny, tmp_path / "work")


@pytest.mark.gst
def test_a_video_that_changed_is_read_anew(tmp_path, tiny):
    # given frames of a video with a name that a URI has to quote
    video = tmp_path / "a b.avi"
    write_video(video, frames(2))
    first = gather(SampleOptions(video.as_uri(), 2), tiny, tmp_path / "work")
    assert gather(SampleOptions(video.as_uri(), 2), tiny, tmp_path / "work").samples == (
        first.samples
    )
    # when another takes its place
    write_video(video, frames(2, seed=5))
    second = gather(SampleOptions(video.as_uri(), 2), tiny, tmp_path / "work")
    # then
    assert not {s.sha256 for s in first.samples} & {s.sha256 for s in second.samples}


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), code, 5.0, (WIDTH, HEIGHT))
    for picture in pictures:
        writer.write(picture)
    writer.release()


def test_forgotten_frames_are_gone(tmp_path, tiny, pictures):
    # given what a calibration measured on its frames
    work = tmp_path / "work"
    samples = gather(SampleOptions(str(pictures), 3), tiny, work)
    (work / "ranges.npz").write_bytes(b"measured")
    # when
    forget(samples, work)
    # then that alone stays
    assert [path.name for path in work.iterdir()] == ["ranges.npz"]


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
    # given a validation split with a training picture, of other bytes in its file
    root = tmp_path / "data"
    many = frames(6)
    write_split(root, "train", many[:4])
    write_split(root, "val", [many[5], many[2]])
    twin = root / "val" / "val1.png"
    cv2.imwrite(str(twin), cv2.imread(str(twin)), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    samples = gather(SampleOptions(f"folder:{root}", 4), tiny, tmp_path / "work")
    # then
    with pytest.raises(OptionError, match=r"train/train2\.png.*street-8 val"):
        refuse_shared(samples, open_labelled(f"folder:{root}", "val", tiny.input_size), tiny)
    write_split(root, "test", [many[4]])
    refuse_shared(samples, open_labelled(f"folder:{root}", "test", tiny.input_size), tiny)


IDS = np.array([[0, 2], [1, 0]], np.uint8).repeat(16, 0).repeat(24, 1)
COLOURS = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
OWN = {"classes": ["road", "person", "bush"], "palette": COLOURS.tolist()}
DESCRIPTIONS: dict[str, dict[str, object]] = {
    "ids as they are": OWN,
    "a built-in set": {"labels": "street-8"},
    "reversed ids": OWN | {"id_map": {"0": "bush", "1": "person", "2": "road"}},
    "other ids": OWN | {"id_map": {"2": "ignore", "*": "person"}},
    "an ignored class": OWN | {"ignore_id": 1},
    "masks of colours": OWN | {"colour_map": {"#0a141e": "bush"}},
    "colours of a palette file": OWN | {"masks": "colours"},
    "folders of its own": OWN | {"images": "im/{split}", "masks_in": "gt/{split}/ids"},
    "a suffix of its own": OWN | {"label_suffix": "_mask"},
}


@pytest.mark.parametrize("listed", [False, True], ids=["found", "listed"])
@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_labels_are_those_of_the_trainer(tmp_path, kind, listed):
    # given a folder, with names that hold blanks
    from training.data.datasets import open_dataset

    meta = DESCRIPTIONS[kind]
    images = str(meta.get("images", "{split}")).format(split="val")
    masks = str(meta.get("masks_in", "{split}_labels")).format(split="val")
    image, mask = f"{images}/a b.png", f"{masks}/a b{meta.get('label_suffix', '_L')}.png"
    for place in (tmp_path / image, tmp_path / mask):
        place.parent.mkdir(parents=True)
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    cv2.imwrite(str(tmp_path / image), frames(1)[0])
    stored = Image.fromarray(COLOURS[IDS] if kind == "masks of colours" else IDS)
    if kind == "colours of a palette file":
        stored = Image.fromarray((IDS + 1) % 3)
        stored.putpalette(np.roll(COLOURS, 1, 0).tobytes())
    stored.save(tmp_path / mask)
    if listed:
        (tmp_path / "val.txt").write_text(f"{image}\t{mask}\n")
    # when
    ours = open_labelled(f"folder:{tmp_path}", "val", (HEIGHT, WIDTH))
    theirs = open_dataset(f"folder:{tmp_path}", "val")
    # then
    assert ours.labels == theirs.labels
    assert (len(ours), ours.name) == (len(theirs), theirs.name) == (1, ours.name)
    name, picture, labels = ours.read(0)
    wanted = theirs.read(0, 0)
    assert name == image
    np.testing.assert_array_equal(labels, wanted.labels)
    np.testing.assert_array_equal(picture[:, :, ::-1], wanted.image)
    assert ours.file(0) == tmp_path / image
    assert set(ours.files()) == {tmp_path / n for n in ("meta.json", image, mask)}


def test_reversed_ids_mean_what_they_are_said_to_mean(tmp_path):
    write_split(tmp_path, "val", frames(3))  # stored ids 0, 1 and 2
    reversed_ids = {str(number): 7 - number for number in range(8)}
    (tmp_path / "meta.json").write_text(json.dumps({"labels": "street-8", "id_map": reversed_ids}))
    data = open_labelled(f"folder:{tmp_path}", "val", (HEIGHT, WIDTH))
    assert [int(data.read(index)[2][0, 0]) for index in range(3)] == [7, 6, 5]


def test_a_row_that_is_no_pair_is_refused_not_left_out(tmp_path):
    write_split(tmp_path, "val", frames(2))
    rows = ["val/val0.png val_labels/val0_L.png", "val/val1.png", ""]
    (tmp_path / "val.txt").write_text("\n".join(rows))
    with pytest.raises(SourceError, match=r"val\.txt, line 2: 'val/val1\.png'"):
        open_labelled(f"folder:{tmp_path}", "val", (HEIGHT, WIDTH))


def test_camvid_is_that_of_the_trainer(tmp_path):
    # given its layout with a palette label and Void
    from training.data.datasets import open_dataset

    write_split(tmp_path, "val", frames(2))
    label = Image.fromarray(np.array([[0, 10], [11, 3]], np.uint8).repeat(16, 0).repeat(24, 1))
    label.putpalette([i for i in range(256) for _ in range(3)])
    label.save(tmp_path / "val_labels" / "val0_L.png")
    # when
    for kind in ("camvid", "camvid12"):
        _, image, labels = open_labelled(f"{kind}:{tmp_path}", "val", (HEIGHT, WIDTH)).read(0)
        wanted = open_dataset(f"{kind}:{tmp_path}", "val").read(0, 0)
        # then
        np.testing.assert_array_equal(labels, wanted.labels)
        np.testing.assert_array_equal(image[:, :, ::-1], wanted.image)


def test_all_kinds_of_the_trainer_are_known():
    from training.data import stored

    assert {*KINDS} == {*stored.KINDS, "street"}


def test_labels_are_read_without_torch(tmp_path):
    write_split(tmp_path, "val", frames(1))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import calibration.calibrate\n"
        "from calibration.labelled import open_labelled\n"
        f"print(len(open_labelled({f'folder:{tmp_path}'!r}, 'val', (32, 48)).read(0)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


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
