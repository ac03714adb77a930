"""Videos that are really encoded, written and read back."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SinkError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.result import Result
from edge_runtime.sinks.worker import SinkWorker
from tests.scripted import LABELS

pytestmark = pytest.mark.gst

MASK_SIZE = (48, 80)
FPS = 25.0


def result_of(index, size=(96, 160), mask_id=1, state="ok"):
    picture = np.full((*size, 3), 120, np.uint8)
    mask = np.full(MASK_SIZE, mask_id, np.uint8)
    return Result(
        index=index,
        pts_ns=round(index * 1e9 / FPS) + 7_000_000_000,
        state=state,
        timestamp_source="file",
        capture_ns=0,
        geometry=FrameGeometry(size, MASK_SIZE, "stretch"),
        mask=mask if state == "ok" else None,
        picture=None if state == "no-signal" else picture,
    )


def overlay_sink(path):
    from edge_runtime.sinks.video import OverlaySink

    return OverlaySink(str(path), path, LABELS, lambda: FPS)


def mask_sink(path):
    from edge_runtime.sinks.video import MaskVideoSink

    return MaskVideoSink(f"maskvideo:{path}", path, LABELS.ignore_index, lambda: FPS)


def written(sink, results):
    sink.open()
    for result in results:
        sink.consume(result)
    sink.close()


def read_back(path):
    """Pictures (height, width, 3) BGR as signed numbers, and times in ms."""
    video, pictures, times = cv2.VideoCapture(str(path)), [], []
    while True:
        found, picture = video.read()
        if not found:
            return pictures, times
        pictures.append(picture.astype(int))
        times.append(video.get(cv2.CAP_PROP_POS_MSEC))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_overlay_video_has_every_frame_at_the_speed_of_the_source(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"

    written(overlay_sink(path), map(result_of, range(30)))

    pictures, times = read_back(path)
    assert len(pictures) == 30
    assert np.diff(times) == pytest.approx([40.0] * 29, abs=1.0)
    # class 1 is green: half of 120 and half of 255 there, half of 120 elsewhere
    assert pictures[5][20, 20] == pytest.approx([60, 187, 60], abs=12)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_dropped_frames_leave_their_time_in_the_video(tmp_path):
    path = tmp_path / "out.mkv"

    written(overlay_sink(path), map(result_of, (0, 1, 2, 10, 11)))

    assert np.diff(read_back(path)[1]) == pytest.approx([40, 40, 320, 40], abs=1.0)


def test_a_cameras_jump_ahead_is_no_hole_in_the_video_but_its_silence_is(tmp_path):
    # given a camera that is silent for 2 s, and whose time jumps by 10 h afterwards
    path, results = tmp_path / "out.mkv", []
    for index in (0, 1, 52, 53, 54, 55):
        live = replace(result_of(index), timestamp_source="driver", capture_ns=index * 40_000_000)
        results.append(replace(live, pts_ns=live.pts_ns + (index > 53) * 36_000 * 10**9))
    results.insert(2, results[1].without_signal(2_000_000_000))

    written(overlay_sink(path), results)

    assert np.diff(read_back(path)[1]) == pytest.approx([40, 2000, 40, 40, 40, 40], abs=1.0)


@pytest.mark.parametrize(("size", "expected"), [
    ((95, 161), (94, 160)), ((96, 161), (96, 160)), ((33, 50), (32, 50)),
])  # fmt: skip
def test_odd_sizes_are_cut_to_even(tmp_path, size, expected):
    path = tmp_path / "out.mp4"

    written(overlay_sink(path), [result_of(index, size) for index in range(5)])

    assert {picture.shape[:2] for picture in read_back(path)[0]} == {expected}


def test_size_change_is_scaled_to_the_first_size(tmp_path):
    path = tmp_path / "out.mp4"

    written(overlay_sink(path), [result_of(0), result_of(1, (48, 200)), result_of(2)])

    pictures, _ = read_back(path)
    assert [picture.shape[:2] for picture in pictures] == [(96, 160)] * 3
    assert pictures[1][40, 150] == pytest.approx([60, 187, 60], abs=12)


def test_frames_without_a_mask_are_tagged_in_the_video(tmp_path):
    path = tmp_path / "out.mkv"

    written(overlay_sink(path), [result_of(0), result_of(1, state="stale"),
                                 result_of(2, state="no-signal")])  # fmt: skip

    ok, stale, silent = read_back(path)[0]
    assert ok[60, 80] == pytest.approx([60, 187, 60], abs=12)
    assert stale[60, 80] == pytest.approx([120, 120, 120], abs=12)
    assert silent[60, 80] == pytest.approx([0, 0, 0], abs=12)
    assert stale[1, 1][2] > 120 > stale[1, 1][1]


def test_mask_video_is_lossless(tmp_path):
    path = tmp_path / "masks.mkv"
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 12, MASK_SIZE, np.uint8) for _ in range(8)]
    results = [replace(result_of(n, MASK_SIZE), mask=mask) for n, mask in enumerate(masks)]

    written(mask_sink(path), [*results, result_of(8, MASK_SIZE, state="stale")])

    # grey is read back as BGR: the channels are equal
    pictures, _ = read_back(path)
    for picture, mask in zip(pictures[:8], masks, strict=True):
        np.testing.assert_array_equal(picture[..., 1], mask)
    assert (pictures[8] == 255).all()


def test_run_without_a_frame_writes_no_file(tmp_path):
    written(overlay_sink(tmp_path / "out.mp4"), [])

    assert not list(tmp_path.iterdir())


def test_video_is_completed_by_its_worker(tmp_path):
    path = tmp_path / "out.mp4"

    with SinkWorker(overlay_sink(path), MASK_SIZE) as worker:
        for index in range(20):
            worker.offer(result_of(index), wait=True)

    assert len(read_back(path)[0]) == 20


@pytest.mark.parametrize("place", ["missing/out.mp4", "."])
def test_place_that_cannot_be_written_is_known_before_the_first_frame(tmp_path, place):
    with pytest.raises(SinkError, match="cannot write"):
        overlay_sink(tmp_path / place).open() if place != "." else overlay_sink(
            _folder_named(tmp_path / "folder.mp4")
        ).open()


def _folder_named(path: Path) -> Path:
    path.mkdir()
    return path


def test_missing_encoder_names_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_runtime.sinks.encoders.H264_ENCODERS", ())

    with pytest.raises(SinkError, match="plugins-ugly"):
        overlay_sink(tmp_path / "out.mp4").open()


def test_window_without_a_display_is_a_sink_error(monkeypatch):
    from edge_runtime.sinks.video import WindowSink

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    with pytest.raises(SinkError, match="no display"):
        WindowSink("window", LABELS).open()


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from edge_runtime.errors import SinkError
from edge_runtime.sinks.worker import SinkWorker
from tests.edge_runtime.test_sinks_video import MASK_SIZE, mask_sink, result_of
import numpy as np
from dataclasses import replace

resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
rng = np.random.default_rng(0)
try:
    with SinkWorker(mask_sink(Path("masks.mkv")), MASK_SIZE) as worker:
        for index in range(200):
            mask = rng.integers(0, 256, MASK_SIZE, np.uint8)
            worker.offer(replace(result_of(index, MASK_SIZE), mask=mask), wait=True)
except SinkError as error:
    print(error)
    sys.exit(2)
"""


def test_full_disk_is_a_sink_error_and_leaves_no_file(tmp_path, repository):
    # given files that must not grow beyond 40 kB
    script = FULL_DISK.format(root=str(repository))

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 2, done.stderr
    assert "cannot write maskvideo:masks.mkv" in done.stdout
    assert not list(tmp_path.iterdir())
