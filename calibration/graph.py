"""A read-only index of an ONNX graph: who makes a tensor, who reads it, what is constant."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx
    from numpy.typing import NDArray

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_TRANSPARENT = ("Identity", DEQUANTIZE, QUANTIZE)
"""What a constant may pass through and still be one."""


class Read(NamedTuple):
    """One use of a tensor."""

    node: str
    """The reading node, by its first output: names of nodes may be empty or shared."""
    slot: int
    """Which of its inputs."""


class GraphView:
    """Look-ups over one model; the model must not change while the view is in use.

    Args:
        model: with an acyclic, sorted graph, as the ONNX checker demands.

    Raises:
        ArtifactError: shapes cannot be inferred: the model contradicts itself.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        graph = model.graph
        self.nodes: dict[str, onnx.NodeProto] = {node.output[0]: node for node in graph.node}
        self.producers: dict[str, onnx.NodeProto] = {
            name: node for node in graph.node for name in node.output if name
        }
        self.readers: dict[str, list[Read]] = defaultdict(list)
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name:
                    self.readers[name].append(Read(node.output[0], index))
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = tuple(value.name for value in graph.input)
        self.outputs = tuple(value.name for value in graph.output)
        try:
            inferred = onnx.shape_inference.infer_shapes(model).graph
        except onnx.shape_inference.InferenceError as error:
            raise ArtifactError(f"the model's shapes contradict each other: {error}") from error
        self._types = {
            value.name: value.type.tensor_type
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
        }

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor or constant; empty where it is unknown."""
        if name in self.initializers:
            return tuple(self.initializers[name].dims)
        found = self._types.get(name)
        return tuple(dim.dim_value for dim in found.shape.dim) if found is not None else ()

    def is_float(self, name: str) -> bool:
        """Whether a run-time tensor holds float32 values."""
        found = self._types.get(name)
        return found is not None and found.elem_type == 1

    def constant(self, name: str) -> str | None:
        """The initializer behind `name`, through copies and Q/DQ; None for a run-time tensor.

        Generated weights have known shapes too, so a shape says nothing: only the chain decides.
        """
        while name not in self.initializers:
            node = self.producers.get(name)
            if node is None or node.op_type not in _TRANSPARENT:
                return name if node is not None and node.op_type == "Constant" else None
            name = node.input[0]
        return name

    def value(self, name: str) -> NDArray[np.generic] | None:
        """The array of a constant; None for a run-time tensor."""
        from onnx import numpy_helper

        if name in self.initializers:
            return np.asarray(numpy_helper.to_array(self.initializers[name]))
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant":
            return np.asarray(numpy_helper.to_array(node.attribute[0].t))
        return None

    def run_time_inputs(self, node: onnx.NodeProto) -> Iterator[tuple[int, str]]:
        """(index, name) of the inputs of `node` that are not constants."""
        for index, name in enumerate(node.input):
            if name and self.constant(name) is None:
                yield index, name

    def sole_reader(self, name: str) -> onnx.NodeProto | None:
        """The only node that reads `name`; None if several do, or it leaves the graph."""
        reads = self.readers.get(name, [])
        if len(reads) != 1 or name in self.outputs:
            return None
        return self.nodes[reads[0].node]


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)
