"""What the placement rules need to know of single ONNX operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from calibration.graph import attribute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import onnx

    from calibration.graph import GraphView
    from calibration.policy import Policy

WEIGHTED = ("Conv", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Clip")
"""What fuses with the operator before it, so that no pair goes between the two."""
SELECTIONS = (
    "Reshape", "Transpose", "Slice", "Gather", "Squeeze", "Unsqueeze", "Flatten", "Expand",
    "MaxPool", "Split", "Identity",
)  # fmt: skip
"""Puts out values of its input, unchanged."""
MOVEMENTS = (*SELECTIONS, "Concat")
"""Keeps the scale; `Resize` does so too where it is ``nearest``, but engines requantise it."""
MIN_MATMUL = 16
"""Smallest inner and outer size of a matrix product that gains from INT8."""


def weight_axis(view: GraphView, node: onnx.NodeProto, index: int) -> int | None:
    """The axis of per-channel scales of input `index`; None if it is no constant weight."""
    if index != 1 or view.constant(node.input[index]) is None:
        return None
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return 0
    return len(view.shape(node.input[1])) - 1


def refusal(view: GraphView, node: onnx.NodeProto, policy: Policy, dynamic: bool) -> str | None:
    """Why an operator stays float: a reason, "" if it has no weights, or None to quantise it.

    Args:
        view: the graph.
        node: any node.
        policy: the engine's thresholds.
        dynamic: whether operators with generated weights are wanted.
    """
    if node.op_type not in WEIGHTED:
        return ""
    if view.constant(node.input[0]) is not None:
        return "constant input"
    if view.constant(node.input[1]) is None:
        wanted = dynamic and node.op_type == policy.dynamic
        return None if wanted and _pays(view, node) else "generated weights"
    if node.op_type == "Conv":
        return _small_conv(view, node, policy)
    if makes_weights(view, node.output[0]):
        return "generates weights"
    if len(view.shape(node.input[1])) != 2:
        return "batched constant weights"
    inner, outer = view.shape(node.input[1])
    return f"too small ({inner}x{outer})" if min(inner, outer) < MIN_MATMUL else None


def _pays(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether an operator with generated weights is of a size that INT8 can speed up."""
    sizes = view.shape(node.input[1])[-2:]
    return node.op_type == "Conv" or (len(sizes) == 2 and min(sizes) >= MIN_MATMUL)


def _small_conv(view: GraphView, node: onnx.NodeProto, policy: Policy) -> str | None:
    """Thresholds: NVIDIA Model-Optimizer's for tensor cores; the image for ONNX Runtime."""
    out, per_group, *kernel = view.shape(node.input[1])
    groups, small = attribute(node, "group", 1), policy.small_channels
    first = groups == 1 and per_group <= 4
    if first and not policy.image_conv:
        return f"reads the image ({per_group} channels: float is faster)"
    if min(out, per_group) >= small:
        return None
    if groups > 1:
        fits = out % 8 == 0 and max(kernel, default=1) >= 3
    else:
        fits = (out % 8 == 0 or per_group % 8 == 0) and (max(out, per_group) >= 16 or first)
        fits = fits and len(set(kernel)) <= 1
    return None if fits else f"too small ({per_group} -> {out} channels)"


def makes_weights(view: GraphView, name: str) -> bool:
    """Whether `name`, moved and with constants added, becomes the weight of another operator."""
    for read in view.readers.get(name, ()):
        node = view.nodes[read.node]
        if node.op_type in WEIGHTED and (read.slot == 1 or _is_left_weight(view, read.node)):
            return True
        moved = node.op_type in SELECTIONS or _adds_constant(view, node)
        if moved and makes_weights(view, node.output[0]):
            return True
    return False


def _adds_constant(view: GraphView, node: onnx.NodeProto) -> bool:
    """As learned weights are added to generated ones (`DecoderConfig.base_weights`)."""
    return node.op_type == "Add" and any(view.constant(name) is not None for name in node.input)


def _is_left_weight(view: GraphView, product: str) -> bool:
    """A product of two run-time tensors: either of them may be the generated one."""
    node = view.nodes[product]
    return node.op_type == "MatMul" and view.constant(node.input[1]) is None


def residual_branch(
    view: GraphView, node: onnx.NodeProto, quantized: Collection[str]
) -> int | None:
    """Which input of an Add is the residual one; None if it does not join a quantised branch.

    The other input is the output of a quantised operator that nothing else reads: the two fuse.
    """
    if any(view.constant(name) is not None for name in node.input):
        return None
    if view.shape(node.input[0]) != view.shape(node.input[1]):
        return None
    order = list(view.producers)
    own = [
        index
        for index, name in enumerate(node.input)
        if name in quantized and view.sole_reader(name) is node
    ]
    if not own:
        return None
    fused = max(own, key=lambda index: order.index(node.input[index]))
    return 1 - fused


def scale_groups(view: GraphView, quantized: Iterable[str]) -> dict[str, str]:
    """Tensor -> first member of its group: data movement must not change a scale."""
    parent = {name: name for name in (*view.inputs, *view.producers)}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in view.nodes.values():
        if node.op_type in MOVEMENTS:
            for _, name in view.run_time_inputs(node):
                parent[root(name)] = root(node.output[0])
    first: dict[str, str] = {}
    wanted = set(quantized)
    return {name: first.setdefault(root(name), name) for name in parent if name in wanted}


def sign_and_bound(view: GraphView, name: str) -> tuple[bool, float | None]:
    """(may be negative, largest value) of a run-time tensor, as far as the graph shows it."""
    node = view.producers.get(name)
    if node is None:
        return True, None
    if node.op_type == "Relu":
        return False, None
    if node.op_type == "Clip":
        low, high = (view.value(part) if part else None for part in (*node.input, "", "")[1:3])
        return (
            low is None or float(low) < 0,
            None if high is None else float(high),
        )
    if node.op_type in (*MOVEMENTS, "ReduceMean", "GlobalAveragePool", "Resize"):
        if node.op_type == "Resize" and _overshoots(node):
            return True, None
        parts = [sign_and_bound(view, part) for _, part in view.run_time_inputs(node)]
        bounds = [bound for _, bound in parts]
        whole = None if None in bounds else max(b for b in bounds if b is not None)
        constant = any(part and view.constant(part) for part in _values(node))
        return any(signed for signed, _ in parts) or constant, None if constant else whole
    return True, None


def _values(node: onnx.NodeProto) -> tuple[str, ...]:
    """The inputs that carry values, not shapes or indices."""
    return tuple(node.input) if node.op_type == "Concat" else tuple(node.input[:1])


def _overshoots(node: onnx.NodeProto) -> bool:
    return any(a.name == "mode" and a.s == b"cubic" for a in node.attribute)


def static_nodes(view: GraphView) -> list[onnx.NodeProto]:
    """Nodes that neither make generated weights nor are reached by them."""
    reached: set[str] = set()
    static = []
    for node in view.nodes.values():
        weighted = node.op_type in WEIGHTED
        generated = weighted and all(view.constant(name) is None for name in node.input[:2])
        maker = weighted and makes_weights(view, node.output[0])
        if generated or maker or any(name in reached for name in node.input):
            reached.update(node.output)
        else:
            static.append(node)
    return static


def multiply_accumulates(view: GraphView, node: onnx.NodeProto) -> int:
    """Of a weighted operator, for one frame; 0 for any other node."""
    if node.op_type not in WEIGHTED:
        return 0
    made = math.prod(view.shape(node.output[0]))
    if node.op_type == "Conv":
        return made * math.prod(view.shape(node.input[1])[1:])
    shape = view.shape(node.input[0])
    transposed = node.op_type == "Gemm" and attribute(node, "transA", 0)
    return made * (shape[-2] if transposed else shape[-1])
