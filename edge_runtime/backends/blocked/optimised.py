"""A session of the graph that ONNX Runtime's own optimiser makes of a model, its gates folded.

ONNX Runtime writes that graph to a file while it opens a session. What comes of the file is opened
in place of the first session, without a second optimisation; where nothing can be done, the first
one serves.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edge_runtime.backends.blocked.model_file import missing_onnx, pieces, rewritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import onnx

GATE = (b'"\x07Sigmoid', b'"\x0aReduceMean')
"""Operators as protobuf writes them in a node; a model without one of them has no known gate."""


def may_have_gates(path: Path) -> bool:
    """Whether a model file may have squeeze-and-excite, by its bytes."""
    missing = set(GATE)
    for piece in pieces(path):
        missing -= {operator for operator in missing if operator in piece}
    return not missing


def open_folded(
    ort: ModuleType,
    model: str | bytes,
    options: Callable[[], Any],
    errors: tuple[type[Exception], ...],
) -> tuple[Any, int] | None:
    """Open a model with its gates in its weights.

    Args:
        ort: the module.
        model: path or content.
        options: makes session options, the same ones each time.
        errors: what ONNX Runtime raises.

    Returns:
        A session and how many gates are folded in it, 0 if it is one of the model as it is; None
        if there is none: the model is refused, or its optimised graph cannot be written.
    """
    first = options()
    failures: tuple[type[Exception], ...] = (OSError, *errors)
    try:
        with TemporaryDirectory(prefix="hyperseg-") as folder:
            target = Path(folder) / "optimised.onnx"
            first.optimized_model_filepath = str(target)
            session = ort.InferenceSession(model, first, providers=["CPUExecutionProvider"])
            folded, gates = _folded(target)
    except failures:
        return None
    if not gates:
        return session, 0
    second = options()
    second.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(folded, second, providers=["CPUExecutionProvider"]), gates
    except errors:
        return session, 0


def _folded(path: Path) -> tuple[bytes, int]:
    """An optimised model with its gates folded, and how many there were."""
    if missing_onnx():
        return b"", 0
    from edge_runtime.backends.blocked.gates import fold_gates
    from edge_runtime.backends.blocked.probe import machine_block
    from edge_runtime.backends.blocked.swish import keep_swish_blocked

    block = machine_block()
    if block is None:
        return b"", 0

    def change(model: onnx.ModelProto) -> int:
        keep_swish_blocked(model)
        return fold_gates(model, block)

    return rewritten(path, change)
