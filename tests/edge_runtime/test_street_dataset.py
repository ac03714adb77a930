"""Street frames as files in CamVid's folder layout."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import OptionError
from edge_runtime.labels import STREET_8
from edge_runtime.street import StreetCamera, StreetOptions, write_dataset

SIZE = (48, 64)


def _read(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels


def test_what_is_written_reads_back_as_the_camera_saw_it(tmp_path: Path) -> None:
    # when a data set of four streets is written
    folder = tmp_path / "street"
    counts = write_dataset(folder, seeds=range(4), frames_per_seed=2, stride=40, size=SIZE)
    # then every split has its images and, under the same name, its labels
    assert counts == {"train": 4, "val": 2, "test": 2}
    meta = json.loads((folder / "meta.json").read_text())
    for split, count in counts.items():
        images = sorted((folder / split).iterdir())
        labels = sorted((folder / f"{split}_labels").iterdir())
        assert len(images) == count
        assert [f"{path.stem}_L.png" for path in images] == [path.name for path in labels]
        cameras = {s: StreetCamera(StreetOptions(size=SIZE, seed=s)) for s in meta["seeds"][split]}
        for image_path, label_path in zip(images, labels, strict=True):
            seed, index = (int(part) for part in image_path.stem[len("street") :].split("_"))
            image, ids = cameras[seed].frame(index)
            np.testing.assert_array_equal(_read(image_path), image)
            np.testing.assert_array_equal(_read(label_path), ids)


def test_no_street_is_in_two_splits_and_meta_says_which(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", seeds=[9, 3, 3, 7, 5], frames_per_seed=1, stride=1, size=(32, 32))
    meta = json.loads((tmp_path / "d" / "meta.json").read_text())
    assert meta["seeds"] == {"train": [9, 3], "val": [7], "test": [5]}
    assert meta["labels"] == STREET_8.name
    assert meta["size"] == [32, 32]


def test_an_interrupted_run_leaves_no_meta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a drive that is interrupted at its third street
    drive = StreetCamera.frame

    def interrupted(camera: StreetCamera, index: int) -> tuple[np.ndarray, np.ndarray]:
        if camera.options.seed == 2:
            raise KeyboardInterrupt
        return drive(camera, index)

    monkeypatch.setattr(StreetCamera, "frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, seeds=range(3), frames_per_seed=1, stride=1, size=(32, 32))
    # then the folder does not pass for complete, and is not silently mixed with a new run
    assert not (tmp_path / "meta.json").exists()
    monkeypatch.undo()
    with pytest.raises(OptionError, match="not empty"):
        write_dataset(tmp_path, seeds=range(3), frames_per_seed=1, stride=1, size=(32, 32))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seeds": [1, 1, 2]}, "at least 3"),
        ({"seeds": [1, 2, -3]}, "-3"),
        ({"frames_per_seed": 0}, "1 or more"),
        ({"stride": 0}, "1 or more"),
        ({"size": (8, 8)}, "32"),
    ],
)
def test_arguments_that_cannot_work_leave_nothing_behind(
    tmp_path: Path, arguments: dict[str, object], says: str
) -> None:
    usual: dict[str, object] = {"seeds": [1, 2, 3], "frames_per_seed": 1, "stride": 1}
    with pytest.raises(OptionError, match=says):
        write_dataset(tmp_path / "d", **{**usual, "size": (32, 32), **arguments})  # type: ignore[arg-type]
    assert not (tmp_path / "d").exists()


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OptionError, match="cannot write"):
        write_dataset(tmp_path / "file", seeds=range(3), frames_per_seed=1, stride=1, size=(32, 32))
