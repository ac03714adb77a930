"""The edge runtime: a segmentation network on a camera, every millisecond accounted for.

This package is the leaf all other stages rest on. It imports neither torch nor any other stage,
and ``import edge_runtime`` itself loads nothing heavy: names are resolved on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.artifacts import Manifest as Manifest
    from edge_runtime.artifacts import read_manifest as read_manifest
    from edge_runtime.errors import HypersegError as HypersegError
    from edge_runtime.labels import LabelSet as LabelSet
    from edge_runtime.options import RunOptions as RunOptions
    from edge_runtime.result import Result as Result
    from edge_runtime.rig.options import RigOptions as RigOptions
    from edge_runtime.rig.runner import run_many as run_many
    from edge_runtime.runner import run as run
    from edge_runtime.shm_reader import MaskReader as MaskReader
    from edge_runtime.shm_reader import SharedMask as SharedMask

__version__ = "0.1.0"

_HOMES = {
    "HypersegError": "edge_runtime.errors",
    "LabelSet": "edge_runtime.labels",
    "Manifest": "edge_runtime.artifacts",
    "MaskReader": "edge_runtime.shm_reader",
    "Result": "edge_runtime.result",
    "RigOptions": "edge_runtime.rig.options",
    "RunOptions": "edge_runtime.options",
    "SharedMask": "edge_runtime.shm_reader",
    "read_manifest": "edge_runtime.artifacts",
    "run": "edge_runtime.runner",
    "run_many": "edge_runtime.rig.runner",
}

__all__ = [
    "HypersegError",
    "LabelSet",
    "Manifest",
    "MaskReader",
    "Result",
    "RigOptions",
    "RunOptions",
    "SharedMask",
    "__version__",
    "read_manifest",
    "run",
    "run_many",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edge_runtime' has no attribute {name!r}")
