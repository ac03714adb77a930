"""Reading a foreign ONNX file: complete, valid, and of a version that can be handled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_model,
    uses_external_data,
)

from edge_runtime.artifacts import check_readable
from edge_runtime.errors import ArtifactError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

OLDEST_OPSET = 11
"""The first whose Resize can place pixels by their centres, as the project's own models do."""
LARGEST_BYTES = 2**31 - 1
"""Of one protobuf message; the deployed model is one file."""
TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors", ".tar")


def load_model(path: Path) -> onnx.ModelProto:
    """The whole model, its weights in memory.

    Raises:
        ArtifactError: it is missing, damaged, no ONNX model, too large, or lacks its weights file.
        OptionError: its opset is older or newer than what can be handled.
    """
    check_readable(path)
    if path.suffix.lower() in TORCH_SUFFIXES:
        raise ArtifactError(
            f"{path} is a PyTorch file, not ONNX; load it in its own code and call "
            "torch.onnx.export, then import the .onnx"
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ArtifactError(
            f"{path} is not an ONNX model or was cut short; export or copy it again"
        ) from error
    if not model.graph.node:
        raise ArtifactError(f"{path} holds no graph; is it an ONNX model?")
    _check_opset(path, model)
    _read_weights(path, model)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a valid ONNX model ({first_line(error)}); export it again"
        ) from error
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operators; 0 if the graph declares none."""
    return max(
        (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        default=0,
    )


def first_line(error: BaseException) -> str:
    """The first line of a message that may go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _check_opset(path: Path, model: onnx.ModelProto) -> None:
    opset, newest = opset_of(model), onnx.defs.onnx_opset_version()
    if opset < OLDEST_OPSET:
        raise OptionError(
            f"{path} has opset {opset}; at least {OLDEST_OPSET} is needed: export it again with "
            "opset_version=17, or raise it with onnx.version_converter"
        )
    if opset > newest:
        raise OptionError(
            f"{path} has opset {opset}; onnx {onnx.__version__} knows up to {newest}: export it "
            "again with opset_version=17, or install a newer onnx"
        )


def _read_weights(path: Path, model: onnx.ModelProto) -> None:
    """Read weights that lie in files beside the model."""
    for tensor in _tensors(model.graph):
        if not uses_external_data(tensor):
            continue
        place = path.parent / ExternalDataInfo(tensor).location
        if not place.is_file():
            raise ArtifactError(
                f"{path} keeps its weights in {place.name}, which is not beside it; copy it along"
            )
    try:
        load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ArtifactError(
            f"cannot read the weights of {path} ({first_line(error)}); copy both files again"
        ) from error
    for tensor in _tensors(model.graph):
        if tensor.HasField("raw_data") and len(tensor.raw_data) != _expected_bytes(tensor):
            raise ArtifactError(
                f"{path}: the weights {tensor.name!r} have {len(tensor.raw_data)} bytes, their "
                f"shape needs {_expected_bytes(tensor)}; the file was cut short: copy it again"
            )
    if model.ByteSize() > LARGEST_BYTES:
        raise ArtifactError(
            f"{path} has {model.ByteSize() / 1e9:.1f} GB of weights; a model in one file ends at "
            "2 GB"
        )


def _expected_bytes(tensor: onnx.TensorProto) -> int:
    count: int = math.prod(tensor.dims)
    packed = {
        onnx.TensorProto.UINT4,
        onnx.TensorProto.INT4,
        getattr(onnx.TensorProto, "FLOAT4E2M1", -1),
    }
    if tensor.data_type in packed:
        return (count + 1) // 2
    if tensor.data_type not in onnx.helper.get_all_tensor_dtypes():
        return len(bytes(tensor.raw_data))
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Weights and constants, those of subgraphs too."""
    yield from graph.initializer
    for attribute in _attributes(graph.node):
        if attribute.type == onnx.AttributeProto.TENSOR:
            yield attribute.t
        elif attribute.type == onnx.AttributeProto.GRAPH:
            yield from _tensors(attribute.g)


def _attributes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.AttributeProto]:
    for node in nodes:
        yield from node.attribute
