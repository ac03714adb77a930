"""Will a TensorRT use a calibration cache for a graph? It is silent when it does not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_runtime.calibration_cache import ALGORITHMS, explain_cache, load_cache
from edge_runtime.errors import OptionError
from export.fp16 import WEIGHTED_OPERATORS

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from edge_runtime.artifacts import Manifest


def require_ranges(path: Path, manifest: Manifest, graph: onnx.ModelProto, version: str) -> None:
    """Refuse a cache before a builder could ignore it.

    Args:
        path: of the cache.
        manifest: of the model that is built.
        graph: of that model.
        version: of the TensorRT that builds, such as ``10.3.0``.

    Raises:
        ArtifactError: it is no cache, another model's, or was altered.
        OptionError: TensorRT would not use it, or the graph has none of its tensors.
    """
    cache, _ = load_cache(path, manifest)
    if cache.algorithm not in ALGORITHMS:
        raise OptionError(
            f"the header of {path} says {cache.algorithm!r}; expected {' or '.join(ALGORITHMS)}"
        )
    numbers = [int(part) for part in re.findall(r"\d+", version)[:3]]
    target = (numbers[0], numbers[1], numbers[2])
    wanted = _inputs(graph)
    verdict = explain_cache(cache, wanted, target=target, algorithm=cache.algorithm)
    remedy = (
        "write one for this model with `hyperseg calibration-cache convert INT8.onnx --target "
        f"{'.'.join(map(str, target))} -o F.cache`"
    )
    if verdict.refusals:
        raise OptionError(
            f"TensorRT {version} will not use {path}: {verdict.refusals[0]}; {remedy}"
        )
    if len(verdict.missing) == len(wanted):
        raise OptionError(
            f"{path} has a range for none of the {len(wanted)} tensors that convolutions and "
            f"products of {manifest.name} read, such as {next(iter(wanted), '')!r}: it is of "
            f"another model; {remedy}"
        )


def _inputs(graph: onnx.ModelProto) -> list[str]:
    """What convolutions and products read at run time; of a graph with Q/DQ pairs, what enters."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    found: dict[str, None] = {}
    for node in graph.graph.node:
        if node.op_type not in WEIGHTED_OPERATORS:
            continue
        name = node.input[0]
        while name in makers and makers[name].op_type in ("DequantizeLinear", "QuantizeLinear"):
            name = makers[name].input[0]
        found[name] = None
    return list(found)
