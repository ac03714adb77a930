"""New nodes and constants for an ONNX graph, each under a name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import NDArray

DOMAIN = "com.microsoft.nchwc"
"""Of ONNX Runtime's blocked operators."""


class Emitter:
    """Collects nodes and constants.

    Args:
        prefix: of all names; must be new to the graph.
    """

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix
        self._known: dict[tuple[Any, ...], str] = {}

    def node(
        self, operator: str, *inputs: str, domain: str = "", output: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output; its name."""
        from onnx import helper

        name = f"{self._prefix}_{len(self.nodes)}_{operator}"
        self.nodes.append(
            helper.make_node(
                operator, inputs, [output or name], name=name, domain=domain, **attributes
            )
        )
        return output or name

    def constant(self, value: NDArray[Any]) -> str:
        """The name of a constant; equal ones are stored once."""
        from onnx import numpy_helper

        value = np.ascontiguousarray(value)
        key = (value.dtype, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = f"{self._prefix}_constant_{len(self._known)}"
            self.constants.append(numpy_helper.from_array(value, self._known[key]))
        return self._known[key]

    def reshape(self, name: str, *shape: int) -> str:
        """A tensor in another shape."""
        return self.node("Reshape", name, self.integers(shape))

    def integers(self, values: Sequence[int]) -> str:
        """A constant vector: a shape, paddings."""
        return self.constant(np.array(values, np.int64))

    def clip(self, name: str, limits: tuple[float, float]) -> str:
        """A tensor, limited."""
        low, high = (self.constant(np.array(value, np.float32)) for value in limits)
        return self.node("Clip", name, low, high)
