"""Where a mask graph holds its class scores, and whether they are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import ParityError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

MAKE_ANEW = "look for weights that are not finite, or make the model anew"
LAYOUT = ("Reshape", "Transpose")
"""What may lie between the scores and the argmax, which compares neighbours in memory."""


def scores_of(graph: onnx.ModelProto) -> str:
    """The tensor of (1, C, H, W) class scores that a mask graph's last ArgMax decides on.

    A graph without an ArgMax puts its scores out: then it is the first output.
    """
    deciders = [node for node in graph.graph.node if node.op_type == "ArgMax"]
    if not deciders:
        return str(graph.graph.output[0].name)
    makers = {output: node for node in graph.graph.node for output in node.output}
    name = deciders[-1].input[0]
    while name in makers and makers[name].op_type in LAYOUT:
        name = makers[name].input[0]
    return str(name)


def non_finite(scores: NDArray[Any]) -> int:
    """How many scores are NaN or infinite: no comparison finds a difference from NaN too large."""
    return int(scores.size - np.isfinite(scores).sum())


def finite(scores: NDArray[Any], whose: str, remedy: str = MAKE_ANEW) -> NDArray[Any]:
    """The scores themselves.

    Raises:
        ParityError: some are NaN or infinite; names whose they are and what to do.
    """
    if count := non_finite(scores):
        raise ParityError(
            f"{count} scores of {whose} are NaN or infinite, so nothing can be compared with it: "
            f"{remedy}"
        )
    return scores
