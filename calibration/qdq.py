"""Q/DQ pairs in an ONNX graph: insertion, and removal that gives back the original bytes.

Nothing of the original is altered but the names that quantised uses read: float weights stay, and
their pair is folded by the engine. So `strip` restores the model bit by bit, and inserting again
replaces what was inserted before. Not so once weights are stored as integers alone
(`calibration.storage.store_int8`): such a model is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from calibration.graph import DEQUANTIZE, QUANTIZE, GraphView
from edge_runtime.errors import ArtifactError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

    from calibration.policy import Placement, Policy, QuantizedWeight

Q, DQ, SCALE, ZERO = "__q", "__dq", "__scale", "__zero"
"""Endings of the names we add to a tensor's own; nodes are named after what they put out."""
INT8_MAX = 127
UINT8_MAX = 255
INT32_SAFE = float(2**30)
"""Largest quantised bias: engines hold it in int32 beside the sum of the products."""


class Grid(NamedTuple):
    """The values a quantised tensor can take: ``scale * (q - zero_point)``."""

    scale: np.float32
    zero_point: int
    dtype: str
    """``int8`` or ``uint8``."""


def activation_grid(policy: Policy, *, signed: bool, bound: float | None, amax: float) -> Grid:
    """The grid of a run-time tensor.

    Args:
        policy: int8, or uint8 whose zero point is 0 where nothing is negative.
        signed: whether values may be negative.
        bound: largest value the graph allows, or None.
        amax: largest magnitude to represent, above 0.

    Raises:
        OptionError: `amax` is no positive number that float32 can hold.
    """
    if not (np.isfinite(amax) and amax > 0 and np.float32(amax / UINT8_MAX) > 0):
        raise OptionError(f"a range of {amax} cannot be quantised; expected a positive number")
    limit = bound if bound is not None and bound > 0 else None
    amax = amax if limit is None else min(amax, limit)
    steps = UINT8_MAX if policy.unsigned and not signed else INT8_MAX
    scale = np.float32(amax / steps)
    if limit is not None and float(scale) * steps > limit:
        # Rounded up, the grid would reach past a Clip, and engines would keep the Clip.
        scale = np.nextafter(scale, np.float32(0))
    if not policy.unsigned:
        return Grid(scale, 0, "int8")
    return Grid(scale, 128 if signed else 0, "uint8")


def weight_scales(
    weight: NDArray[np.floating],
    axis: int,
    bias: NDArray[np.floating] | None = None,
    input_scale: float | None = None,
) -> NDArray[np.float32]:
    """(C,) scales that map the largest weight of each channel to 127.

    Args:
        weight: of any rank.
        axis: the channels.
        bias: (C,) or None; a channel whose weights all but vanished is given a coarser scale, so
            that its bias still fits the int32 in which engines hold it.
        input_scale: of the input's grid, with `bias`.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    amax = np.abs(weight).max(axis=others).astype(np.float64)
    scales = amax / INT8_MAX
    if bias is not None and input_scale is not None:
        scales = np.maximum(scales, np.abs(bias) / (INT32_SAFE * input_scale))
    tiny = float(np.finfo(np.float32).tiny)
    return np.where(scales > tiny, scales, 1.0).astype(np.float32)


def insert(
    model: onnx.ModelProto, placement: Placement, ranges: Mapping[str, float]
) -> onnx.ModelProto:
    """A copy of `model` with the pairs of `placement`; pairs of an earlier insertion are replaced.

    Args:
        model: the graph that was placed, with or without our pairs.
        placement: what gets a pair.
        ranges: largest magnitude to represent, of every placed tensor.

    Returns:
        The quantised graph, accepted by the ONNX checker.

    Raises:
        OptionError: a tensor has no range, or an unusable one.
        ArtifactError: the model has Q/DQ nodes of other origin.
    """
    import onnx

    work = strip(model)
    view = GraphView(work)
    grids = grids_of(placement, ranges)
    behind: dict[str, list[onnx.NodeProto]] = {}
    for name, grid in grids.items():
        scale = _constant(work, name + SCALE, np.asarray(grid.scale))
        zero = _constant(work, name + ZERO, np.asarray(grid.zero_point, grid.dtype))
        behind[name] = _pair(name, scale, zero)
    front = [
        node for weight in placement.weights for node in _weight_pair(work, view, weight, grids)
    ]
    _redirect(work, placement)
    front += [node for value in work.graph.input for node in behind.get(value.name, ())]
    ordered = list(front)
    for node in work.graph.node:
        ordered.append(node)
        for name in node.output:
            ordered += behind.get(name, ())
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del work.graph.node[:]
    work.graph.node.extend(copies)
    onnx.checker.check_model(work, full_check=True)
    return work


def strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without our Q/DQ pairs: bit-equal to the model they were inserted into.

    Raises:
        ArtifactError: the model has Q/DQ nodes that are not ours, or its float weights are gone.
    """
    import onnx

    work = onnx.ModelProto()
    work.CopyFrom(model)
    graph = work.graph
    kept = []
    for node in graph.node:
        if node.op_type not in (QUANTIZE, DEQUANTIZE):
            kept.append(node)
        elif not node.name.endswith((Q, DQ)):
            raise ArtifactError(
                f"the model has a {node.op_type} node {node.name!r} that was not inserted here; "
                "start from the float model"
            )
    originals = {
        node.output[0]: node.output[0].removesuffix(DQ)
        for node in graph.node
        if node.op_type == DEQUANTIZE
    }
    if not originals:
        return work
    stored = dict.fromkeys(tensor.name for tensor in graph.initializer)
    gone = [
        name.removesuffix(Q)
        for name in stored
        if name.endswith(Q) and name.removesuffix(Q) not in stored
    ]
    if gone:
        raise ArtifactError(
            f"the float values of {len(gone)} weights, such as {gone[0]!r}, are gone: they are "
            "stored as INT8; start from the float model"
        )
    for node in kept:
        for index, name in enumerate(node.input):
            if name in originals:
                node.input[index] = originals[name]
    ours = {name + ending for name in originals.values() for ending in (SCALE, ZERO, Q)}
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    tensors = [tensor for tensor in graph.initializer if tensor.name not in ours]
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    return work


def grids_of(placement: Placement, ranges: Mapping[str, float]) -> dict[str, Grid]:
    """Grid of every placed tensor; members of a group share the widest range and the sign.

    Raises:
        OptionError: a tensor has no range, or an unusable one.
    """
    missing = [tensor.name for tensor in placement.tensors if tensor.name not in ranges]
    if missing:
        raise OptionError(
            f"{len(missing)} tensors have no range, such as {missing[0]!r}; calibrate this model "
            "with this policy"
        )
    groups: dict[str, list[int]] = {}
    for index, tensor in enumerate(placement.tensors):
        groups.setdefault(tensor.group, []).append(index)
    grids = {}
    for indices in groups.values():
        members = [placement.tensors[index] for index in indices]
        bounds = [member.bound for member in members]
        bound = None if None in bounds else max(b for b in bounds if b is not None)
        grid = activation_grid(
            placement.policy,
            signed=any(member.signed for member in members),
            bound=bound,
            amax=max(ranges[member.name] for member in members),
        )
        grids.update({member.name: grid for member in members})
    return {tensor.name: grids[tensor.name] for tensor in placement.tensors}


def _weight_pair(
    work: onnx.ModelProto, view: GraphView, weight: QuantizedWeight, grids: Mapping[str, Grid]
) -> list[onnx.NodeProto]:
    values = view.value(weight.name)
    assert values is not None
    reader = view.nodes[weight.reads[0].node]
    bias = view.value(reader.input[2]) if len(reader.input) > 2 else None
    grid = grids.get(reader.input[0])
    scales = weight_scales(
        values.astype(np.float32),
        weight.axis,
        None if bias is None else bias.astype(np.float32),
        None if grid is None else float(grid.scale),
    )
    scale = _constant(work, weight.name + SCALE, scales)
    zero = _constant(work, weight.name + ZERO, np.zeros(len(scales), np.int8))
    return _pair(weight.name, scale, zero, axis=weight.axis)


def _constant(work: onnx.ModelProto, name: str, value: NDArray[np.generic]) -> str:
    from onnx import numpy_helper

    work.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _pair(name: str, scale: str, zero: str, axis: int = 1) -> list[onnx.NodeProto]:
    from onnx import helper

    # For a single scale the axis means nothing; 1 is its default.
    quantize = helper.make_node(QUANTIZE, [name, scale, zero], [name + Q], name + Q, axis=axis)
    dequantize = helper.make_node(
        DEQUANTIZE, [name + Q, scale, zero], [name + DQ], name + DQ, axis=axis
    )
    return [quantize, dequantize]


def _redirect(work: onnx.ModelProto, placement: Placement) -> None:
    """Let the quantised uses read the dequantised tensors."""
    nodes = {node.output[0]: node for node in work.graph.node}
    uses = [(tensor.name, tensor.reads) for tensor in placement.tensors]
    uses += [(weight.name, weight.reads) for weight in placement.weights]
    for name, reads in uses:
        for read in reads:
            nodes[read.node].input[read.slot] = name + DQ
