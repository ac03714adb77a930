"""Questions to an ONNX graph: who makes a tensor, who alone reads it, what is constant."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray


class Graph:
    """An index of a graph, valid while nobody changes the graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        from onnx import AttributeProto, TensorProto, helper, numpy_helper

        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self._makers = {name: node for node in self.nodes for name in node.output}
        self._readers = {name: node for node in self.nodes for name in node.input}
        self._uses = Counter(name for node in self.nodes for name in node.input)
        self._uses.update(value.name for value in graph.output)
        fed = {value.name for value in graph.input}
        stated = (*graph.value_info, *graph.input, *graph.output)
        self._types = {value.name: value.type for value in stated}
        self._constants = {t.name: t for t in graph.initializer if t.name not in fed}
        inner = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
        self.nested = any(a.type in inner for node in self.nodes for a in node.attribute)
        """Whether a node has a graph of its own, which may read tensors of this one unseen."""
        self._array = numpy_helper.to_array
        self._value = helper.get_attribute_value
        self._float = TensorProto.FLOAT

    def maker(self, name: str, operator: str, domain: str = "") -> onnx.NodeProto | None:
        """The node that makes a tensor, if it is such an operator, by default a standard one."""
        return _of_kind(self._makers.get(name), operator, domain)

    def reader(self, name: str, operator: str) -> onnx.NodeProto | None:
        """The only node that reads a tensor, if it is such a standard operator."""
        return _of_kind(self._readers.get(name), operator) if self.uses(name) == 1 else None

    def uses(self, name: str) -> int:
        """How often a tensor is read, as an output of the graph too."""
        return self._uses[name]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape that the file states for a tensor, if it is a fixed one."""
        if name not in self._types:
            return None
        dimensions = self._types[name].tensor_type.shape.dim
        sizes = tuple(dimension.dim_value for dimension in dimensions)
        return sizes if all(sizes) else None

    def attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """The attributes that a node states."""
        return {attribute.name: self._value(attribute) for attribute in node.attribute}

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of an initializer, or of one that is stored smaller and cast to float32."""
        if name in self._constants:
            return self._array(self._constants[name])
        cast = self.maker(name, "Cast")
        if cast is None or self.attributes(cast).get("to") != self._float:
            return None
        stored = self._constants.get(cast.input[0])
        return None if stored is None else self._array(stored).astype("float32")

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A constant vector of integers: a shape, the bounds of a slice."""
        value = self.constant(name)
        if value is None or value.dtype.kind != "i" or value.ndim != 1:
            return None
        return tuple(value.tolist())

    def floats(self, name: str) -> NDArray[np.float32] | None:
        """A constant of type float32."""
        value = self.constant(name)
        return value if value is not None and value.dtype == "float32" else None


def needed(nodes: Sequence[onnx.NodeProto], wanted: Iterable[str]) -> list[onnx.NodeProto]:
    """Nodes whose outputs somebody reads, of nodes in the order of their computation."""
    kept, read = [], set(wanted)
    for node in reversed(nodes):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    return kept[::-1]


def channel_major(reorder: onnx.NodeProto) -> bool:
    """Whether the plain side of a reordering is (N, C, H, W)."""
    return all(a.i == 0 for a in reorder.attribute if a.name == "channels_last")


def _of_kind(node: onnx.NodeProto | None, operator: str, domain: str = "") -> onnx.NodeProto | None:
    if node is None or node.op_type != operator:
        return None
    found = "" if node.domain == "ai.onnx" else node.domain
    return node if found == domain else None
