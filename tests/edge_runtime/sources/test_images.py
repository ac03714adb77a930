"""Images and folders of them: any depth and size, in order, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.sources import open_source
from edge_runtime.video import Frame, SourceRequest

pytestmark = pytest.mark.gst

NETWORK = (48, 80)

ReadAll = Callable[[object, SourceRequest], list[Frame]]


def save(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def plain(size: tuple[int, int], bgr: tuple[int, int, int] = (200, 120, 40)) -> np.ndarray:
    return np.full((*size, 3), bgr, np.uint8)


SIZES = [(1, 1), (48, 80), (33, 57), (1, 400), (400, 1), (97, 3), (50, 51), (518, 144), (145, 775)]


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("network", [NETWORK, (64, 67)], ids=str)
def test_sizes_may_change_from_image_to_image(
    tmp_path: Path, read_all: ReadAll, resize: str, network: tuple[int, int]
) -> None:
    for number, size in enumerate(SIZES):
        save(tmp_path / f"{number}.png", plain(size))

    frames = read_all(tmp_path, SourceRequest(network, resize=resize, with_picture=True))

    assert [frame.size for frame in frames] == SIZES
    for frame in frames:
        top, left, height, width = FrameGeometry(frame.size, network, resize).content
        expected = np.zeros((*network, 3), np.uint8)
        expected[top : top + height, left : left + width] = (40, 120, 200)
        np.testing.assert_array_equal(frame.image, expected)
        np.testing.assert_array_equal(frame.picture, plain(frame.size))


def test_names_and_numbers_follow_natural_order(tmp_path: Path, read_all: ReadAll) -> None:
    for number in (10, 9, 2, 1):
        save(tmp_path / f"straße {number}.png", plain((8, 8), (number, 0, 0)))

    frames = read_all(tmp_path, SourceRequest(NETWORK, with_picture=True))

    assert [frame.name for frame in frames] == [f"straße {n}" for n in (1, 2, 9, 10)]
    assert [frame.picture[0, 0, 0] for frame in frames] == [1, 2, 9, 10]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert {frame.pts_ns for frame in frames} == {None}


def test_any_depth_becomes_8_bit_colour(tmp_path: Path, read_all: ReadAll) -> None:
    save(tmp_path / "1 grey.png", np.full((9, 7), 77, np.uint8))
    save(tmp_path / "2 grey16.png", np.full((9, 7), 77 * 256 + 9, np.uint16))
    save(tmp_path / "3 alpha.png", np.full((9, 7, 4), (10, 20, 30, 0), np.uint8))
    save(tmp_path / "4 colour16.tiff", np.full((9, 7, 3), 77 * 256, np.uint16))

    frames = read_all(tmp_path, SourceRequest(NETWORK, with_picture=True))

    colours = [tuple(frame.picture[4, 3].tolist()) for frame in frames]
    assert colours == [(77, 77, 77), (77, 77, 77), (10, 20, 30), (77, 77, 77)]
    assert {frame.picture.shape for frame in frames} == {(9, 7, 3)}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".PNG"])
def test_a_single_image_is_a_source(tmp_path: Path, read_all: ReadAll, suffix: str) -> None:
    path = tmp_path / f"a b{suffix}"
    path.write_bytes(cv2.imencode(suffix.lower(), plain((30, 40)))[1].tobytes())

    frames = read_all(path.as_uri(), SourceRequest(NETWORK))

    assert [(frame.name, frame.size) for frame in frames] == [("a b", (30, 40))]
    np.testing.assert_allclose(frames[0].image[20, 40], (40, 120, 200), atol=8)


def test_images_are_no_live_source(tmp_path: Path) -> None:
    save(tmp_path / "a.png", plain((8, 8)))

    with open_source(str(tmp_path), SourceRequest(NETWORK)) as source:
        source.read(5.0)

    assert (source.info.live, source.info.fps_nominal) == (False, None)
    assert source.info.timestamp_source == "file"


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_an_unreadable_image_is_named_after_the_good_ones(tmp_path: Path, content: bytes) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", plain((8, 8)))
    (tmp_path / "5 bad.png").write_bytes(content)
    names = []

    def read_names() -> None:
        with open_source(str(tmp_path), SourceRequest(NETWORK)) as source:
            while (frame := source.read(5.0)) is not None:
                names.append(frame.name)

    with pytest.raises(SourceError, match=r"cannot decode image .*5 bad\.png"):
        read_names()

    assert names == ["0", "1", "2", "3", "4"]


def test_an_image_that_vanishes_meanwhile_is_named(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / f"{number}.png", plain((8, 8)))

    with open_source(str(tmp_path), SourceRequest(NETWORK)) as source:
        assert source.read(5.0) is not None
        (tmp_path / "19.png").unlink()
        with pytest.raises(SourceError, match=r"cannot read image .*19\.png: No such file"):
            list(iter(lambda: source.read(5.0), None))


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(SourceError, match="holds no image"):
        open_source(str(tmp_path), SourceRequest(NETWORK))
