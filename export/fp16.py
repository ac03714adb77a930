"""A strongly typed FP16 graph of an FP32 one: the types lie in the graph, not in builder flags.

Every node is either FP16 or FP32; casts stand exactly where the two meet. What schema, arithmetic
or `keep` forbid stays FP32, and so does the interface: the graph takes and gives what it took and
gave. Which nodes to keep is measured in `export.fp16_policy`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

FLOAT, FLOAT16 = 1, 10
"""ONNX element types."""
MAX_FP16 = 65504.0
"""Largest finite half-precision number."""

_OPERATORS = """
    Abs Add ArgMax AveragePool Clip Concat Conv ConvTranspose DepthToSpace DequantizeLinear Div
    Einsum Elu Expand Flatten Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish
    Identity LeakyRelu MatMul Max MaxPool Min Mul Neg PRelu Pad QuantizeLinear ReduceMax ReduceMean
    ReduceMin Relu Reshape Resize Sigmoid Slice SpaceToDepth Split Squeeze Sub Tanh Tile Transpose
    Unsqueeze Where
"""
FP16_OPERATORS = frozenset(_OPERATORS.split())
"""Operators that may run in half precision; all others (Exp, Pow, Softmax, norms) stay FP32."""
WEIGHTED_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Where the network begins: what stands before the first of them is preprocessing."""


def to_fp16(graph: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Type every node of `graph` as FP16 or FP32 and cast where they meet.

    Args:
        graph: FP32 with static shapes and named nodes (see `prepared`).
        keep: names of nodes that stay FP32, besides those that must.

    Returns:
        A checked graph of the same inputs, outputs and opset.

    Raises:
        ArtifactError: control flow, a weight beyond half precision's range, or a kept name that is
            no node.
    """
    import onnx

    source = prepared(graph)
    unknown = set(keep) - {node.name for node in source.graph.node}
    if unknown:
        raise ArtifactError(f"the graph has no node {sorted(unknown)[0]!r} to keep in FP32")
    typing = _Typing(source, half_nodes(source, keep))
    for node in source.graph.node:
        typing.add(node)
    typing.finish()
    result = onnx.ModelProto()
    result.CopyFrom(source)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(typing.nodes)
    result.graph.initializer.extend(typing.weights.values())
    onnx.checker.check_model(result, full_check=True)
    return onnx.shape_inference.infer_shapes(result, check_type=True, strict_mode=True)


def prepared(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with inferred types, constants as initializers, and a unique name for every node.

    Weights that are stored as float16 and cast when the model is loaded become FP32 weights.

    Raises:
        ArtifactError: the graph has control flow.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    nodes, names = [], {node.name for node in copy.graph.node}
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    for index, node in enumerate(copy.graph.node):
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            raise ArtifactError(
                f"node {node.name!r} is a {node.op_type}: control flow has no static types here; "
                "export the network with fixed shapes and without branches"
            )
        if (tensor := _as_constant(node, constants)) is not None:
            constants[tensor.name] = tensor
            continue
        if not node.name:
            node.name = unique(f"node_{index}", names)
        nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    read = {name for node in kept for name in node.input}
    weights = [onnx.TensorProto.FromString(t.SerializeToString()) for t in constants.values()]
    del copy.graph.node[:], copy.graph.initializer[:]
    copy.graph.node.extend(kept)
    copy.graph.initializer.extend(tensor for tensor in weights if tensor.name in read)
    return onnx.shape_inference.infer_shapes(copy, check_type=True, strict_mode=True)


def _as_constant(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> onnx.TensorProto | None:
    """The tensor that a Constant node, or a Cast of a constant to FP32, always gives."""
    from onnx import TensorProto, numpy_helper

    if node.op_type == "Constant" and node.attribute[0].name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        return tensor
    if node.op_type == "Cast" and node.input[0] in constants and node.attribute[0].i == FLOAT:
        values = numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
        return numpy_helper.from_array(values, node.output[0])
    return None


def element_types(graph: onnx.ModelProto) -> dict[str, int]:
    """The ONNX element type of every tensor whose type is known."""
    types = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def half_nodes(graph: onnx.ModelProto, keep: Collection[str] = ()) -> dict[str, frozenset[int]]:
    """Nodes that become FP16: name to the positions of the inputs that are converted with them."""
    types, opset = element_types(graph), _opset(graph)
    early = preprocessing(graph)
    found = {}
    for node in graph.graph.node:
        if node.name in keep or node.name in early or node.op_type not in FP16_OPERATORS:
            continue
        positions = _typed_inputs(node, opset, types)
        floats = {types.get(name) for name in node.output}
        if positions or FLOAT in floats:
            found[node.name] = positions
    return {name: positions for name, positions in found.items() if positions}


def preprocessing(graph: onnx.ModelProto) -> set[str]:
    """Nodes fed by the graph's inputs alone, before any weighted operator: normalisation."""
    constants = {tensor.name for tensor in graph.graph.initializer} | {""}
    early = {value.name for value in graph.graph.input}
    found = set()
    for node in graph.graph.node:
        fed = [name for name in node.input if name not in constants]
        if fed and node.op_type not in WEIGHTED_OPERATORS and early.issuperset(fed):
            found.add(node.name)
            early.update(node.output)
    return found


def _typed_inputs(node: onnx.NodeProto, opset: int, types: Mapping[str, int]) -> frozenset[int]:
    """Inputs whose type the operator's schema ties to its data; empty if it may not be FP16.

    So the scales of Resize, always FP32, are left alone, and the bounds of Clip are not.
    """
    import onnx

    if node.domain not in ("", "ai.onnx"):
        return frozenset()
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    # What carries the data: a type parameter of the outputs, or of the first input (ArgMax).
    data = {out.type_str for out in schema.outputs} | {schema.inputs[0].type_str}
    positions = []
    for position, name in enumerate(node.input):
        formal = schema.inputs[min(position, len(schema.inputs) - 1)].type_str
        if not name or types.get(name) != FLOAT or formal not in data:
            continue
        if "tensor(float16)" not in allowed.get(formal, ()):
            return frozenset()
        positions.append(position)
    return frozenset(positions)


@dataclass
class _Typing:
    """The typed graph as it grows, node by node in topological order."""

    source: onnx.ModelProto
    half: Mapping[str, frozenset[int]]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._types = element_types(self.source)
        self._constants = {tensor.name: tensor for tensor in self.source.graph.initializer}
        self._outputs = {value.name for value in self.source.graph.output}
        self._names = set(self._types) | {node.name for node in self.source.graph.node}
        self._have: dict[tuple[str, int], str] = {
            (value.name, self._types[value.name]): value.name for value in self.source.graph.input
        }

    def add(self, node: onnx.NodeProto) -> None:
        """Append `node` with its inputs brought to its type."""
        import onnx

        positions = self.half.get(node.name, frozenset())
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for position, name in enumerate(node.input):
            if name:
                wanted = FLOAT16 if position in positions else self._types.get(name, 0)
                copy.input[position] = self._as(name, wanted)
        for position, name in enumerate(node.output):
            kind = self._types.get(name, 0)
            if positions and kind == FLOAT:
                kind = FLOAT16
                if name in self._outputs:
                    copy.output[position] = unique(f"{name}_fp16", self._names)
            self._have[name, kind] = copy.output[position]
        self.nodes.append(copy)

    def finish(self) -> None:
        """Bring graph outputs that are FP16 now back to FP32, under their own names."""
        for name in self._outputs:
            if (name, FLOAT16) in self._have and (name, FLOAT) not in self._have:
                self._cast(self._have[name, FLOAT16], name, FLOAT)

    def _as(self, name: str, kind: int) -> str:
        if (name, kind) in self._have:
            return self._have[name, kind]
        if name in self._constants:
            found = self._constant(name, kind)
        else:
            source = self._have[name, FLOAT if kind == FLOAT16 else FLOAT16]
            back = kind == FLOAT and name in self._outputs
            found = name if back else unique(_suffixed(name, kind), self._names)
            self._cast(source, found, kind)
        self._have[name, kind] = found
        return found

    def _constant(self, name: str, kind: int) -> str:
        import onnx

        tensor = self._constants[name]
        if kind != FLOAT16 or tensor.data_type != FLOAT:
            self.weights[name] = tensor
            return name
        values = onnx.numpy_helper.to_array(tensor)
        if float(np.abs(values).max(initial=0.0)) > MAX_FP16:
            raise ArtifactError(
                f"weight {name!r} reaches {np.abs(values).max():.3g}, beyond half precision's "
                f"{MAX_FP16:.0f}; keep the node that reads it in FP32"
            )
        found = unique(f"{name}_fp16", self._names)
        self.weights[found] = onnx.numpy_helper.from_array(values.astype(np.float16), found)
        return found

    def _cast(self, source: str, target: str, kind: int) -> None:
        import onnx

        name = unique(f"cast_{target}", self._names)
        self.nodes.append(onnx.helper.make_node("Cast", [source], [target], name=name, to=kind))


def unique(name: str, taken: set[str]) -> str:
    """`name`, or `name` with a number behind it, that is not in `taken`; it is added there."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


def _suffixed(name: str, kind: int) -> str:
    return f"{name}_fp{16 if kind == FLOAT16 else 32}"


def _opset(graph: onnx.ModelProto) -> int:
    return next(
        int(entry.version) for entry in graph.opset_import if entry.domain in ("", "ai.onnx")
    )
