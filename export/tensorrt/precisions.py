"""Which precisions an engine really has, and whether that is what was asked for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from edge_runtime.errors import BackendError

_FORMATS = {"half": "fp16", "fp16": "fp16", "int8": "int8", "float": "fp32", "fp32": "fp32"}


@dataclass(frozen=True)
class Precisions:
    """Layers by precision, and where that is known from."""

    source: str
    """``engine inspector`` or ``parsed network (engine not loaded: no GPU)``."""
    layers: dict[str, int]


def built_precisions(inspector: str | None, parsed: dict[str, int]) -> Precisions:
    """The engine's own account where it could be loaded, else the types of the parsed network.

    Args:
        inspector: JSON of the engine inspector; None where the engine was not loaded.
        parsed: weighted layers by precision, as the network types them.
    """
    if inspector is None:
        return Precisions("parsed network (engine not loaded: no GPU)", parsed)
    return Precisions("engine inspector", inspected(inspector))


def inspected(text: str) -> dict[str, int]:
    """Layers by the precision of their first output, from the inspector's JSON.

    The format is that of ``LayerInformationFormat.JSON`` with detailed profiling: a list `Layers`
    of objects with `Outputs`, each with a `Format/Datatype` such as ``Half NHWC8`` or ``Int8 ...``.
    """
    found: Counter[str] = Counter()
    for layer in json.loads(text).get("Layers", ()):
        outputs = layer.get("Outputs", ()) if isinstance(layer, dict) else ()
        if outputs:
            word = f"{outputs[0].get('Format/Datatype') or 'unknown'} "
            kind = word.partition(" ")[0].lower().rstrip(":")
            found[_FORMATS.get(kind, kind)] += 1
    return dict(found)


def require(asked: str, built: Precisions) -> None:
    """Raise `BackendError` if FP16 or INT8 was asked for and no layer has it."""
    if asked == "fp32" or built.layers.get(asked):
        return
    table = ", ".join(f"{count} {kind}" for kind, count in sorted(built.layers.items())) or "none"
    raise BackendError(
        f"{asked.upper()} was asked for but not built: layers by precision are {table} (from the "
        f"{built.source}); nothing was written"
    )
