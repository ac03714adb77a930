"""Calibration caches and Q/DQ graphs: the same ranges, carried from one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration.graph import QUANTIZE, GraphView
from calibration.qdq import UINT8_MAX, Q
from edge_runtime.artifacts import write_text_atomic
from edge_runtime.calibration_cache import INT8_MAX, table_of, write_cache
from edge_runtime.errors import ArtifactError
from edge_runtime.range_table import RangeTable, write_ranges

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from edge_runtime.calibration_cache import CalibrationCache


def graph_ranges(graph: onnx.ModelProto) -> dict[str, float]:
    """Tensor -> largest magnitude, of the run-time tensors with our pairs.

    Raises:
        ArtifactError: there are none.
    """
    view = GraphView(graph)
    ranges = {}
    for node in graph.graph.node:
        if node.op_type != QUANTIZE or not node.output[0].endswith(Q):
            continue
        if view.constant(node.input[0]) is not None:
            continue
        scale, zero = view.value(node.input[1]), view.value(node.input[2])
        assert scale is not None
        assert zero is not None
        positive = str(zero.dtype) == "uint8" and int(zero) == 0
        ranges[node.input[0]] = float(scale) * (UINT8_MAX if positive else INT8_MAX)
    if not ranges:
        raise ArtifactError(
            "the model has no Q/DQ pairs of `hyperseg calibrate`; give its INT8 form, or --cache "
            "to make one"
        )
    return ranges


def save_cache(path: Path, cache: CalibrationCache, policy: str, model_sha256: str) -> None:
    """Write a cache, and beside it the table that says whose it is.

    Args:
        path: of the cache.
        cache: complete.
        policy: that chose its tensors.
        model_sha256: hex sha256 of the float model.
    """
    table = RangeTable(
        made_by=f"calibration cache {path.name}",
        policy=policy,
        model_sha256=model_sha256,
        ranges=cache.ranges,
    )
    write_ranges(table_of(path), table)
    write_text_atomic(path, write_cache(cache))
