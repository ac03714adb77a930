"""A graph with the look-ups that rules need: shapes, constants, makers and readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_COPIES = ("Identity", "QuantizeLinear", "DequantizeLinear", "Cast")


@dataclass
class Facts:
    """An index of one ONNX graph whose types are inferred as far as they can be."""

    graph: onnx.ModelProto
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    """By tensor; None for a size that is not known."""
    types: dict[str, int] = field(default_factory=dict)
    """ONNX element types by tensor."""
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    readers: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        inner = self.graph.graph
        self._tensors = {tensor.name: tensor for tensor in inner.initializer}
        for tensor in inner.initializer:
            self.shapes[tensor.name] = tuple(tensor.dims)
            self.types[tensor.name] = tensor.data_type
        for value in (*inner.input, *inner.output, *inner.value_info):
            kind = value.type.tensor_type
            self.types[value.name] = kind.elem_type
            if kind.HasField("shape"):
                self.shapes[value.name] = tuple(
                    dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim
                )
        for node in inner.node:
            for name in node.output:
                self.makers[name] = node
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
            if node.op_type == "Constant":
                for item in node.attribute:
                    if item.name == "value":
                        self._tensors[node.output[0]] = item.t
        self.inputs = {value.name for value in inner.input} - set(self._tensors)
        self.outputs = {value.name for value in inner.output}

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """In topological order."""
        return list(self.graph.graph.node)

    @property
    def opset(self) -> int:
        """Of the default domain."""
        versions = {entry.domain: int(entry.version) for entry in self.graph.opset_import}
        return versions.get("") or versions.get("ai.onnx", 0)

    def value(self, name: str) -> NDArray[Any] | None:
        """A constant's value; None for a run-time tensor."""
        from onnx import numpy_helper

        if name not in self._tensors:
            return None
        found: NDArray[Any] = numpy_helper.to_array(self._tensors[name])
        return found

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is known at build time, also behind Q/DQ, casts and copies."""
        while name not in self._tensors:
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in _COPIES:
                return False
            name = maker.input[0]
        return True


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """A node's attribute as a Python value."""
    from onnx import helper

    for item in node.attribute:
        if item.name == name:
            value = helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return default
