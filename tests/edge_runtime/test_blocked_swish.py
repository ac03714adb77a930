"""Swish between two reorderings, as older ONNX Runtimes leave it, computed in blocked layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_runtime.backends.blocked.emit import DOMAIN
from edge_runtime.backends.blocked.probe import machine_block
from edge_runtime.backends.blocked.swish import keep_swish_blocked
from edge_runtime.backends.ort import session_options

onnx = pytest.importorskip("onnx", reason="the graph is rewritten with onnx: scripts/setup dev")
ort = pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")

CHANNELS = 20
"""Of no whole number of blocks."""
SHAPE = (1, CHANNELS, 6, 5)


def reordered(*, tap: bool = False, last: int = 0, twice: bool = False) -> onnx.ModelProto:
    """A map that leaves the blocked layout for swish, and enters it again."""
    make, tensor = onnx.helper.make_node, onnx.helper.make_tensor_value_info

    def reorder(one: str, other: str, **stated: Any) -> onnx.NodeProto:
        kind = "ReorderOutput" if "channels" in stated else "ReorderInput"
        return make(kind, [one], [other], domain=DOMAIN, **stated)

    nodes = [
        reorder("x", "blocked"),
        reorder("blocked", "plain", channels=CHANNELS, channels_last=last),
        make("QuickGelu", ["plain"], ["swish"], domain="com.microsoft", alpha=1.702),
        reorder("swish", "again", channels_last=last),
        reorder("again", "y", channels=CHANNELS),
    ]
    results = ["y"]
    if twice:
        nodes += [reorder("swish", "other", channels_last=last),
                  reorder("other", "z", channels=CHANNELS)]  # fmt: skip
        results.append("z")
    if tap:
        nodes.append(make("Neg", ["swish"], ["tap"]))
        results.append("tap")
    graph = onnx.helper.make_graph(
        nodes, "swish", [tensor("x", onnx.TensorProto.FLOAT, SHAPE)],
        [tensor(name, onnx.TensorProto.FLOAT, None) for name in results],
    )  # fmt: skip
    domains = {"": 18, DOMAIN: 1, "com.microsoft": 1}
    opsets = [onnx.helper.make_opsetid(name, version) for name, version in domains.items()]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    options = session_options(ort, 1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    return session.run(None, {"x": x})


@pytest.mark.parametrize(
    ("case", "left"), [({}, 2), ({"twice": True}, 3), ({"tap": True}, 3)], ids=str
)
def test_swish_stays_blocked(case, left):
    if machine_block() is None:
        pytest.skip("onnxruntime has no blocked convolution on this machine")
    model = reordered(**case)
    wanted = run(model)

    assert keep_swish_blocked(model) == 1

    kinds = [node.op_type for node in model.graph.node]
    assert sum(kind.startswith("Reorder") for kind in kinds) == left
    found = run(model)
    assert all(map(np.array_equal, found, wanted))
    # Where the plain map is read too, it is made of the blocked one.
    assert keep_swish_blocked(model) == 0


def another_operator(model: onnx.ModelProto) -> None:
    swish = next(node for node in model.graph.node if node.op_type == "QuickGelu")
    swish.op_type = "Gelu"


def nested(model: onnx.ModelProto) -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["any"], [], then_branch=inner))


@pytest.mark.parametrize("change", [another_operator, nested, None])
def test_what_is_not_exactly_known_is_left_alone(change):
    model = reordered(last=int(change is None))
    if change is not None:
        change(model)
    before = model.SerializeToString(deterministic=True)

    assert keep_swish_blocked(model) == 0

    assert model.SerializeToString(deterministic=True) == before
