"""The procedural street camera: pure in its index, exact in its labels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edge_runtime.errors import OptionError
from edge_runtime.labels import STREET_8
from edge_runtime.street import StreetCamera, StreetOptions

SMALL = (96, 128)


def test_same_options_and_index_give_the_same_frame_in_any_order() -> None:
    # given one camera that has driven a while and one that has not
    driven = StreetCamera(StreetOptions(size=SMALL, seed=3))
    fresh = StreetCamera(StreetOptions(size=SMALL, seed=3))
    for index in (0, 900, 12, 56):
        driven.frame(index)
    # when both deliver frame 57
    first, second = driven.frame(57), fresh.frame(57)
    # then image and labels agree to the last bit
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_caches_may_overflow_without_changing_a_frame() -> None:
    # given a camera whose street was visited over many kilometres
    camera = StreetCamera(StreetOptions(size=(32, 48), seed=5))
    before = camera.frame(100)
    for index in range(0, 60_000, 400):
        camera.frame(index)
    # when it returns
    after = camera.frame(100)
    # then nothing has changed
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_frames_belong_to_the_caller() -> None:
    camera = StreetCamera(StreetOptions(size=SMALL, seed=1))
    image, labels = camera.frame(0)
    kept = image.copy(), labels.copy()
    camera.frame(50)
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(labels, kept[1])


@pytest.mark.parametrize(
    "size", [(32, 32), (33, 47), (640, 360), (64, 400), (384, 512)], ids=lambda s: f"{s[0]}x{s[1]}"
)
def test_any_size_gives_an_image_and_train_ids(size: tuple[int, int]) -> None:
    camera = StreetCamera(StreetOptions(size=size, seed=2))
    for index in (0, 333):
        image, labels = camera.frame(index)
        assert image.shape == (*size, 3)
        assert image.dtype == np.uint8
        assert labels.shape == size
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) <= set(range(len(STREET_8)))


def test_every_class_is_common_over_a_few_streets() -> None:
    counts = np.zeros(len(STREET_8), np.int64)
    for seed in range(8):
        camera = StreetCamera(StreetOptions(size=SMALL, seed=seed))
        for index in (0, 150, 300):
            counts += np.bincount(camera.frame(index)[1].ravel(), minlength=len(STREET_8))
    shares = counts / counts.sum()
    rare = {
        name: share for name, share in zip(STREET_8.names, shares, strict=True) if share < 0.003
    }
    assert not rare
    assert shares.max() < 0.6


@pytest.mark.parametrize("seed", [0, 7, 11, 40])
def test_the_scene_is_laid_out_like_a_street(seed: int) -> None:
    _, labels = StreetCamera(StreetOptions(size=SMALL, seed=seed, nuisance=0)).frame(30)
    names = np.array(STREET_8.names)[labels]
    rows = np.arange(SMALL[0])[:, None]
    # sky stays above the road, and the lane in front of the camera is road or what drives on it
    assert (rows * (names == "sky")).max() < (rows * (names == "road")).max()
    ahead = names[-6:, SMALL[1] // 2 - 6 : SMALL[1] // 2 + 6]
    assert set(ahead.ravel()) <= {"road", "lane marking", "vehicle"}


@pytest.mark.parametrize("seed", [0, 6, 9])
def test_the_camera_moves_and_most_labels_persist_from_frame_to_frame(seed: int) -> None:
    camera = StreetCamera(StreetOptions(size=SMALL, seed=seed))
    (image, labels), (next_image, next_labels) = camera.frame(60), camera.frame(61)
    assert np.abs(image.astype(int) - next_image).mean() > 0.5
    assert 0.85 < (labels == next_labels).mean() < 1.0
    _, later = camera.frame(160)
    assert (labels == later).mean() < (labels == next_labels).mean()


def test_motion_follows_time_not_the_frame_count() -> None:
    # given one street filmed at two frame rates
    slow = StreetCamera(StreetOptions(size=SMALL, seed=4, fps=15))
    fast = StreetCamera(StreetOptions(size=SMALL, seed=4, fps=30))
    # then frames of the same moment show the same scene
    np.testing.assert_array_equal(slow.frame(20)[1], fast.frame(40)[1])


def test_seeds_are_different_streets() -> None:
    scenes = [StreetCamera(StreetOptions(size=SMALL, seed=seed)).frame(0)[1] for seed in range(6)]
    for number, scene in enumerate(scenes):
        for other in scenes[:number]:
            assert (scene != other).mean() > 0.05


def test_nuisance_changes_the_image_and_never_the_labels() -> None:
    clean = StreetCamera(StreetOptions(size=SMALL, seed=8, nuisance=0))
    dirty = StreetCamera(StreetOptions(size=SMALL, seed=8, nuisance=1.5))
    for index in (0, 75, 431):
        (image, labels), (other_image, other_labels) = clean.frame(index), dirty.frame(index)
        np.testing.assert_array_equal(labels, other_labels)
        assert (image != other_image).mean() > 0.3


def test_exposure_drifts_over_a_drive() -> None:
    camera = StreetCamera(StreetOptions(size=SMALL, seed=0))
    skies = []
    for index in range(0, 1200, 100):
        image, labels = camera.frame(index)
        skies.append(float(image[labels == STREET_8.names.index("sky")].mean()))
    assert max(skies) - min(skies) > 8.0


def test_labels_follow_what_is_painted() -> None:
    # given a clean street whose markings are lighter than its asphalt
    camera = StreetCamera(StreetOptions(size=(192, 256), seed=0, nuisance=0))
    road, marking = STREET_8.names.index("road"), STREET_8.names.index("lane marking")
    image, labels = camera.frame(0)
    near = slice(120, 192)
    grey = image[near].mean(axis=2)
    # then pixels labelled as marking are lighter, by far more than the asphalt varies
    on, off = grey[labels[near] == marking], grey[labels[near] == road]
    assert on.size > 50
    assert np.median(on) > np.percentile(off, 95)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": (31, 64)}, "31"),
        ({"size": (64, 5000)}, "5000"),
        ({"size": (64,)}, "height, width"),
        ({"seed": -1}, "-1"),
        ({"fps": 0.0}, "frame rate"),
        ({"fps": float("nan")}, "frame rate"),
        ({"nuisance": 3.0}, "0..2"),
    ],
)
def test_options_that_cannot_work_are_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        StreetOptions(**arguments)  # type: ignore[arg-type]


def test_a_negative_frame_is_refused() -> None:
    with pytest.raises(OptionError, match="count from 0"):
        StreetCamera(StreetOptions(size=(32, 32))).frame(-1)


def test_the_runtime_itself_loads_neither_opencv_nor_the_street() -> None:
    code = (
        "import sys, edge_runtime; "
        "sys.exit('cv2' in sys.modules or 'edge_runtime.street' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
