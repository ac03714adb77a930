"""What a graph may be checked for, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import OptionError


@dataclass(frozen=True)
class Target:
    """One TensorRT on one kind of device."""

    name: str
    runtime: str
    version: str
    """Of the TensorRT its rules are of."""
    weak_typing: bool
    """Precision can also be asked of the builder."""
    newest_opset: int
    """Of the default ONNX domain; newer ones are read at one's own risk."""
    plugins: frozenset[str] = frozenset()
    """Operators that come as plugins, which TensorRT-RTX has not."""
    dla: bool = False


_PLUGINS = frozenset({"DeformConv"})
TARGETS = {
    target.name: target
    for target in (
        Target("jp6.1", "tensorrt", "10.3", True, 20, _PLUGINS),
        Target("jp6.2", "tensorrt", "10.3", True, 20, _PLUGINS),
        Target("jp7.2", "tensorrt", "10.16", True, 24, _PLUGINS),
        Target("trt11", "tensorrt", "11.4", False, 24, _PLUGINS),
        Target("rtx", "tensorrt_rtx", "1.7", False, 24),
        Target("dla-orin", "tensorrt", "10.3", True, 20, dla=True),
    )
}


def target_of(name: str) -> Target:
    """The target of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in TARGETS:
        raise OptionError(f"no target {name!r}; choose one of {', '.join(TARGETS)}")
    return TARGETS[name]
