"""What an engine takes and gives, checked against its manifest, and the bytes that takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.artifacts import TensorSpec
from edge_runtime.errors import BackendError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest

DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""TensorRT's names of element types as numpy's; the others have no numpy type."""


def io_tensors(trt: Any, engine: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a deserialised engine, in its own order.

    Raises:
        BackendError: a tensor has an open dimension or a type without a numpy equivalent.
    """
    sides: dict[bool, list[TensorSpec]] = {True: [], False: []}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(int(edge) for edge in engine.get_tensor_shape(name))
        kind = engine.get_tensor_dtype(name).name
        if any(edge < 0 for edge in shape):
            raise BackendError(
                f"tensor {name!r} of the engine has the open shape {shape}; build it from a model "
                "with a fixed size"
            )
        if kind not in DTYPES:
            raise BackendError(
                f"tensor {name!r} of the engine holds {kind}, which the runtime cannot exchange"
            )
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        sides[is_input].append(TensorSpec(name, shape, DTYPES[kind]))
    return tuple(sides[True]), tuple(sides[False])


def check_tensors(
    path: Path,
    manifest: Manifest,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> None:
    """Refuse an engine that takes or gives other tensors than its manifest says.

    Raises:
        ManifestError: names, shapes or types differ.
    """
    for role, found, wanted in (
        ("input", inputs, manifest.inputs),
        ("output", outputs, manifest.outputs),
    ):
        if sorted(t.name for t in found) != sorted(t.name for t in wanted):
            raise ManifestError(
                f"{path}: the engine's {role}s are {[t.name for t in found]}, its manifest says "
                f"{[t.name for t in wanted]}; build it anew"
            )
        by_name = {spec.name: spec for spec in found}
        for spec in wanted:
            have = by_name[spec.name]
            if (tuple(have.shape), have.dtype) != (tuple(spec.shape), spec.dtype):
                raise ManifestError(
                    f"{path}: {role} {spec.name!r} is {have.dtype} {tuple(have.shape)} in the "
                    f"engine but {spec.dtype} {tuple(spec.shape)} in its manifest; build it anew"
                )


def byte_size(spec: TensorSpec) -> int:
    """Bytes of a tensor."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def as_tensor(memory: NDArray[np.uint8], spec: TensorSpec) -> NDArray[Any]:
    """Raw memory as an array of the tensor's shape and type, without a copy."""
    return memory[: byte_size(spec)].view(spec.dtype).reshape(spec.shape)
