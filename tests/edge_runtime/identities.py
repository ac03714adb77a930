"""Identities of engines that tests build stores of."""

from __future__ import annotations

from edge_runtime.engines.identity import EngineIdentity
from edge_runtime.engines.store import this_platform

ORIN = EngineIdentity(
    onnx_sha256="a" * 64,
    precision="fp16",
    typing="strong",
    runtime="tensorrt",
    runtime_version="10.3.0",
    platform=this_platform(),
    gpu="Orin",
    compute_capability="8.7",
    cuda="12.6",
    l4t="36.4.3",
    flags=("workspace=512MiB",),
)
