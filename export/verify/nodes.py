"""Where two graphs of one network part: node by node, each against its own noise floor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.fp16 import FLOAT, element_types
from export.fp16_measure import noise
from export.noise import jittered

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from export.noise import Precision

TINY = 1e-12
"""Relative error below which a floor is not measured but taken for this."""


@dataclass(frozen=True)
class NodeError:
    """One value that both graphs compute."""

    value: str
    operator: str
    node: str
    error: float
    """Of the value, relative: root mean square of the difference over that of the value."""
    floor: float
    """The same where rounding alone is at work."""


@dataclass(frozen=True)
class Parting:
    """Where a graph leaves the reference."""

    compared: int
    """Values of the same name and of type float32 in both graphs."""
    first: NodeError | None
    """The first, in the order of computation, beyond the gate; None if none is."""
    worst: tuple[NodeError, ...]
    """The farthest beyond their floors, worst first."""


def find_parting(
    reference: onnx.ModelProto,
    other: onnx.ModelProto,
    frame: NDArray[np.uint8],
    precision: Precision,
    *,
    gate: float,
    seed: int = 0,
    listed: int = 8,
) -> Parting:
    """The first node whose result is further off than rounding explains.

    Args:
        reference: the FP32 graph.
        other: another form with values of the same names.
        frame: (H, W, 3) uint8.
        precision: whose rounding the floor is measured with.
        gate: allowed error in noise floors.
        seed: of the rounding that is tried.
        listed: how many of the worst are kept.

    Raises:
        BackendError: ONNX Runtime refuses the pair of graphs.
    """
    import onnx

    exact, found = (onnx.shape_inference.infer_shapes(graph) for graph in (reference, other))
    types, other_types = element_types(exact), element_types(found)
    makers = {name: node for node in exact.graph.node for name in node.output}
    shared = [
        name
        for node in exact.graph.node
        for name in node.output
        if types.get(name) == other_types.get(name) == FLOAT
    ]
    if not shared:
        return Parting(0, None, ())
    batch = frame[None]
    errors = noise(exact, found, batch, shared)
    floors = noise(exact, jittered(exact, precision, seed), batch, shared)
    rows = [
        NodeError(
            value=name, operator=makers[name].op_type, node=makers[name].name,
            error=_root(errors[name]), floor=max(_root(floors[name]), TINY),
        )
        for name in shared
    ]  # fmt: skip
    beyond = [row for row in rows if row.error > max(gate * row.floor, TINY)]
    worst = sorted(beyond, key=lambda row: row.error / row.floor, reverse=True)
    return Parting(len(shared), beyond[0] if beyond else None, tuple(worst[:listed]))


def _root(power: float) -> float:
    # NaN is beyond every gate; where rounding alone makes it, the floor is as high.
    return math.inf if math.isnan(power) else math.sqrt(power)
