"""What the element decides, without GStreamer: whose turn it is, and what the network is fed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_runtime.artifacts import Preprocess, write_artifact
from edge_runtime.element.painting import Painter, fit
from edge_runtime.element.schedule import Schedule
from edge_runtime.element.segmenter import Picture, open_segmenter
from edge_runtime.element.tally import WINDOW, DeclaredLatency, Tally
from edge_runtime.labels import IGNORE_INDEX, STREET_8
from edge_runtime.options import RunOptions
from tests.scripted import MS, FakeClock, write_identity_onnx

SECOND = 1_000 * MS


def fates(schedule, count, *, interval=0, running=lambda n: n * 40 * MS, heed_qos=True):
    return [schedule.judge(running(n), interval=interval, heed_qos=heed_qos) for n in range(count)]


@pytest.mark.parametrize("interval", [0, 1, 3])
def test_every_frame_after_the_interval_is_inferred(interval):
    found = fates(Schedule(), 9, interval=interval)

    turns = [n for n, fate in enumerate(found) if fate == "infer"]
    assert turns == list(range(0, 9, interval + 1))
    assert found.count("late") == 0


def test_a_late_frame_passes_and_the_next_one_in_time_has_its_turn():
    # Given a sink whose frame of 0 ms came 90 ms late
    schedule = Schedule()
    schedule.note(2.0, 90 * MS, 0)

    # Then frames of 0, 40 and 80 ms pass, and that of 120 ms does not
    assert fates(schedule, 5) == ["late", "late", "late", "infer", "infer"]
    assert fates(schedule, 3, heed_qos=False) == ["infer"] * 3


def test_a_frame_without_a_time_is_never_late():
    schedule = Schedule()
    schedule.note(2.0, SECOND, SECOND)

    assert fates(schedule, 2, running=lambda _: None) == ["infer", "infer"]


def test_lateness_is_forgotten_by_an_event_without_time_and_by_a_new_stream():
    for forget in (lambda s: s.note(1.0, 0, None), lambda s: s.reset()):
        schedule = Schedule()
        schedule.note(2.0, SECOND, SECOND)
        forget(schedule)

        assert fates(schedule, 1) == ["infer"]


def test_a_frame_early_by_more_than_its_time_asks_for_nothing_before_zero():
    schedule = Schedule()
    schedule.note(0.5, -SECOND, 0)

    assert schedule.qos.earliest_ns == 0
    assert schedule.judge(1, interval=0, heed_qos=True) == "infer"


def test_a_declared_latency_is_corrected_only_when_clearly_off_and_not_too_often():
    # Given 20 ms declared after the warm-up
    clock = FakeClock()
    latency = DeclaredLatency(clock)
    latency.assume(20 * MS)

    # When inferences take nearly as long
    assert not any(latency.add(21 * MS) for _ in range(WINDOW))
    assert latency.declared_ns == 20 * MS

    # Then nothing changes; but twice as long is told, once
    changes = [latency.add(40 * MS) for _ in range(WINDOW)]
    assert changes.count(True) == 1
    assert latency.declared_ns == 40 * MS

    # And a further change waits until the first has rested
    assert not any(latency.add(80 * MS) for _ in range(WINDOW))
    clock.pass_ms(1000)
    assert latency.add(80 * MS)
    assert latency.declared_ns == 80 * MS


def test_frames_add_up_and_a_percentile_waits_for_enough_of_them():
    tally = Tally()
    tally.count("interval")
    tally.count("late")
    tally.count("infer", 30 * MS)

    assert tally.figures() == {
        "frames": 3, "inferred": 1, "passed": 1, "dropped": 1, "last-ms": pytest.approx(30.0),
    }  # fmt: skip

    for _ in range(999):
        tally.count("infer", 10 * MS)
    figures = tally.figures()
    assert figures["p50-ms"] == pytest.approx(10, rel=0.01)
    assert figures["p99-ms"] == pytest.approx(10, rel=0.01)
    assert figures["last-ms"] == pytest.approx(10)


@pytest.fixture
def make_segmenter(tmp_path):
    """Opens a network whose mask is the first channel that it is fed."""
    pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")

    def make(size, **preprocess):
        part, path = tmp_path / "part.onnx", tmp_path / "identity.onnx"
        manifest = write_identity_onnx(part, size)
        plain = Preprocess((0.0,) * 3, (1.0,) * 3, **preprocess)
        write_artifact(part, path, replace(manifest, preprocess=plain))
        return open_segmenter(str(path), RunOptions(threads=1), lambda _: None)

    return make


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("size", [(24, 32), (48, 50)])
def test_the_network_is_fed_its_own_channel_order_and_size(
    make_segmenter, channels, order, color, size
):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), np.uint8)
    with make_segmenter((24, 32), color=color) as segmenter:
        segmenter.expect(Picture(size, channels, order))
        segmenter.warm_up()
        mask = segmenter.segment(pixels)

    first = 0 if order == color else 2
    scaled = cv2.resize(pixels[..., first], (32, 24), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(mask, scaled)


def test_a_letterboxed_mask_covers_the_picture_and_nothing_of_an_earlier_one(make_segmenter):
    # Given a network of 24 x 32 that keeps the aspect ratio, fed a tall picture
    with make_segmenter((24, 32), resize="letterbox") as segmenter:
        segmenter.expect(Picture((48, 24), 3, "RGB"))
        assert segmenter.segment(np.full((48, 24, 3), 7, np.uint8)).shape == (24, 12)

        # When a wide one follows, and one of the same size but with pixels twice as wide
        segmenter.expect(Picture((12, 32), 3, "RGB"))
        wide = segmenter.segment(np.full((12, 32, 3), 9, np.uint8)).copy()
        segmenter.expect(Picture((24, 32), 3, "RGB", (2, 1)))
        anamorphic = segmenter.segment(np.full((24, 32, 3), 5, np.uint8)).copy()

    assert wide.shape == (12, 32)
    assert set(wide.ravel()) == {9}
    assert anamorphic.shape == (12, 32)
    assert set(anamorphic.ravel()) == {5}


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_blended_in_the_order_of_the_picture(order, channels):
    pixels = np.full((4, 6, channels), 100, np.uint8)
    mask = np.array([[0, 2], [7, IGNORE_INDEX]], np.uint8)

    Painter(STREET_8, Picture((4, 6), channels, order)).paint(pixels, mask, 0.5)

    table = STREET_8.lookup_table(bgr=order == "BGR")
    wanted = table[mask.repeat(2, axis=0).repeat(3, axis=1)] * 0.5 + 50
    np.testing.assert_allclose(pixels[..., :3], wanted, atol=0.5)


def test_ids_are_never_mixed_when_a_mask_is_scaled():
    mask = np.array([[0, 200], [100, 255]], np.uint8)

    assert set(fit(mask, (33, 47)).ravel()) == {0, 100, 200, 255}
