"""The frame loop allocates no picture or mask per frame, and Python's memory does not grow.

Through the real pipeline: colour bars of 360x640 from GStreamer, a small network of 256x512 in ONNX
Runtime, sinks in their threads. The arrays that must not be made anew for a frame are
at least as large as the smallest of them, the network's mask.

Allowed are what a frame is described by (stamps, result, message: some kilobytes), and what a
picture or mask is encoded to, which has another size each time.
"""

from __future__ import annotations

from statistics import median

import pytest

from benchmarks.allocations import sink_peaks, watch
from edge_runtime.rig.engine import Network
from tests.edge_runtime import reload_models

pytestmark = pytest.mark.gst

SIZE = (256, 512)
MASK_BYTES = SIZE[0] * SIZE[1]
"""Of the network; those of the frame are 230 kB, its picture 691 kB, the network's input 393 kB."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("gi", reason="needs GStreamer's Python bindings")
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    reload_models.place(path, 1, size=SIZE)
    return path


def peak(found):
    """Of a typical frame: memory that is used again is made in a few of them, as needed."""
    return median(found.peaks)


@pytest.mark.slow
def test_memory_is_flat_over_thousands_of_frames_and_no_frame_makes_an_array(model, tmp_path):
    # given results that go to a file and to shared memory
    sinks = [f"jsonl:{tmp_path / 'results.jsonl'}", f"shm:{tmp_path.name}"]
    found = watch(model, sinks, frames=2300, settled=300)

    # then not even a number was kept of each frame
    assert len(found.peaks) == 2000
    assert found.grown_bytes < 48_000, found.lines
    assert peak(found) < 16_000


@pytest.mark.parametrize(
    "sink",
    [
        "jsonl:results.jsonl",
        "shm:{name}",
        "overlay.mp4",
        "maskvideo:masks.mkv",
        "masks:masks",
        "recording.mcap",
    ],
)
def test_a_sink_draws_and_writes_into_memory_that_it_has(model, tmp_path, monkeypatch, sink):
    if sink.endswith(".mcap"):
        pytest.importorskip("mcap", reason="the extra 'mcap' is not installed")
    monkeypatch.chdir(tmp_path)

    peaks = sink_peaks(sink.format(name=tmp_path.name), SIZE)

    assert max(peaks) < MASK_BYTES / 2


def test_the_account_sees_an_array_that_is_made_for_each_frame(model, monkeypatch):
    # given a loop that copies its mask once more than it has to
    infer = Network.infer
    monkeypatch.setattr(Network, "infer", lambda network, stamps: infer(network, stamps).copy())

    found = watch(model, [], frames=40, settled=20)

    assert peak(found) >= MASK_BYTES


def test_the_account_sees_what_is_kept_of_each_frame(model, monkeypatch):
    infer, kept = Network.infer, []

    def leaking(network, stamps):
        kept.append(bytearray(1000))
        return infer(network, stamps)

    monkeypatch.setattr(Network, "infer", leaking)

    found = watch(model, [], frames=120, settled=20)

    assert found.grown_bytes > 90_000
    assert "test_allocations.py" in found.lines[0]
