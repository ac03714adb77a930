"""The engine backend on a device, against ONNX Runtime. Skipped without a GPU and TensorRT."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.backends.tensorrt.engine import TensorRTBackend
from edge_runtime.backends.tensorrt.inspector import read_inspector, require_precision
from edge_runtime.zoo import resolve_model

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_gives_the_onnx_models_mask_and_accounts_for_its_time(precision, tmp_path):
    pytest.importorskip("tensorrt", reason="TensorRT is not installed")
    from export.tensorrt.build import build, prepare
    from export.tensorrt.options import BuildOptions

    model = resolve_model("street-edge-n")
    options = BuildOptions(model=model, precision=precision, output=tmp_path / "net.engine")
    built = build(prepare(options))
    manifest = read_manifest(model)
    frame = np.random.default_rng(0).integers(0, 256, manifest.inputs[0].shape, np.uint8)
    masks = []
    for path in (model, built.path):
        described = read_manifest(path)
        with open_backend(path, described) as backend:
            stamps = EngineStamps()
            for _ in range(3):
                backend.feeds["frame"][...] = frame
                backend.infer(stamps)
                assert (
                    stamps.start_ns <= stamps.h2d_end_ns
                    <= stamps.infer_end_ns <= stamps.d2h_end_ns
                )  # fmt: skip
            masks.append(backend.fetches["mask"].copy())
            if isinstance(backend, TensorRTBackend):
                assert backend.times.gpu.n == 2
                require_precision(read_inspector(backend.inspect()), precision)
    assert (masks[0] == masks[1]).mean() > 0.97
