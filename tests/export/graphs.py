"""Small ONNX graphs for tests, written out node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; names are separated by blanks, ``-`` is an input left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), name=f"n_{outputs}", **attributes)


def model(
    nodes: list[onnx.NodeProto],
    feeds: dict[str, tuple[int, tuple[Any, ...]]],
    outputs: dict[str, int],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A checked model with inferred types.

    Args:
        nodes: in topological order.
        feeds: element type and shape by input name.
        outputs: element type by name; shapes are inferred.
        weights: initializers by name.
        opset: of the default domain.
    """
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *value) for name, value in feeds.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    made = onnx.shape_inference.infer_shapes(made)
    onnx.checker.check_model(made)
    return made


def segmenter(
    *,
    middle: list[onnx.NodeProto] | None = None,
    size: int = 16,
    gain: float = 1.0,
    opset: int = 18,
    **more: Any,
) -> onnx.ModelProto:
    """Frame in, mask out: normalise, 3x3 convolution, `middle` from ``a`` to ``b``, 1x1, argmax."""
    rng = np.random.default_rng(3)
    weights = {
        "scale": np.full((1, 3, 1, 1), 1 / 127.5, np.float32),
        "shift": np.full((1, 3, 1, 1), -1.0, np.float32),
        "w1": (gain * rng.standard_normal((8, 3, 3, 3)) / 5).astype(np.float32),
        "w2": (rng.standard_normal((5, 8, 1, 1)) / 3 / gain).astype(np.float32),
        "b2": rng.standard_normal(5).astype(np.float32),
        **more,
    }
    nodes = [
        node("Cast", "frame", "image", to=TensorProto.FLOAT),
        node("Transpose", "image", "planes", perm=[0, 3, 1, 2]),
        node("Mul", "planes scale", "scaled"),
        node("Add", "scaled shift", "normal"),
        node("Conv", "normal w1", "a", pads=[1, 1, 1, 1]),
        *(middle or [node("Relu", "a", "b")]),
        node("Conv", "b w2 b2", "logits"),
        node("ArgMax", "logits", "ids", axis=1, keepdims=0),
        node("Cast", "ids", "mask", to=TensorProto.UINT8),
    ]
    feeds = {"frame": (TensorProto.UINT8, (1, size, size, 3))}
    return model(nodes, feeds, {"mask": TensorProto.UINT8}, weights, opset)


def frames(count: int = 2, size: int = 16) -> list[np.ndarray]:
    """(1, size, size, 3) uint8 frames of random pixels."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (1, size, size, 3), np.uint8) for _ in range(count)]
