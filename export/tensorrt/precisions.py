"""Which precisions an engine really has, and whether that is what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.backends.tensorrt.inspector import read_inspector
from edge_runtime.errors import BackendError


@dataclass(frozen=True)
class Precisions:
    """Convolutions and products by precision, and where that is known from."""

    source: str
    """``engine inspector`` or ``parsed network (engine not loaded: no GPU)``."""
    layers: dict[str, int]


def built_precisions(inspector: str | None, parsed: dict[str, int]) -> Precisions:
    """The engine's own account where it could be loaded, else the types of the parsed network.

    Args:
        inspector: JSON of the engine inspector; None where the engine was not loaded.
        parsed: weighted layers by precision, as the network types them.

    Raises:
        BackendError: the inspector's account cannot be read.
    """
    if inspector is None:
        return Precisions("parsed network (engine not loaded: no GPU)", parsed)
    return Precisions("engine inspector", read_inspector(inspector).counts())


def require(asked: str, built: Precisions) -> None:
    """Raise `BackendError` if FP16 or INT8 was asked for and no layer has it."""
    if asked == "fp32" or built.layers.get(asked):
        return
    table = ", ".join(f"{count} {kind}" for kind, count in sorted(built.layers.items())) or "none"
    raise BackendError(
        f"{asked.upper()} was asked for but not built: layers by precision are {table} (from the "
        f"{built.source}); nothing was written"
    )
