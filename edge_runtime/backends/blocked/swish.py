"""Swish in blocked layout, in a graph that an older ONNX Runtime has optimised.

Its optimiser does not know that swish takes values in any order, and leaves the layout for it::

    Conv -> ReorderOutput -> QuickGelu -> ReorderInput -> Conv

Newer ones (1.31) compute it where it is. swish(0) is 0, so that padded channels stay padded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.backends.blocked.emit import DOMAIN, Emitter
from edge_runtime.backends.blocked.graph import Graph, channel_major, needed

if TYPE_CHECKING:
    import onnx

SWISH = ("QuickGelu", "com.microsoft")


def keep_swish_blocked(model: onnx.ModelProto) -> int:
    """Compute each swish of a reordered map before the map is reordered.

    Args:
        model: as ONNX Runtime's optimiser has written it on this machine; changed in place.

    Returns:
        How many there were.
    """
    graph = Graph(model.graph)
    if graph.nested:
        return 0
    nodes: list[onnx.NodeProto] = []
    blocked: dict[str, str] = {}
    for index, node in enumerate(graph.nodes):
        reorder = graph.maker(node.input[0], "ReorderOutput", DOMAIN) if node.input else None
        if (node.op_type, node.domain) != SWISH or reorder is None or not channel_major(reorder):
            nodes.append(node)
            continue
        emit = Emitter(f"blocked_swish_{index}")
        stated = graph.attributes(node)
        name = emit.node(SWISH[0], reorder.input[0], domain=SWISH[1], **stated)
        stated = graph.attributes(reorder)
        emit.node(reorder.op_type, name, domain=DOMAIN, output=node.output[0], **stated)
        nodes.extend(emit.nodes)
        blocked[node.output[0]] = name
    if blocked:
        _read_blocked(nodes, blocked)
        kept = needed(nodes, (value.name for value in model.graph.output))
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return len(blocked)


def _read_blocked(nodes: list[onnx.NodeProto], blocked: dict[str, str]) -> None:
    """Who reads a plain tensor in blocked layout reads the blocked one."""
    same = {
        node.output[0]: blocked[node.input[0]]
        for node in nodes
        if (node.op_type, node.domain) == ("ReorderInput", DOMAIN)
        and channel_major(node)
        and node.input[0] in blocked
    }
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
