"""A model exchanged under a run: no frame lost, doubled or of a model that should not serve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_runtime import RigOptions, RunOptions, run, run_many
from edge_runtime.artifacts import create_artifact, manifest_path, read_manifest
from edge_runtime.errors import BackendError
from edge_runtime.golden import golden_frame
from edge_runtime.labels import STREET_8
from edge_runtime.rig.engine import TRIAL_FRAMES
from edge_runtime.zoo import resolve_model
from tests.edge_runtime.reload_models import SIZE, place

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytestmark = pytest.mark.gst

PATIENCE_S = 60.0
"""How long a test waits for what should come at once."""
OPTIONS = RunOptions(policy="every", watch_model=True, quiet=True, threads=1)


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch):
    monkeypatch.setattr("edge_runtime.reload.POLL_S", 0.02)
    monkeypatch.setattr("edge_runtime.reload.SETTLE_S", 0.5)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    place(path, 1)
    return path


@pytest.fixture
def pictures(tmp_path):
    """A folder of as many pictures as are asked for, each dark or bright."""

    def make(greys):
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number, grey in enumerate(greys):
            picture = np.full((*SIZE, 3), grey, np.uint8)
            cv2.imwrite(str(folder / f"{number:04d}.png"), picture)
        return str(folder)

    return make


class Ear:
    """Takes what a run says; its frames can wait for it."""

    def __init__(self):
        self.lines = []
        self._said = threading.Condition()

    def __call__(self, line):
        with self._said:
            self.lines.append(line)
            self._said.notify_all()

    def hear(self, words):
        """Wait until a line that was not there at the last call has these words."""
        with self._said:
            assert self._said.wait_for(lambda: words in " ".join(self.lines), PATIENCE_S), (
                self.lines
            )
            self.lines.clear()


def run_and_change(model, source, at, change, words, options=OPTIONS):
    """Run; after the result `at` call `change` and wait until the run has said `words`."""
    ear, seen = Ear(), []

    def keep(result):
        values = np.unique(result.mask)
        assert values.size == 1
        seen.append((result.index, int(values[0]), result.model))
        if result.index == at:
            change()
            ear.hear(words)

    return run(model, source, options, keep, ear), seen


def test_a_new_model_serves_from_the_next_frame_on(model, pictures, tmp_path):
    old = read_manifest(model).sha256[:12]
    log, new = tmp_path / "log.jsonl", []
    options = replace(OPTIONS, frames_log=log)

    report, seen = run_and_change(
        model, pictures([0] * 60), 9, lambda: new.append(place(model, 2)), "takes over", options
    )

    assert seen == [(i, 1, old) for i in range(10)] + [(i, 2, new[0]) for i in range(10, 60)]
    assert [(c.event, c.model, c.reason) for c in report.model_changes] == [
        ("served", new[0], None)
    ]
    assert report.model_changes[0].t_s > 0
    assert report.model.onnx_sha256.startswith(old)
    models = [json.loads(line)["model"] for line in log.read_text().splitlines()]
    assert models == [old] * 10 + [new[0]] * 50


def test_20_models_under_load_lose_and_double_no_frame(model):
    # given a source that never waits for anybody, and models placed from another thread
    keys = {read_manifest(model).sha256[:12]: 1}
    seen, done, failed = [], threading.Event(), []
    served = threading.Event()
    newest = [next(iter(keys))]

    def exchange():
        try:
            for number in range(20):
                value = 2 + number % 6
                newest[0] = None
                served.clear()
                key = place(model, value, size=SIZE, fail_above=255 + number)
                keys[key] = value
                newest[0] = key
                assert served.wait(PATIENCE_S), f"model {number} never served"
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            failed.append(error)
        finally:
            done.set()

    def keep(result):
        # then a mask is always of the model that the result names
        assert np.unique(result.mask).tolist() == [keys[result.model]]
        seen.append(result.index)
        if len(seen) == 1:
            thread.start()
        if result.model == newest[0]:
            served.set()
        if done.is_set():
            signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=exchange)
    report = run(model, "test:bars?fps=120&size=32x64", OPTIONS, keep)
    thread.join()

    assert not failed
    assert seen == list(range(len(seen)))
    assert report.frames.published == report.frames.inferred == len(seen)
    dropped = report.frames.dropped
    assert (dropped.queue, dropped.sink, dropped.source_gap) == (0, 0, 0)
    assert [change.event for change in report.model_changes] == ["served"] * 20


def test_a_model_that_fails_gives_back_to_the_one_before_with_the_same_frame(model, pictures):
    # given a model that is sound on golden frames and fails on bright ones
    old = read_manifest(model).sha256[:12]
    bright_at = 10 + TRIAL_FRAMES // 2
    greys = [10] * bright_at + [250] * 20

    report, seen = run_and_change(
        model, pictures(greys), 9, lambda: place(model, 2, fail_above=100), "takes over"
    )

    values = [value for _, value, _ in seen]
    assert values == [1] * 10 + [2] * (bright_at - 10) + [1] * 20
    assert [index for index, _, _ in seen] == list(range(len(greys)))
    assert seen[bright_at][2] == old
    assert [change.event for change in report.model_changes] == ["served", "rolled-back"]
    assert "failed while running" in report.model_changes[1].reason
    assert report.ended == "end"


def test_a_network_that_is_not_given_back_stops_no_run(model, pictures, monkeypatch):
    # given a failing model whose memory cannot be released, as that of a broken device
    from edge_runtime.backends.ort import OnnxRuntimeBackend

    close, failures = OnnxRuntimeBackend.__exit__, [BackendError("CUDA failed in cudaFree")]

    def release(self, *error):
        close(self, *error)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(OnnxRuntimeBackend, "__exit__", release)
    greys = [10] * 12 + [250] * 20

    report, seen = run_and_change(
        model, pictures(greys), 9, lambda: place(model, 2, fail_above=100), "takes over"
    )

    assert [change.event for change in report.model_changes] == ["served", "rolled-back"]
    assert (report.ended, len(seen), failures) == ("end", len(greys), [])


def test_a_model_that_fails_after_its_trial_ends_the_run(model, pictures):
    greys = [10] * (10 + TRIAL_FRAMES) + [250]
    with pytest.raises(Exception, match="failed while running"):
        run_and_change(
            model, pictures(greys), 9, lambda: place(model, 2, fail_above=100), "takes over"
        )


def truncate(model):
    """A copy that was cut short, in place, and has a manifest that agrees."""
    manifest = read_manifest(model)
    create_artifact(model, manifest, lambda part: part.write_bytes(b"\x08\x08 no network"))


def forge(model):
    """Other bytes under the manifest of the old ones."""
    part = model.with_name("part")
    part.write_bytes(model.read_bytes() + b"x")
    part.replace(model)


OTHER_LABELS = replace(STREET_8, name="other", names=tuple(f"c{i}" for i in range(8)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (truncate, "is not a model that onnxruntime"),
        (forge, "does not belong to"),
        (lambda model: place(model, 2, labels=OTHER_LABELS), "its label set (other) differs"),
        (lambda model: place(model, 2, size=(16, 64)), "its input ((16, 64)) differs"),
        (lambda model: place(model, 200), "id 200 and there are 8 classes"),
        (lambda model: place(model, 2, fail_above=5), "failed while running"),
    ],
    ids=["no network", "hash", "labels", "size", "ids", "raises"],
)
def test_what_cannot_serve_is_refused_with_a_reason(model, pictures, change, reason):
    old = read_manifest(model).sha256[:12]

    report, seen = run_and_change(
        model, pictures([10] * 40), 9, lambda: change(model), "is not taken over"
    )

    assert seen == [(index, 1, old) for index in range(40)]
    (refusal,) = report.model_changes
    assert refusal.event == "refused"
    assert reason in refusal.reason


def test_the_newest_real_frame_is_tried_as_well(model, pictures):
    # given a model that is sound on the drawn frame, and a camera that shows what it fails on
    report, seen = run_and_change(
        model, pictures([250] * 30), 9, lambda: place(model, 2, fail_above=100), "not taken over"
    )

    assert [value for _, value, _ in seen] == [1] * 30
    assert "failed while running" in report.model_changes[0].reason


def test_a_hangup_reads_the_file_and_an_unchanged_one_changes_nothing(model, pictures):
    report, seen = run_and_change(
        model,
        pictures([0] * 30),
        9,
        lambda: os.kill(os.getpid(), signal.SIGHUP),
        "unchanged",
    )
    assert [value for _, value, _ in seen] == [1] * 30
    assert report.model_changes == ()


def test_without_being_asked_a_run_keeps_its_model_and_its_hangup(model, pictures):
    before, handlers = signal.getsignal(signal.SIGHUP), []

    def look(result):
        handlers.append(signal.getsignal(signal.SIGHUP))
        if result.index == 3:
            place(model, 2)

    report = run(model, pictures([0] * 20), replace(OPTIONS, watch_model=False), look)

    assert set(handlers) == {before}
    assert report.model_changes == ()


def test_all_cameras_of_a_rig_get_the_new_model(model, pictures):
    folder, ear, seen, new = pictures([0] * 60), Ear(), [], []

    def keep(camera, result):
        seen.append((camera, int(result.mask[0, 0])))
        if len(seen) == 20:
            new.append(place(model, 2))
            ear.hear("takes over")

    report = run_many(model, {"left": folder, "right": folder}, RigOptions(OPTIONS), keep, say=ear)

    assert [value for _, value in seen] == [1] * 20 + [2] * 100
    for name in ("left", "right"):
        assert report.camera(name).frames.published == 60
        assert [change.model for change in report.camera(name).model_changes] == new


def test_a_shipped_network_is_exchanged_for_one_with_other_weights(tmp_path):
    # given the shipped network, and a copy whose scores of one class are raised
    import onnx
    from onnx import numpy_helper

    shipped, model = resolve_model("street-edge-n"), tmp_path / "street.onnx"
    shutil.copy(shipped, model)
    shutil.copy(manifest_path(shipped), manifest_path(model))
    graph = onnx.load(shipped)
    for initializer in graph.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype == np.float32 and values.ndim == 4:
            initializer.CopyFrom(numpy_helper.from_array(-values, initializer.name))
    ear, masks = Ear(), {}

    def keep(result):
        masks.setdefault(result.model, result.mask.copy())
        if result.index == 2:
            create_artifact(model, read_manifest(model), lambda part: onnx.save(graph, part))
            ear.hear("takes over")

    folder = tmp_path / "street"
    folder.mkdir()
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), golden_frame((384, 512)))
    report = run(model, str(folder), OPTIONS, keep, ear)

    assert [change.event for change in report.model_changes] == ["served"]
    assert len(masks) == 2
    one, other = masks.values()
    assert (one != other).mean() > 0.05
    assert report.frames.published == 5


def test_the_exchange_makes_no_gap_in_a_live_run(model):
    # given a live camera whose newest frame is taken
    at, placed = [], threading.Event()

    def keep(result):
        at.append((time.monotonic(), result.model))
        if len(at) == 30:
            threading.Thread(target=lambda: (place(model, 2), placed.set())).start()

    report = run(
        model,
        "test:bars?fps=50&size=32x64",
        replace(OPTIONS, policy="latest", duration_s=3.0),
        keep,
    )

    placed.wait(PATIENCE_S)
    assert [change.event for change in report.model_changes] == ["served"]
    gaps = np.diff([when for when, _ in at])
    swap = next(number for number, (_, key) in enumerate(at) if key != at[0][1])
    assert gaps[swap - 1] < 1.0
