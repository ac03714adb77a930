"""Indices in half the bytes: the exporter writes every index as int64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def narrow_indices(graph: onnx.ModelProto) -> None:
    """Store constant indices of Gather nodes as int32, in place, where nothing else reads them.

    Args:
        graph: any model; engines take either type.
    """
    from onnx import numpy_helper

    others = {
        name
        for node in graph.graph.node
        for slot, name in enumerate(node.input)
        if (node.op_type, slot) != ("Gather", 1)
    }
    others |= {value.name for value in graph.graph.output}
    read = {node.input[1] for node in graph.graph.node if node.op_type == "Gather"} - others
    narrowed = set()
    for tensor in graph.graph.initializer:
        if tensor.name not in read:
            continue
        indices = numpy_helper.to_array(tensor)
        limits = np.iinfo(np.int32)
        small = not indices.size or (indices.min() >= limits.min and indices.max() <= limits.max)
        if indices.dtype == np.int64 and small:
            tensor.CopyFrom(numpy_helper.from_array(indices.astype(np.int32), tensor.name))
            narrowed.add(tensor.name)
    # What was inferred of them says int64.
    kept = [value for value in graph.graph.value_info if value.name not in narrowed]
    del graph.graph.value_info[:]
    graph.graph.value_info.extend(kept)
