"""Calibration caches and Q/DQ graphs: the same ranges, carried from one to the other.

A cache does not say whose it is. So the same ranges are written beside it, as a table that names
its model (`edge_runtime.range_table`): a cache with such a table is refused for any other model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration.cache import INT8_MAX, CalibrationCache, cache_of, read_cache, write_cache
from calibration.graph import QUANTIZE, GraphView
from calibration.qdq import UINT8_MAX, Q
from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import ArtifactError
from edge_runtime.range_table import RangeTable, read_ranges, write_ranges

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from edge_runtime.artifacts import Manifest


def table_of(cache: Path) -> Path:
    """Where the table of a cache lies: beside it."""
    return cache.with_name(cache.name + ".json")


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


def load_cache(path: Path, manifest: Manifest) -> tuple[CalibrationCache, bool]:
    """A cache, and whether it is known to be of the model that `manifest` describes.

    Raises:
        ArtifactError: it cannot be read, is another model's, or was altered since it was written.
    """
    try:
        # Bytes, not text: universal newlines would alter names that hold a carriage return.
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"cannot read the cache {path}: {error}") from error
    cache = read_cache(text)
    if not table_of(path).is_file():
        return cache, False
    table = read_ranges(table_of(path), manifest)
    wanted = cache_of(table.ranges, version=cache.version)
    if wanted.scales != cache.scales:
        raise ArtifactError(
            f"{path} does not hold the ranges of {table_of(path).name} beside it; one of them was "
            "altered: write the cache again"
        )
    return cache, True
