"""A placement told in the network's own module names, for quantisation-aware training.

Torch code has no names for tensors. It has names for convolutions, and these are the names of the
weights in the exported graph; so each quantised tensor is told by the convolutions around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calibration.graph import GraphView
from calibration.operators import ACTIVATIONS
from calibration.qdq import INT8_MAX, UINT8_MAX, grids_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from calibration.graph import Read
    from calibration.policy import Placement, QuantizedTensor

LATERALS = ".laterals."
"""In the names of a feature pyramid's convolutions (`training.model.fpn`)."""
PREFIX = "network."
"""Of weight names in a deploy graph, before the network's own."""


def qat_table(
    model: onnx.ModelProto, placement: Placement, ranges: Mapping[str, float]
) -> dict[str, Any]:
    """Everything that `training.qat` needs to train with the pairs of `placement`.

    Returns:
        ``weights``: convolutions whose weights are quantised; ``sites``: one entry a tensor, with
        its grid and the convolutions that read it (``inputs_of``), put it out, behind their
        activation (``outputs_of``), or end the branch that an Add joins to it (``residual_of``);
        the sum behind a pyramid's convolution ``laterals.N`` is put out by ``sums.N``;
        ``untrained``: tensors that no convolution names, which keep their calibrated ranges.
    """
    view = GraphView(model)
    grids = grids_of(placement, ranges)
    sites, untrained = [], []
    for tensor in placement.tensors:
        around = _around(view, tensor)
        grid = grids[tensor.name]
        if around is None:
            untrained.append(tensor.name)
        elif any(around.values()):
            unsigned = grid.dtype == "uint8" and grid.zero_point == 0
            steps = UINT8_MAX if unsigned else INT8_MAX
            low = 0 if unsigned else -128
            sites.append(
                {
                    "tensor": tensor.name,
                    "group": tensor.group,
                    "amax": float(grid.scale) * steps,
                    "bound": tensor.bound,
                    "steps": steps,
                    "low": low,
                    **around,
                }
            )
    weights = [module_of(weight.name) for weight in placement.weights]
    return {"policy": placement.policy.name, "weights": weights, "sites": sites,
            "untrained": untrained}  # fmt: skip


def module_of(weight: str) -> str:
    """The module that owns a weight: ``network.stem.conv.weight`` -> ``stem.conv``."""
    return weight.removeprefix(PREFIX).removesuffix(".weight")


def _around(view: GraphView, tensor: QuantizedTensor) -> dict[str, list[str]] | None:
    """The convolutions that tell where a tensor is; None if none do."""
    inputs, residuals, others = [], [], []
    for read in tensor.reads:
        node = view.nodes[read.node]
        weight = _weight(view, node) if read.slot == 0 else None
        if weight is not None:
            inputs.append(weight)
        elif node.op_type == "Add":
            residuals += _other_branch(view, read)
        elif node.op_type != "Concat" or not _requantised(view, node.output[0]):
            others.append(read)
    made_by = _maker(view, tensor.name)
    # What all read quantised can be quantised where it is made; else each reader does it.
    behind = [made_by] if made_by is not None and (others or not (inputs or residuals)) else []
    direct = view.producers.get(tensor.name)
    all_read_it = len(tensor.reads) == len(view.readers[tensor.name])
    if made_by is not None and all_read_it and direct is not None and direct.op_type == "Conv":
        behind, inputs, residuals = [made_by], [], []
    if others and not behind:
        return None
    return {"inputs_of": inputs, "outputs_of": behind, "residual_of": residuals}


def _requantised(view: GraphView, joined: str) -> bool:
    """Whether a Concat's output is quantised where it is read, as its parts share its grid."""
    reads = view.readers.get(joined, ())
    return bool(reads) and all(_weight(view, view.nodes[read.node]) is not None for read in reads)


def _weight(view: GraphView, node: onnx.NodeProto) -> str | None:
    """The module of a convolution with learned weights; None for any other node."""
    if node.op_type != "Conv" or view.constant(node.input[1]) is None:
        return None
    return module_of(node.input[1])


def _maker(view: GraphView, name: str) -> str | None:
    """The convolution that makes a tensor, itself or through the activation behind it.

    Or the sum of a feature pyramid, which no convolution reads where it is only resized.
    """
    node = view.producers.get(name)
    if node is not None and node.op_type == "Add":
        parts = [view.producers.get(part) for part in node.input]
        makers = [_weight(view, part) for part in parts if part is not None]
        laterals = [maker for maker in makers if maker is not None and LATERALS in maker]
        return laterals[0].replace(LATERALS, ".sums.") if laterals else None
    if node is not None and node.op_type in ACTIVATIONS:
        node = view.producers.get(node.input[0])
    return None if node is None else _weight(view, node)


def _other_branch(view: GraphView, read: Read) -> list[str]:
    node = view.nodes[read.node]
    maker = _maker(view, node.input[1 - read.slot])
    return [] if maker is None else [maker]
