"""Video files: every frame, in order, in its place."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.sources import open_source
from edge_runtime.video import Frame, SourceRequest

pytestmark = pytest.mark.gst

NETWORK = (64, 128)

ReadAll = Callable[[object, SourceRequest], list[Frame]]
ReadNumber = Callable[[np.ndarray], int]
Record = Callable[..., Path]


@pytest.mark.parametrize("with_picture", [False, True])
def test_every_frame_comes_once_with_its_picture(
    clip: Path, read_all: ReadAll, read_number: ReadNumber, with_picture: bool
) -> None:
    frames = read_all(clip, SourceRequest(NETWORK, with_picture=with_picture))

    assert [frame.index for frame in frames] == list(range(40))
    assert [read_number(frame.image) for frame in frames] == list(range(40))
    assert [frame.pts_ns for frame in frames] == [number * 40_000_000 for number in range(40)]
    assert {frame.size for frame in frames} == {(96, 160)}
    if with_picture:
        pictures = [frame.picture for frame in frames]
        assert {picture.shape for picture in pictures} == {(96, 160, 3)}
        assert [read_number(picture) for picture in pictures] == list(range(40))
    else:
        assert all(frame.picture is None for frame in frames)


def test_stamps_are_in_order_and_say_that_they_come_from_a_file(
    clip: Path, read_all: ReadAll
) -> None:
    begin = time.monotonic_ns()
    frames = read_all(clip, SourceRequest(NETWORK))
    end = time.monotonic_ns()

    for frame in frames:
        assert begin < frame.capture_ns == frame.arrival_ns
        assert frame.arrival_ns <= frame.ready_ns <= frame.dequeue_ns < end


def test_info_and_counters_tell_what_was_read(clip: Path) -> None:
    with open_source(str(clip), SourceRequest(NETWORK)) as source:
        while source.read(5.0) is not None:
            pass

    assert source.ended
    assert not source.info.live
    assert source.info.size == (96, 160)
    assert source.info.fps_nominal == 25.0
    assert source.info.timestamp_source == "file"
    assert source.info.caps.startswith("video/x-raw")
    assert (source.counters.captured, source.counters.dropped_queue) == (40, 0)


def test_a_slow_consumer_loses_nothing(clip: Path, read_number: ReadNumber) -> None:
    numbers = []
    with open_source(str(clip), SourceRequest(NETWORK, with_picture=True)) as source:
        while (frame := source.read(5.0)) is not None:
            time.sleep(0.01)
            numbers.append((read_number(frame.image), read_number(frame.picture)))

    assert numbers == [(number, number) for number in range(40)]
    assert source.counters.dropped_queue == 0


def test_a_video_played_for_its_newest_frames_keeps_its_own_time(
    clip: Path, read_number: ReadNumber
) -> None:
    begin = time.monotonic()
    frames = []
    with open_source(str(clip), SourceRequest(NETWORK, latest=True, with_picture=True)) as source:
        while not source.ended:
            if (frame := source.read(5.0)) is not None:
                frames.append((frame.index, read_number(frame.image), read_number(frame.picture)))
                time.sleep(0.1)
    lasted = time.monotonic() - begin

    assert lasted > 1.4  # 40 frames at 25 a second
    assert len(frames) < 30
    assert all(index == image == picture for index, image, picture in frames)
    assert source.counters.captured == 40 == len(frames) + source.counters.dropped_queue


@pytest.mark.parametrize("name", ["with blank.mp4", "ümläut 映像.mp4", "per%cent#hash?.mp4"])
@pytest.mark.parametrize("as_uri", [False, True])
def test_any_file_name_works(clip: Path, tmp_path: Path, name: str, as_uri: bool) -> None:
    place = tmp_path / name
    place.write_bytes(clip.read_bytes())

    with open_source(place.as_uri() if as_uri else str(place), SourceRequest(NETWORK)) as source:
        assert source.read(5.0) is not None


@pytest.mark.parametrize(("mux", "suffix"), [("mp4mux", "mp4"), ("matroskamux", "mkv")])
def test_sound_does_not_matter(
    record: Record, read_all: ReadAll, tmp_path: Path, mux: str, suffix: str
) -> None:
    path = record(tmp_path / f"sound.{suffix}", mux=mux, audio=True)

    assert len(read_all(path, SourceRequest(NETWORK))) == 12


def test_a_clip_filmed_upright_is_turned(record: Record, read_all: ReadAll, tmp_path: Path) -> None:
    path = record(tmp_path / "turned.mp4", frames=2)
    data = path.read_bytes()
    header, one = data.index(b"tkhd"), b"\0\1\0\0"
    flat = one + bytes(12) + one + bytes(12) + b"\x40\0\0\0"
    turned = bytes(4) + one + bytes(4) + b"\xff\xff" + bytes(18) + b"\x40\0\0\0"
    path.write_bytes(data[:header] + data[header:].replace(flat, turned, 1))

    frames = read_all(path, SourceRequest(NETWORK, resize="letterbox", with_picture=True))

    assert frames[1].size == (160, 96)
    # Number 1 is a white column on the left, which a quarter turn to the right brings to the top.
    assert frames[1].picture.shape == (160, 96, 3)
    assert frames[1].picture[:18].mean() > 200
    assert frames[1].picture[22:].mean() < 50
    top, left, height, width = FrameGeometry((160, 96), NETWORK, "letterbox").content
    assert frames[1].image[top : top + height // 10, left : left + width].mean() > 200


@pytest.mark.parametrize(("ratio", "size"), [("2/1", (96, 320)), ("3/4", (96, 120))])
def test_pixels_are_made_square(
    record: Record,
    read_all: ReadAll,
    read_number: ReadNumber,
    tmp_path: Path,
    ratio: str,
    size: tuple[int, int],
) -> None:
    path = record(tmp_path / "pixels.mp4", pixel_aspect_ratio=ratio, frames=3)

    frames = read_all(path, SourceRequest(NETWORK, resize="letterbox", with_picture=True))

    assert {frame.size for frame in frames} == {size}
    assert {frame.picture.shape for frame in frames} == {(*size, 3)}
    assert [read_number(frame.picture) for frame in frames] == [0, 1, 2]
    top, left, height, width = FrameGeometry(size, NETWORK, "letterbox").content
    inner = frames[2].image[top : top + height, left : left + width]
    assert read_number(inner) == 2
    assert frames[2].image.sum() == inner.sum()


def test_colours_come_in_the_order_asked_for(clip: Path, tmp_path: Path) -> None:
    launch = "videotestsrc pattern=solid-color foreground-color=0xffff8000 num-buffers=1 ! identity"
    found = {}
    for color in ("RGB", "BGR"):
        request = SourceRequest(NETWORK, color=color, with_picture=True)
        with open_source(launch, request) as source:
            frame = source.read(5.0)
            found[color] = frame.image[30, 60].astype(int)
            np.testing.assert_allclose(frame.picture[30, 60], (0, 128, 255), atol=6)

    np.testing.assert_allclose(found["RGB"], (255, 128, 0), atol=6)
    np.testing.assert_allclose(found["BGR"], (0, 128, 255), atol=6)


def test_a_clip_that_was_cut_short_gives_what_it_has(
    record: Record, read_number: ReadNumber, tmp_path: Path
) -> None:
    data = record(tmp_path / "whole.mkv", mux="matroskamux", frames=30).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) * 2 // 3])
    numbers = []

    # Whether a cut is an end or an error is the demuxer's to say.
    with open_source(str(path), SourceRequest(NETWORK)) as source, suppress(SourceError):
        while (frame := source.read(5.0)) is not None:
            numbers.append(read_number(frame.image))

    assert 1 <= len(numbers) < 30
    assert numbers == list(range(len(numbers)))


def test_an_image_outlives_its_source(clip: Path, read_number: ReadNumber) -> None:
    frames = []
    with open_source(str(clip), SourceRequest(NETWORK)) as source:
        frames.extend(source.read(5.0) for _ in range(5))

    assert [read_number(frame.image) for frame in frames] == [0, 1, 2, 3, 4]
    assert not frames[0].image.flags.writeable


def test_the_dashcam_clip_has_all_its_frames(real_clip: Path, read_all: ReadAll) -> None:
    for with_picture in (False, True):
        frames = read_all(real_clip, SourceRequest((128, 256), with_picture=with_picture))

        assert [frame.index for frame in frames] == list(range(221))
        assert len({frame.pts_ns for frame in frames}) == 221
        assert all((frame.picture is not None) == with_picture for frame in frames)
