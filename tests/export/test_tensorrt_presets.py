"""Deployment graphs of our presets, parsed and built ahead of time by TensorRT-RTX on the CPU.

Never executed, and no statement about TensorRT or a Jetson. At their full size:
``python -m benchmarks.engines``.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.policy import POLICIES, place
from calibration.qdq import insert
from edge_runtime.zoo import resolve_model
from export.check.check import check_graph
from export.check.targets import target_of
from export.fp16 import prepared, to_fp16
from export.fp16_measure import ranges
from export.precision import graph_precision
from export.probe_frames import probe_frames
from export.tensorrt.trial import try_graph
from training.presets import PRESETS

torch = pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: extra [rtx]")

SIZE = (128, 128)


@pytest.fixture(scope="module", params=list(PRESETS))
def exported(request) -> onnx.ModelProto:
    from export.to_onnx import to_onnx
    from training.model.hyperseg import HyperSeg
    from training.presets import preset

    torch.manual_seed(0)
    return to_onnx(HyperSeg(preset(request.param)).eval(), SIZE, "mask")


def quantised(graph: onnx.ModelProto, policy: str = "trt-gpu") -> onnx.ModelProto:
    """With Q/DQ pairs whose ranges are those of one frame."""
    size = tuple(d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim[1:3])
    frame = probe_frames(size, 1, (0.5,) * 3, (0.5,) * 3)[0][None]
    found = ranges(prepared(graph), [frame])
    usable = {name: max(value, 1e-3) for name, value in found.items()}
    return insert(graph, place(graph, POLICIES[policy]), usable)


FORMS = {"fp32": lambda graph: graph, "fp16": to_fp16, "int8": quantised}


@pytest.mark.parametrize("precision", FORMS)
def test_every_form_is_parsed_and_built(exported, precision):
    graph = FORMS[precision](exported)
    assert graph_precision(onnx.shape_inference.infer_shapes(graph)) == precision
    trial = try_graph(graph, precision)
    assert trial.accepted
    assert trial.result.refusals == []
    assert trial.result.layers.get(precision, 0) > 30
    assert trial.result.messages == []


@pytest.mark.parametrize("precision", FORMS)
def test_the_checker_agrees(exported, precision):
    graph = onnx.shape_inference.infer_shapes(FORMS[precision](exported))
    assert not [f for f in check_graph(graph, target_of("rtx")) if f.level == "error"]


def test_fp16_halves_the_engine_of_the_shipped_model():
    graph = onnx.load(resolve_model("street-edge-n"))
    sizes = {
        precision: try_graph(FORMS[precision](graph), precision).result.engine_bytes
        for precision in ("fp32", "fp16")
    }
    assert sizes["fp16"] < 0.9 * sizes["fp32"]


def test_a_spoiled_graph_is_refused_by_the_parser(exported):
    """The acceptance above can fail."""
    graph = quantised(exported)
    zero = next(t for t in graph.graph.initializer if t.data_type == onnx.TensorProto.INT8)
    values = np.full(tuple(zero.dims), 5, np.int8)
    zero.CopyFrom(numpy_helper.from_array(values, zero.name))
    trial = try_graph(graph, "int8")
    assert not trial.accepted
    assert "zero point" in trial.result.refusals[0].text
    found = check_graph(onnx.shape_inference.infer_shapes(graph), target_of("rtx"))
    assert "zero-point" in {finding.rule for finding in found if finding.level == "error"}
