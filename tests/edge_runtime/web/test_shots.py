"""What the frame loop leaves for the page, and what becomes of it."""

import io
import json
import zipfile

import cv2
import numpy as np
import pytest

from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import CAMVID_11
from edge_runtime.rig.engine import Engine
from edge_runtime.rig.lane import Lane, LaneOptions
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.telemetry.readings import Readings
from edge_runtime.telemetry.sampler import Sampler
from edge_runtime.timing import STAGES, FrameStamps
from edge_runtime.web.pictures import overlay, pair, ratios, shown_size, snapshot
from edge_runtime.web.stats import percentiles, run_figures
from edge_runtime.web.tap import WINDOW, Tap
from tests.results import PEDESTRIAN, ROAD, SIZE, make_result
from tests.scripted import MS, FakeClock, ScriptedBackend, ScriptedSource

START_NS = 10_000 * MS


def stamped(publish_ns):
    """Stamps of a frame that took 1 ms for each of nine boundaries, then published."""
    return FrameStamps(*(publish_ns - (10 - n) * MS for n in range(10)), publish=publish_ns)


def published(index=0, at_ns=START_NS, columns=4, **fields):
    picture = np.full((100, 200, 3), 60 + index % 100, np.uint8)
    values = {"picture": picture, "stamps": stamped(at_ns)} | fields
    return make_result(index, columns, **values)


def shot_of(result):
    tap = Tap()
    tap.wanted = True
    tap.tell(result)
    return tap.take()


def test_nothing_is_copied_while_nobody_looks():
    woken = []
    tap = Tap(lambda: woken.append(1))

    tap.tell(published())

    assert tap.take() is None
    assert woken == []
    assert len(tap.durations_ns()) == 1


def test_a_shot_keeps_the_mask_of_its_own_picture():
    result = published(7)
    shot = shot_of(result)

    # When the loop overwrites its buffer with the next frame's mask
    result.mask[:] = 9

    assert shot.index == 7
    assert set(np.unique(shot.mask)) == {PEDESTRIAN, ROAD}
    assert shot.picture is result.picture


def test_only_the_newest_is_shown_however_slow_the_viewer_is():
    tap = Tap()
    tap.wanted = True
    for index in range(50):
        tap.tell(published(index, START_NS + index * 100 * MS))

    assert tap.take().index == 49
    assert tap.take() is None


@pytest.mark.parametrize(("fps", "every"), [(30, 3), (60, 6), (10, 1), (4, 1)])
def test_pictures_come_at_ten_a_second_at_most_and_evenly(fps, every):
    shown = []
    tap = Tap(lambda: shown.append(tap.take().index))
    tap.wanted = True
    for index in range(5 * fps):
        tap.tell(published(index, START_NS + round(index * 1e9 / fps)))

    steps = set(np.diff(shown))
    assert steps == {every}


def test_a_result_without_a_mask_is_never_shown():
    tap = Tap()
    tap.wanted = True

    tap.tell(make_result(0, None))
    tap.tell(published(1, picture=None))

    assert tap.take() is None


def test_durations_are_those_of_the_newest_results():
    tap = Tap()
    for number in range(WINDOW + 10):
        tap.tell(published(number, START_NS + number * MS))

    durations = tap.durations_ns()
    assert durations.shape == (WINDOW, len(STAGES))
    assert set(durations.sum(axis=1)) == {10 * MS}


@pytest.mark.parametrize(
    ("n", "known"), [(0, set()), (19, set()), (20, {"p50"}), (200, {"p50", "p95"}),
                     (1000, {"p50", "p95", "p99"})],
)  # fmt: skip
def test_a_percentile_of_too_few_is_not_told(n, known):
    live = percentiles(np.arange(1, n + 1, dtype=np.int64) * MS)

    assert {name for name in ("p50", "p95", "p99") if getattr(live, name) is not None} == known
    assert live.max == (n or None)


def test_percentiles_are_nearest_ranks():
    live = percentiles(np.random.default_rng(0).permutation(1000).astype(np.int64) * MS)

    assert (live.p50, live.p95, live.p99) == pytest.approx((499, 949, 989))


def test_a_pair_is_the_picture_above_its_own_colours():
    shot = shot_of(published(5))

    image = cv2.imdecode(np.frombuffer(pair(shot, CAMVID_11), np.uint8), cv2.IMREAD_COLOR)

    assert shown_size(shot) == (100, 200)
    assert image.shape == (2 * 112, 200, 3)
    assert np.abs(image[:100].astype(int) - 65).max() <= 3
    columns = 4 * 200 // SIZE[1]
    table = CAMVID_11.lookup_table(bgr=True).astype(int)
    for part, class_id in ((image[114:212, 8 : columns - 8], PEDESTRIAN),
                           (image[114:212, columns + 8 :], ROAD)):  # fmt: skip
        assert np.abs(part.astype(int) - table[class_id]).max() <= 12


def test_an_overlay_is_half_of_each():
    shot = shot_of(published(5))

    image = cv2.imdecode(np.frombuffer(overlay(shot, CAMVID_11), np.uint8), cv2.IMREAD_COLOR)

    wanted = (65 + CAMVID_11.lookup_table(bgr=True)[ROAD].astype(int)) / 2
    assert np.abs(image[8:92, 60:].astype(int) - wanted).max() <= 8


def test_wide_pictures_are_scaled_for_the_page():
    picture = np.zeros((1080, 1920, 3), np.uint8)
    result = published(picture=picture, geometry=FrameGeometry((1080, 1920), SIZE, "stretch"))

    image = cv2.imdecode(np.frombuffer(pair(shot_of(result), CAMVID_11), np.uint8), 1)

    assert image.shape == (2 * 544, 960, 3)


def test_ratios_leave_the_bars_of_a_letterbox_out():
    # Given a picture twice as wide as high, in a square network input
    mask = np.full((20, 20), 3, np.uint8)
    mask[5:15, :5] = 0
    shot = shot_of(published(mask=mask, geometry=FrameGeometry((100, 200), (20, 20), "letterbox")))

    found = ratios(shot, CAMVID_11)

    assert found[0] == pytest.approx(0.25)
    assert found[3] == pytest.approx(0.75)


def test_a_snapshot_is_exact_and_of_one_frame():
    result = published(5)
    mask, picture = result.mask.copy(), result.picture.copy()
    archive = zipfile.ZipFile(io.BytesIO(snapshot(shot_of(result), CAMVID_11)))

    def image(name):
        return cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)

    assert np.array_equal(image("frame.png"), picture)
    assert np.array_equal(image("mask.png"), result.geometry.mask_to_frame(mask))
    assert image("overlay.png").shape == picture.shape
    facts = json.loads(archive.read("frame.json"))
    assert facts["index"] == 5
    assert facts["classes"][ROAD]["ratio"] == pytest.approx(0.8)


def test_what_a_sensor_no_longer_tells_is_not_shown_as_if_it_were_of_now():
    # given a sensor that loses one of its values
    class Fading:
        name = "fading"
        readings = Readings(total_w=5.0, temperatures_c={"gpu": 50.0})

        def read(self):
            return self.readings

        def close(self):
            pass

    sensors = Fading()
    sampler = Sampler([sensors])
    with ScriptedBackend(FakeClock()) as backend:
        source = SupervisedSource(ScriptedSource(FakeClock()))
        lane = Lane(Engine(backend, backend.manifest), source, LaneOptions())
        sampler.sample()
        before = run_figures([lane], [Tap()], [None], sampler, 0).telemetry
        sensors.readings = Readings(total_w=6.0)
        sampler.sample()
        after = run_figures([lane], [Tap()], [None], sampler, 0).telemetry

    assert before.temperatures_c["gpu"].end == 50.0
    assert after.power_w.end == 6.0
    assert after.temperatures_c == {}
    assert sampler.summary().temperatures_c["gpu"].max == 50.0
