"""The element in pipelines of this process, with a tiny network whose mask is the red channel."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artifacts import write_artifact
from edge_runtime.errors import BackendError
from edge_runtime.labels import IGNORE_INDEX
from tests.scripted import LABELS, write_identity_onnx

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytestmark = pytest.mark.gst

SIZE = (24, 32)
PATIENCE_S = 20


@pytest.fixture
def gst():
    pytest.importorskip("gi")
    from edge_runtime import element
    from edge_runtime.gst import Gst

    element.register()
    return Gst


@pytest.fixture
def model(tmp_path):
    part, path = tmp_path / "part.onnx", tmp_path / "identity.onnx"
    write_artifact(part, path, write_identity_onnx(part, SIZE))
    return path


class Stage:
    """``appsrc ! hypersegfilter ! appsink``, frame by frame."""

    def __init__(self, gst, caps="format=RGB,width=32,height=24", sink="", **properties):
        from edge_runtime.element.filter import HypersegFilter

        self.gst = gst
        self.pipeline = gst.parse_launch(
            f"appsrc name=in format=time caps=video/x-raw,framerate=25/1,{caps} "
            f"appsink name=out sync=false max-buffers=100 {sink}"
        )
        self.source, self.sink = map(self.pipeline.get_by_name, ("in", "out"))
        self.element = HypersegFilter()
        for name, value in properties.items():
            self.element.set_property(name.replace("_", "-"), value)
        self.pipeline.add(self.element)
        self.source.link(self.element)
        self.element.link(self.sink)

    def __enter__(self):
        assert self.pipeline.set_state(self.gst.State.PLAYING) != self.gst.StateChangeReturn.FAILURE
        return self

    def __exit__(self, *_):
        self.pipeline.set_state(self.gst.State.NULL)

    def buffer(self, value=0, number=0, size=SIZE, channels=3):
        pixels = np.zeros((*size, channels), np.uint8)
        pixels[..., 0] = value
        rows = np.pad(pixels.reshape(size[0], -1), ((0, 0), (0, -pixels[0].size % 4)))
        buffer = self.gst.Buffer.new_wrapped(rows.tobytes())
        buffer.pts = number * 40 * self.gst.MSECOND
        buffer.duration = 40 * self.gst.MSECOND
        return buffer

    def push(self, *args, **kwargs):
        self.source.emit("push-buffer", self.buffer(*args, **kwargs))

    def pull(self):
        sample = self.sink.emit("try-pull-sample", PATIENCE_S * self.gst.SECOND)
        assert sample is not None, f"no frame came: {self.message('ERROR')}"
        return sample

    def pass_through(self, *args, **kwargs):
        self.push(*args, **kwargs)
        return self.pull().get_buffer()

    def message(self, kind, patience_s=0.0):
        kinds = getattr(self.gst.MessageType, kind)
        return self.pipeline.get_bus().timed_pop_filtered(int(patience_s * 1e9), kinds)

    def latency(self):
        query = self.gst.Query.new_latency()
        assert self.sink.get_static_pad("sink").peer_query(query)
        return query.parse_latency()[:2]

    def figures(self):
        statistics = self.element.get_property("statistics")
        return [statistics.get_value(n) for n in ("frames", "inferred", "passed", "dropped")]


def mask_of(buffer):
    from edge_runtime.element.results import read_mask

    found = read_mask(buffer)
    assert found is not None
    return found.fields.get_string("state"), found.mask


def pixels_of(buffer):
    return np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)


def test_the_element_is_known_to_factories_and_may_be_registered_again(gst):
    from edge_runtime import element

    element.register()

    factory = gst.ElementFactory.find(element.NAME)
    assert factory.get_metadata("klass") == "Filter/Effect/Analyzer/Video"
    assert factory.get_element_type().name == "HypersegFilter"


def test_properties_keep_their_values_and_an_alias_is_the_same_property(gst, model):
    stage = Stage(gst, model_engine_file=str(model), interval=3, qos=False, opacity=0.25)

    read = stage.element.get_property
    assert read("model") == str(model)
    assert (read("interval"), read("qos"), read("opacity")) == (3, False, 0.25)
    assert read("labels") == []
    with stage:
        assert read("labels") == list(LABELS.names)


@pytest.mark.parametrize("output", ["overlay", "passthrough", "mask"])
def test_times_flags_and_foreign_metas_pass_untouched(gst, model, output):
    if not hasattr(gst.Meta, "register_custom"):
        pytest.skip("custom metas came with GStreamer 1.20")
    if gst.Meta.get_info("foreign-meta") is None:
        gst.Meta.register_custom("foreign-meta", [], None, None)
    ntp = gst.Caps.from_string("timestamp/x-ntp")
    with Stage(gst, model=str(model), output=output) as stage:
        # Given a frame with everything a frame can have
        buffer = stage.buffer(value=1)
        buffer.pts, buffer.dts, buffer.duration = 41, 40, 39
        buffer.offset, buffer.offset_end = 1_000_000_007, 1_000_000_008
        buffer.set_flags(gst.BufferFlags.MARKER | gst.BufferFlags.GAP)
        buffer.add_reference_timestamp_meta(ntp, 123_456_789, gst.CLOCK_TIME_NONE)
        buffer.add_custom_meta("foreign-meta")

        # When it passes
        stage.source.emit("push-buffer", buffer)
        after = stage.pull().get_buffer()

        # Then it has all of it still, and the mask besides
        assert (after.pts, after.dts, after.duration) == (41, 40, 39)
        assert (after.offset, after.offset_end) == (1_000_000_007, 1_000_000_008)
        assert after.has_flags(gst.BufferFlags.MARKER)
        assert after.has_flags(gst.BufferFlags.GAP)
        assert after.get_reference_timestamp_meta(ntp).timestamp == 123_456_789
        assert after.get_custom_meta("foreign-meta") is not None
        assert mask_of(after)[0] == "ok"


@pytest.mark.parametrize("text", ["RGB", "BGR", "RGBx", "BGRx"])
def test_a_mask_belongs_to_its_frame_in_every_format(gst, model, text):
    channels = 4 if text.endswith("x") else 3
    with Stage(
        gst, f"format={text},width=33,height=25", model=str(model), output="passthrough"
    ) as stage:
        for number in range(1, 6):
            pixels = np.zeros((25, 33, channels), np.uint8)
            pixels[..., 0 if text.startswith("R") else 2] = number
            rows = np.pad(pixels.reshape(25, -1), ((0, 0), (0, -33 * channels % 4)))
            buffer = gst.Buffer.new_wrapped(rows.tobytes())
            buffer.pts = number * gst.SECOND
            stage.source.emit("push-buffer", buffer)
            after = stage.pull().get_buffer()

            assert after.pts == number * gst.SECOND
            state, mask = mask_of(after)
            assert state == "ok"
            assert mask.shape == SIZE
            assert set(mask.ravel()) == {number}
            np.testing.assert_array_equal(pixels_of(after), rows.ravel())


def test_an_overlay_is_drawn_and_another_branch_keeps_its_picture(gst, model):
    # Given a frame that the test holds too, as another branch of a tee would
    with Stage(gst, model=str(model), opacity=1.0) as stage:
        buffer = stage.buffer(value=2)
        stage.source.emit("push-buffer", buffer)
        after = pixels_of(stage.pull().get_buffer()).reshape(*SIZE, 3)

        # Then ours is of the class's colour, and theirs as it was
        assert set(map(tuple, after.reshape(-1, 3).tolist())) == {LABELS.palette[2]}
        assert set(pixels_of(buffer).reshape(-1, 3)[:, 0]) == {2}


def test_masks_take_the_place_of_pictures(gst, model):
    with Stage(
        gst, "format=RGB,width=33,height=25", model=str(model), output="mask", interval=1
    ) as stage:
        stage.push(value=2, number=0, size=(25, 33))
        sample = stage.pull()
        stale = stage.pass_through(value=1, number=1, size=(25, 33))

    caps = sample.get_caps().get_structure(0)
    assert caps.get_string("format") == "GRAY8"
    assert (caps.get_value("width"), caps.get_value("height")) == (33, 25)
    fresh = pixels_of(sample.get_buffer()).reshape(25, 36)[:, :33]
    assert set(fresh.ravel()) == {2}
    # The second was not inferred, and an older mask is not shown in its place.
    assert set(pixels_of(stale).reshape(25, 36)[:, :33].ravel()) == {IGNORE_INDEX}
    assert mask_of(stale) == ("stale", None)


@pytest.mark.parametrize("reuse", [False, True])
def test_frames_between_inferences_are_marked(gst, model, reuse):
    with Stage(gst, model=str(model), interval=2, reuse_mask=reuse, opacity=1.0) as stage:
        states, drawn = [], []
        for number in range(6):
            after = stage.pass_through(value=number % 3, number=number)
            states.append(mask_of(after)[0])
            drawn.append(tuple(pixels_of(after)[:3].tolist()))

        assert stage.figures() == [6, 2, 4, 0]
    between = "reused" if reuse else "stale"
    assert states == ["ok", between, between] * 2
    old = LABELS.palette[0]
    assert drawn[:3] == ([old] * 3 if reuse else [old, (1, 0, 0), (2, 0, 0)])


def test_a_stream_without_times_is_segmented(gst, model):
    stage = Stage(gst, model=str(model))
    stage.source.set_property("format", gst.Format.BYTES)
    with stage:
        buffer = stage.buffer(value=2)
        buffer.pts = buffer.duration = gst.CLOCK_TIME_NONE
        stage.source.emit("push-buffer", buffer)
        after = stage.pull().get_buffer()

        assert after.pts == gst.CLOCK_TIME_NONE
        assert set(mask_of(after)[1].ravel()) == {2}


def test_a_flush_ends_the_life_of_a_kept_mask(gst, model):
    with Stage(gst, model=str(model), interval=9, reuse_mask=True) as stage:
        assert mask_of(stage.pass_through(1))[0] == "ok"
        assert mask_of(stage.pass_through(1, 1))[0] == "reused"

        stage.source.send_event(gst.Event.new_flush_start())
        stage.source.send_event(gst.Event.new_flush_stop(True))

        assert mask_of(stage.pass_through(2, 2))[0] == "ok"


def test_a_new_size_in_mid_stream_is_followed(gst, model):
    with Stage(gst, model=str(model), output="mask") as stage:
        assert stage.pass_through(1).get_size() == 24 * 32
        caps = gst.Caps.from_string("video/x-raw,format=RGB,width=64,height=10,framerate=25/1")
        stage.source.set_property("caps", caps)
        after = stage.pass_through(2, 1, size=(10, 64))

        assert after.get_size() == 10 * 64
        assert set(pixels_of(after)) == {2}
        assert mask_of(after)[1].shape == SIZE


def test_results_reach_signals_and_messages(gst, model):
    with Stage(gst, model=str(model), unique_id=7, post_messages=True, interval=1) as stage:
        heard = []
        stage.element.connect("result", lambda _, result: heard.append(result.copy()))
        stage.pass_through(2, 0)
        stage.pass_through(2, 1)
        posted = stage.message("ELEMENT", PATIENCE_S).get_structure()

    fresh, stale = heard
    assert posted.to_string() == fresh.to_string()
    assert fresh.get_name() == "hyperseg-result"
    assert [fresh.get_value(n) for n in ("unique-id", "index", "pts", "mask-pts")] == [7, 0, 0, 0]
    assert list(fresh.get_value("ratios")) == [0.0, 0.0, 1.0]
    assert fresh.get_value("latency-ms") > 0
    assert (stale.get_string("state"), stale.get_value("index")) == ("stale", 1)
    assert stale.get_value("pts") == 40 * gst.MSECOND
    assert not stale.has_field("ratios")


@pytest.mark.parametrize("heed", [True, False])
def test_late_frames_pass_without_inference_and_are_told(gst, model, heed):
    with Stage(gst, model=str(model), qos=heed) as stage:
        stage.pass_through(1, 0)
        # When the sink says that the frame of 0 ms came 100 ms too late
        late = gst.Event.new_qos(gst.QOSType.UNDERFLOW, 2.0, 100 * gst.MSECOND, 0)
        stage.sink.get_static_pad("sink").push_event(late)
        states = [mask_of(stage.pass_through(1, n))[0] for n in range(1, 5)]

        # Then those of 40 and 80 ms pass on, and none is lost
        assert states == (["stale", "stale", "ok", "ok"] if heed else ["ok"] * 4)
        assert stage.figures() == ([5, 3, 0, 2] if heed else [5, 5, 0, 0])
        message = stage.message("QOS", 1 if heed else 0)
        if not heed:
            assert message is None
            return
        assert message.src == stage.element
        assert message.parse_qos_values()[:2] == (-60 * gst.MSECOND, 2.0)
        assert message.parse_qos_stats() == (gst.Format.BUFFERS, 1, 1)


def test_only_lateness_that_an_inference_does_not_explain_is_told_upstream(gst, model):
    # Given a listener before the element
    heard = []

    def listen(pad, info):
        event = info.get_event()
        if event.type == gst.EventType.QOS:
            heard.append(event.parse_qos().diff)
        return gst.PadProbeReturn.OK

    with Stage(gst, model=str(model)) as stage:
        pad = stage.source.get_static_pad("src")
        number = pad.add_probe(gst.PadProbeType.EVENT_UPSTREAM, listen)
        stage.pass_through(1, 0)

        # When frames are early, late by next to nothing, and late by far
        for diff in (-5, 1, 100 * gst.SECOND):
            event = gst.Event.new_qos(gst.QOSType.UNDERFLOW, 1.5, diff, gst.SECOND)
            stage.sink.get_static_pad("sink").push_event(event)
        pad.remove_probe(number)

    # Then letting frames pass makes up for the second, and elements upstream need not drop any
    assert heard == [-5, 100 * gst.SECOND]


def test_the_latency_of_a_live_stream_is_declared_and_its_change_is_told(gst, model):
    stage = Stage(gst, model=str(model))
    stage.source.set_property("is-live", True)
    stage.source.set_property("min-latency", 10 * gst.MSECOND)
    with stage:
        stage.pass_through(1, 0)
        latency = stage.element._session.latency

        assert latency.declared_ns > 0
        assert stage.latency() == (True, 10 * gst.MSECOND + latency.declared_ns)

        # When it turns out to be far from what the warm-up promised
        latency.assume(30 * gst.SECOND)
        while stage.message("LATENCY"):
            pass
        for number in range(1, 12):
            stage.pass_through(1, number)

        # Then the pipeline is told, and hears the new figure
        assert stage.message("LATENCY", PATIENCE_S).src == stage.element
        assert stage.latency() == (True, 10 * gst.MSECOND + latency.declared_ns)
        assert latency.declared_ns < 20 * gst.SECOND


def test_a_file_has_no_latency(gst, model):
    with Stage(gst, model=str(model)) as stage:
        stage.pass_through(1)

        assert stage.latency() == (False, 0)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({}, "no model; set model=FILE.onnx, or the name of a shipped model"),
        ({"model": "street-edge-m"}, "no model 'street-edge-m'"),
        ({"model": "{damaged}"}, "is not a model that onnxruntime"),
        ({"model": "{good}", "output": "boxes"}, "output='boxes'; expected one of overlay, mask"),
        ({"model": "{good}", "rebuild": "now"}, "rebuild='now'; expected auto or never"),
    ],
)
def test_what_cannot_work_is_one_line_on_the_bus(gst, model, make_model, capfd, properties, text):
    places = {"damaged": make_model("damaged"), "good": model}
    stage = Stage(gst, **{n: v.format(**places) for n, v in properties.items()})

    changed = stage.pipeline.set_state(gst.State.PAUSED)

    assert changed == gst.StateChangeReturn.FAILURE
    error, debug = stage.message("ERROR").parse_error()
    assert text in error.message
    assert "\n" not in error.message
    assert "Traceback" not in debug + "".join(capfd.readouterr())
    stage.pipeline.set_state(gst.State.NULL)


@pytest.mark.parametrize(
    ("raised", "text", "traced"),
    [
        (BackendError("the engine is gone"), "the engine is gone", False),
        (ZeroDivisionError("ours"), "ZeroDivisionError: ours", True),
    ],
)
def test_a_failure_in_mid_stream_ends_the_stream(
    gst, model, monkeypatch, capfd, raised, text, traced
):
    from edge_runtime.element.segmenter import Segmenter

    def fail(self, pixels):
        raise raised

    with Stage(gst, model=str(model)) as stage:
        stage.pass_through(1)
        monkeypatch.setattr(Segmenter, "segment", fail)
        stage.push(1, 1)
        error, debug = stage.message("ERROR", PATIENCE_S).parse_error()

    assert error.message == text
    assert ("Traceback" in debug) is traced
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_model_that_is_not_given_back_ends_the_element_all_the_same(gst, model, monkeypatch):
    from edge_runtime.element.session import Session

    close = Session.close

    def fail(self):
        close(self)
        raise BackendError("CUDA failed in cudaFree")

    monkeypatch.setattr(Session, "close", fail)
    with Stage(gst, model=str(model)) as stage:
        stage.pass_through(1)
        assert stage.element.set_state(gst.State.NULL) == gst.StateChangeReturn.SUCCESS
        told, _ = stage.message("INFO", PATIENCE_S).parse_info()

    assert told.message.endswith("the model was not given back in full: CUDA failed in cudaFree")


def test_a_refused_format_is_named_with_its_remedy(gst, model):
    with Stage(gst, "format=I420,width=32,height=24", model=str(model)) as stage:
        stage.source.emit("push-buffer", gst.Buffer.new_allocate(None, 24 * 32 * 3 // 2, None))
        warning, _ = stage.message("WARNING", PATIENCE_S).parse_warning()
        assert stage.message("ERROR", PATIENCE_S) is not None

    assert "format=(string)I420" in warning.message
    assert warning.message.endswith("put videoconvert before hypersegfilter")


def test_the_end_of_a_stream_passes_after_its_last_frame(gst, model):
    with Stage(gst, model=str(model)) as stage:
        for number in range(5):
            stage.push(1, number)
        stage.source.emit("end-of-stream")
        assert [stage.pull().get_buffer().pts // (40 * gst.MSECOND) for _ in range(5)] == [
            *range(5)
        ]
        assert stage.message("EOS", PATIENCE_S) is not None
        assert stage.figures() == [5, 5, 0, 0]
    assert stage.figures() == [5, 5, 0, 0], "figures are gone before they can be read"


def test_many_starts_leave_nothing_behind(gst, model):
    def cycle():
        with Stage(gst, model=str(model)) as stage:
            for number in range(3):
                mask_of(stage.pass_through(1, number))

    def resident_mb():
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(40):
        cycle()
    before_mb, before = resident_mb(), descriptors()
    for _ in range(200):
        cycle()

    assert descriptors() <= before
    assert resident_mb() - before_mb < 6
