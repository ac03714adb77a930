"""The ONNX Runtime backend: bound buffers, and every way a model can be wrong."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.artifacts import TensorSpec
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.errors import BackendError, ManifestError
from tests.scripted import write_identity_onnx

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")

SIZE = (16, 24)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "identity.onnx"
    return path, write_identity_onnx(path, SIZE)


def test_infer_reads_feeds_and_writes_fetches_in_place(model):
    path, manifest = model
    stamps = EngineStamps()

    with open_backend(path, manifest) as backend:
        feed, fetch = backend.feeds["frame"], backend.fetches["mask"]
        for seed in range(3):
            picture = np.random.default_rng(seed).integers(0, 256, feed.shape, np.uint8)
            np.copyto(feed, picture)

            backend.infer(stamps)

            np.testing.assert_array_equal(fetch, picture[..., 0])
            assert backend.feeds["frame"] is feed
            assert backend.fetches["mask"] is fetch
    assert not backend.feeds
    assert not backend.fetches


def test_stamps_are_ordered_and_without_device_copies(model):
    path, manifest = model
    stamps = EngineStamps()

    with open_backend(path, manifest, threads=1) as backend:
        backend.infer(stamps)
        assert not backend.has_device_copies

    assert stamps.start_ns == stamps.h2d_end_ns < stamps.infer_end_ns == stamps.d2h_end_ns


def test_backend_can_be_entered_again(model):
    path, manifest = model
    backend = open_backend(path, manifest)

    for value in (3, 5):
        with backend:
            backend.feeds["frame"][:] = value
            backend.infer(EngineStamps())
            assert np.unique(backend.fetches["mask"]) == value


def test_inference_allocates_nothing_that_stays(model):
    path, manifest = model
    stamps = EngineStamps()
    with open_backend(path, manifest) as backend:
        tracemalloc.start()
        try:
            for _ in range(1000):
                backend.infer(stamps)
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(1000):
                backend.infer(stamps)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert after - before < 4_000


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "noise", "zeros"])
def test_damaged_models_are_refused_in_one_line(model, damage, capfd):
    path, manifest = model
    whole = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
    contents = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"this is not a model\n",
                "noise": noise, "zeros": bytes(1000)}  # fmt: skip
    path.write_bytes(contents[damage])

    with pytest.raises(BackendError) as caught:
        open_backend(path, manifest)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_missing_model_is_refused(model):
    path, manifest = model
    path.unlink()

    with pytest.raises(BackendError, match=r"identity\.onnx"):
        open_backend(path, manifest)


FRAME = TensorSpec("frame", (1, *SIZE, 3), "uint8")
MASK = TensorSpec("mask", (1, *SIZE), "uint8")


@pytest.mark.parametrize(("changed", "difference"), [
    ({"inputs": (replace(FRAME, shape=(1, 16, 32, 3)),)}, "input 'frame' has shape"),
    ({"inputs": (replace(FRAME, dtype="float32"),)}, "input 'frame' has dtype"),
    ({"inputs": (replace(FRAME, name="image"),)}, "input names"),
    ({"inputs": ()}, "input names"),
    ({"outputs": (replace(MASK, shape=(1, 8, 12)),)}, "output 'mask' has shape"),
    ({"outputs": (replace(MASK, dtype="int64"),)}, "output 'mask' has dtype"),
    ({"outputs": (MASK, replace(MASK, name="more"))}, "output names"),
])  # fmt: skip
def test_manifest_of_another_model_is_refused_by_the_field(model, changed, difference):
    path, manifest = model

    with pytest.raises(ManifestError, match=difference):
        open_backend(path, replace(manifest, **changed))


def test_other_kinds_have_no_backend(model):
    path, manifest = model

    with pytest.raises(BackendError, match="checkpoint"):
        open_backend(path, replace(manifest, kind="checkpoint"))
