"""Squeeze-and-excite in a graph that ONNX Runtime has already optimised.

A gate multiplies the map of a block, channel by channel, and a pointwise convolution reads the
product. ONNX Runtime's optimiser keeps the convolutions and the swish in blocked layout, but knows
neither the mean over all pixels nor the product there, so that the map leaves the layout for both
and enters it again::

    y -> ReorderOutput -> ReduceMean -> ReorderInput -> Conv -> ... -> Conv -> ReorderOutput -> gate
         ReorderOutput -> Mul(., gate) -> ReorderInput -> Conv

Here the mean is taken of the blocked map, and the gate multiplies the weights of the convolution in
place of the map: a pass over O x C weights instead of one over C maps. Padded channels stay 0, as
swish(0) is, and their weights are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.blocked.emit import DOMAIN, Emitter
from edge_runtime.backends.blocked.graph import Graph, channel_major, needed

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

POINTWISE = {
    "auto_pad": b"NOTSET",
    "dilations": [1, 1],
    "group": 1,
    "kernel_shape": [1, 1],
    "pads": [0, 0, 0, 0],
    "strides": [1, 1],
}
"""What a recognised convolution may state; what it does not state is the same by default."""
ACTIVATION = ("activation", "activation_params", "alpha")
"""Attributes that say what follows the sum: none of our business."""
PIXELS = ((2, 3), (-2, -1), (-1, -2))
"""Axes of a mean over all pixels."""


@dataclass(frozen=True)
class Gate:
    """A gated map in front of a pointwise convolution."""

    convolution: onnx.NodeProto
    image: str
    """Blocked (N, C', H, W)."""
    factors: str
    """Blocked (1, C', 1, 1): the gate, the same for all N."""
    weights: NDArray[np.float32]
    """(O', C', 1, 1); in memory (O' / B, C', B)."""


@dataclass(frozen=True)
class Mean:
    """The mean of a map over its pixels."""

    reorder: onnx.NodeProto
    """It puts out (N, C', 1, 1), blocked."""
    image: str
    """Blocked (N, C', H, W)."""
    width: int
    """W."""


def fold_gates(model: onnx.ModelProto, block: int) -> int:
    """Move gates from maps into weights, and means into the blocked layout.

    Args:
        model: as ONNX Runtime's optimiser has written it on this machine; changed in place.
        block: channels of a block, see `edge_runtime.backends.blocked.probe`.

    Returns:
        How many gates there were; 0 leaves the model as it is.
    """
    graph = Graph(model.graph)
    gates = [] if graph.nested else find_gates(graph, block)
    if not gates:
        return 0
    nodes = list(model.graph.node)
    for index, gate in enumerate(gates):
        emitter = Emitter(f"folded_gate_{index}")
        _fold(gate, block, emitter)
        place = next(i for i, node in enumerate(nodes) if node is gate.convolution)
        nodes[place:place] = emitter.nodes
        model.graph.initializer.extend(emitter.constants)
    for index, mean in enumerate(find_means(graph)):
        emitter = Emitter(f"blocked_mean_{index}")
        pool(mean, emitter)
        place = next(i for i, node in enumerate(nodes) if node is mean.reorder)
        nodes[place : place + 1] = emitter.nodes
    _replace(model.graph, needed(nodes, {value.name for value in model.graph.output}))
    return len(gates)


def find_gates(graph: Graph, block: int) -> list[Gate]:
    """All gates of a graph without inner graphs that have exactly the known form, in its order."""
    found = (_gate(graph, node, block) for node in graph.nodes if _is(node, "Conv"))
    return [gate for gate in found if gate is not None]


def find_means(graph: Graph) -> list[Mean]:
    """All means over the pixels of a blocked map that go back to the blocked layout."""
    found = (_mean(graph, node) for node in graph.nodes if _is(node, "ReorderInput"))
    return [mean for mean in found if mean is not None]


def _gate(graph: Graph, node: onnx.NodeProto, block: int) -> Gate | None:
    stated = {k: v for k, v in graph.attributes(node).items() if k not in ACTIVATION}
    weights = graph.floats(node.input[1])
    product = _plain(graph, node.input[0], "Mul")
    if {**POINTWISE, **stated} != POINTWISE or weights is None or product is None:
        return None
    # Another reader of the product would have to get it as ever.
    if graph.uses(node.input[0]) != 1 or graph.uses(product.output[0]) != 1:
        return None
    outputs, channels, *kernel = weights.shape
    if kernel != POINTWISE["kernel_shape"] or outputs % block or channels % block:
        return None
    for image, gate in (product.input, reversed(product.input)):
        shape, blocked = graph.shape(image), _blocked(graph, image)
        if shape is None or graph.shape(gate) != (1, shape[1], 1, 1):
            continue
        # One pixel is the same in both layouts but for the padding.
        factors = _blocked(graph, gate) or (gate if shape[1] == channels else None)
        if blocked and factors and channels - block < shape[1] <= channels:
            return Gate(node, blocked, factors, weights)
    return None


def _mean(graph: Graph, node: onnx.NodeProto) -> Mean | None:
    mean = _plain(graph, node.output[0], "ReduceMean")
    if mean is None or len(mean.input) != 2 or graph.integers(mean.input[1]) not in PIXELS:
        return None
    shape, image = graph.shape(mean.input[0]), _blocked(graph, mean.input[0])
    if graph.attributes(mean).get("keepdims", 1) != 1 or shape is None or image is None:
        return None
    return Mean(node, image, shape[3])


def _plain(graph: Graph, name: str, operator: str) -> onnx.NodeProto | None:
    """The standard operator that computes in plain layout what a tensor is in blocked layout."""
    reorder = graph.maker(name, "ReorderInput", DOMAIN)
    if reorder is None or not channel_major(reorder):
        return None
    return graph.maker(reorder.input[0], operator)


def _blocked(graph: Graph, name: str) -> str | None:
    """What a plain tensor was in blocked layout."""
    reorder = graph.maker(name, "ReorderOutput", DOMAIN)
    if reorder is None or not channel_major(reorder):
        return None
    return str(reorder.input[0])


def _is(node: onnx.NodeProto, operator: str) -> bool:
    return node.op_type == operator and node.domain == DOMAIN


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Put nodes in the place of all others, and drop constants that nobody reads any more."""
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    for held, kept in ((graph.node, nodes), (graph.initializer, constants)):
        del held[:]
        held.extend(kept)


def _fold(gate: Gate, block: int, emit: Emitter) -> None:
    outputs, channels = gate.weights.shape[:2]
    rows = gate.weights.reshape(outputs // block, channels * block)
    # Each factor once for all outputs of a block: long runs are multiplied faster than B at a time.
    factors = emit.reshape(gate.factors, channels, 1)
    factors = emit.node("MatMul", factors, emit.constant(np.ones((1, block), np.float32)))
    factors = emit.reshape(factors, 1, channels * block)
    weights = emit.node("Mul", emit.constant(rows), factors)
    weights = emit.reshape(weights, outputs, channels, 1, 1)
    gate.convolution.input[0] = gate.image
    gate.convolution.input[1] = weights


def pool(mean: Mean, emit: Emitter) -> None:
    """Emit a mean in blocked layout."""
    # Rows first: one running sum over all pixels of a large map would lose digits.
    rows = emit.node(
        "AveragePool", mean.image, domain=DOMAIN, kernel_shape=[1, mean.width], strides=[1, 1]
    )
    emit.node("GlobalAveragePool", rows, domain=DOMAIN, output=mean.reorder.output[0])
