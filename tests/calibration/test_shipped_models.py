"""Shipped models in INT8, parsed and built ahead of time by TensorRT-RTX on the CPU.

Never executed, and no statement about TensorRT or a Jetson.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.adaptive import Rounded
from calibration.labelled import Streets
from calibration.methods import choose_ranges
from calibration.patches import conv_layers
from calibration.policy import POLICIES, place
from calibration.qdq import SCALE, insert
from calibration.ranges import collect
from calibration.rounding import round_nearest
from calibration.samples import network_frame
from calibration.storage import store_int8, with_integers
from edge_runtime.artifacts import Manifest
from edge_runtime.stored_weights import unpack_weights
from edge_runtime.zoo import ShippedModel, list_models
from export.precision import graph_precision
from export.tensorrt.trial import try_graph

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: extra [rtx]")


class OneStreet:
    """A drawn training street as a model's only calibration frame."""

    hashes = ("street",)

    def __init__(self, manifest: Manifest) -> None:
        name, image, _ = Streets("train", manifest.input_size).read(0)
        self._frame = name, network_frame(image, manifest)

    def __len__(self) -> int:
        return 1

    def read(self, index: int) -> tuple[str, np.ndarray]:
        return self._frame


@pytest.fixture(scope="module", params=list_models(), ids=lambda model: model.name)
def forms(request) -> dict[str, onnx.ModelProto]:
    """Q/DQ pairs, integers beside the float weights, and integers alone."""
    shipped: ShippedModel = request.param
    model = unpack_weights(onnx.load_model(shipped.path))
    placement = place(model, POLICIES["trt-gpu"])
    found = collect(model, [t.name for t in placement.tensors], OneStreet(shipped.manifest))
    pairs = insert(model, placement, choose_ranges(placement, found.tensors, "minmax"))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in pairs.graph.initializer}
    chosen = {}
    for layer in conv_layers(model, placement):
        scales = values[layer.weight + SCALE]
        integers = round_nearest(values[layer.weight], scales.reshape(-1, 1, 1, 1))
        chosen[layer.weight] = Rounded(integers, scales)
    return {"pairs": pairs, "integers": with_integers(pairs, chosen), "small": store_int8(pairs)}


@pytest.mark.parametrize(
    "form",
    [
        "pairs",
        pytest.param("integers", marks=pytest.mark.slow),
        pytest.param("small", marks=pytest.mark.slow),
    ],
)
def test_int8_of_a_shipped_model_is_parsed_and_built(forms, form):
    graph = forms[form]
    assert graph_precision(onnx.shape_inference.infer_shapes(graph)) == "int8"
    trial = try_graph(graph, "int8")
    assert trial.accepted
    assert trial.result.refusals == []
    assert trial.result.messages == []
    assert trial.result.layers.get("int8", 0) > 30
