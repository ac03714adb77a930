"""The engine inspector's JSON as a table of the precisions that were really built.

With detailed profiling verbosity a layer is an object with inputs and outputs whose
``Format/Datatype`` names type and layout, in short (``Half``) or in words (``Channel major FP16
format where channel % 8 == 0``). With less verbosity there are names only, which say nothing.
TensorRT 10 lists ``Bindings`` as names, 11 ``I/O Tensors`` as objects.

What goes to a DLA, or into a fused graph, is one layer, such as
``{ForeignNode[Conv_0...Concat_198]}``, that tells nothing of what is in it: it computes, in the
precision of its formats.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from edge_runtime.errors import BackendError

_TYPES = (
    ("int8", r"\bint8\b"),
    ("fp8", r"\b(?:fp8|e4m3)"),
    ("fp16", r"\b(?:half|fp16|float16)\b"),
    ("bf16", r"\b(?:bf16|bfloat16)\b"),
    ("tf32", r"\btf32\b"),
    ("fp32", r"\b(?:float|fp32|float32)\b"),
    ("int64", r"\bint64\b"),
    ("int32", r"\bint32\b"),
    ("uint8", r"\buint8\b"),
    ("bool", r"\bbool\b"),
)
"""Precision by what the inspector writes, most telling first."""
_COMPUTES = re.compile(r"conv|gemm|matmul|matrix|correlation|fully", re.IGNORECASE)
"""Layer types and origins where the arithmetic is; the rest moves data or is small."""
_WHOLE = re.compile(r"\bdla\b|ForeignNode\[", re.IGNORECASE)
"""Types and names of layers that are a part of the network in one piece."""
_ARITHMETIC = ("int8", "fp8", "fp16", "bf16", "tf32", "fp32")
"""What a convolution can compute in; pictures and masks at the ends of a piece are of others."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class LayerPrecision:
    """One layer of a built engine."""

    name: str
    kind: str
    """As TensorRT calls it, such as ``CaskConvolution``."""
    precision: str
    """Of its arithmetic: that of its weights if the inspector tells, else of its first input."""
    output: str
    """Of its first output."""
    computes: bool
    """It multiplies and adds: a convolution, a matrix product, or a piece of the network."""
    tactic: str = ""


@dataclass(frozen=True)
class PrecisionTable:
    """All layers of an engine."""

    layers: tuple[LayerPrecision, ...]

    def counts(self, *, computing: bool = True) -> dict[str, int]:
        """Layers by precision; only convolutions and products unless all are asked for."""
        found = Counter(layer.precision for layer in self.layers if layer.computes or not computing)
        return dict(sorted(found.items()))


def read_inspector(text: str) -> PrecisionTable:
    """The table in what ``get_engine_information(JSON)`` returned.

    Raises:
        BackendError: it is no such JSON, or was built with too little profiling verbosity.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"the engine inspector gave no JSON ({error})") from error
    layers = content.get("Layers") if isinstance(content, dict) else None
    if not isinstance(layers, list) or not layers:
        raise BackendError("the engine inspector lists no layers; build with detailed verbosity")
    if not all(isinstance(layer, dict) for layer in layers):
        raise BackendError(
            f"the engine inspector gives the names of {len(layers)} layers but no types; build "
            "with profiling verbosity DETAILED, as `hyperseg build` does"
        )
    return PrecisionTable(tuple(_layer(layer) for layer in layers))


def require_precision(table: PrecisionTable, asked: str) -> None:
    """Refuse an engine in which nothing computes in the precision it was to have.

    Args:
        table: of the engine.
        asked: ``fp32``, ``fp16`` or ``int8``.

    Raises:
        BackendError: FP16 or INT8 was asked for and no convolution or product has it.
    """
    counts = table.counts()
    if asked == "fp32" or counts.get(asked):
        return
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
    raise BackendError(
        f"{asked.upper()} was asked for but not built: the convolutions and products are {listed}; "
        "the device or TensorRT fell back silently"
    )


def _layer(layer: dict[str, Any]) -> LayerPrecision:
    kind = str(layer.get("LayerType", ""))
    name, tactic = str(layer.get("Name", "")), str(layer.get("TacticName", ""))
    weights = layer.get("Weights")
    stored = _precision(str(weights.get("Type", ""))) if isinstance(weights, dict) else UNKNOWN
    first, output = _first(layer.get("Inputs")), _first(layer.get("Outputs"))
    if _WHOLE.search(kind) or _WHOLE.search(name):
        formats = (*_formats(layer.get("Inputs")), *_formats(layer.get("Outputs")))
        precision = next((p for p in formats if p in _ARITHMETIC), UNKNOWN)
        return LayerPrecision(name, kind, precision, output, computes=True, tactic=tactic)
    words = (kind, str(layer.get("ParameterType", "")), str(layer.get("Metadata", "")))
    computes = any(_COMPUTES.search(word) for word in words) and kind != "Reformat"
    precision = next((p for p in (stored, first, output) if p != UNKNOWN), UNKNOWN)
    return LayerPrecision(name, kind, precision, output, computes, tactic)


def _first(tensors: object) -> str:
    return next(iter(_formats(tensors)), UNKNOWN)


def _formats(tensors: object) -> list[str]:
    """The precision of each tensor that a layer lists, in order."""
    if not isinstance(tensors, list):
        return []
    keys = ("Format/Datatype", "Datatype", "DataType")
    found = [tensor if isinstance(tensor, dict) else {} for tensor in tensors]
    return [_precision(str(next(filter(None, map(tensor.get, keys)), ""))) for tensor in found]


def _precision(words: str) -> str:
    for name, pattern in _TYPES:
        if re.search(pattern, words, re.IGNORECASE):
            return name
    return UNKNOWN
