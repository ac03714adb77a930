"""Small real ONNX models whose masks tell which of them served."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.artifacts import (
    CreatedBy,
    Manifest,
    Preprocess,
    TensorSpec,
    create_artifact,
)
from edge_runtime.labels import STREET_8

SIZE = (32, 64)
"""(height, width) of pictures and masks."""


def place(
    path: Path, value: int, *, size: tuple[int, int] = SIZE, labels=STREET_8, fail_above=None
) -> str:
    """Write a model whose mask is `value` everywhere, as an exporter does; gives its key.

    Args:
        fail_above: it fails while running on a picture whose first byte is above this one.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    height, width = size
    uint8, make = TensorProto.UINT8, helper.make_node
    constants = {"value": np.uint8(value), "zero": np.uint8(0)}
    nodes = [
        make("ArgMax", ["frame"], ["any"], axis=3, keepdims=0),
        make("Cast", ["any"], ["ids"], to=uint8),
        make("Mul", ["ids", "zero"], ["nothing"]),
        make("Add", ["nothing", "value"], ["same"]),
    ]
    result = "same"
    if fail_above is not None:
        # Gather refuses an index that is out of bounds while it runs.
        constants |= {
            "table": np.zeros(fail_above + 1, np.int32),
            "shape": np.array([-1], np.int64),
            "corner": np.int64(0),
        }
        nodes += [
            make("Cast", ["frame"], ["wide"], to=TensorProto.INT64),
            make("Reshape", ["wide", "shape"], ["flat"]),
            make("Gather", ["flat", "corner"], ["byte"]),
            make("Gather", ["table", "byte"], ["guard"]),
            make("Cast", ["guard"], ["guard8"], to=uint8),
            make("Add", ["same", "guard8"], ["guarded"]),
        ]
        result = "guarded"
    nodes.append(make("Identity", [result], ["mask"]))
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, (1, height, width, 3))],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, (1, height, width))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    manifest = Manifest(
        kind="onnx",
        name=f"constant-{value}",
        sha256="",
        created_by=CreatedBy("test", "0"),
        labels=labels,
        preprocess=Preprocess((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        inputs=(TensorSpec("frame", (1, height, width, 3), "uint8"),),
        outputs=(TensorSpec("mask", (1, height, width), "uint8"),),
        head="mask",
    )
    written = create_artifact(path, manifest, lambda part: onnx.save(model, part))
    return written.sha256[:12]
