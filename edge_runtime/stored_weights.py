"""Weights that an ONNX file stores as float16, back as float32.

``hyperseg export --store float16`` writes them so (`export.storage`); whoever rewrites a graph, to
quantise it or to compare it, reads it through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SUFFIX = "_float16"
"""Behind the name of a weight whose float16 values a Cast turns into it."""


def unpack_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with float32 initializers and no casts; other graphs come back as they were."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    unpacked = onnx.ModelProto()
    unpacked.CopyFrom(graph)
    stored = {t.name: t for t in unpacked.graph.initializer if t.name.endswith(SUFFIX)}
    kept = []
    for node in unpacked.graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            tensor = stored[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del unpacked.graph.node[:]
    unpacked.graph.node.extend(kept)
    return unpacked
