"""Which precision a graph carries in its own types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edge_runtime.errors import ArtifactError
from export.fp16 import FLOAT16, WEIGHTED_OPERATORS, element_types

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def load_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ArtifactError: it is missing, damaged, or no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    from edge_runtime.artifacts import check_readable

    check_readable(path)
    try:
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
        return onnx.shape_inference.infer_shapes(graph)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise ArtifactError(f"{path} is not a sound ONNX model: {error}") from error
    except (OSError, onnx.shape_inference.InferenceError) as error:
        raise ArtifactError(f"cannot read {path}: {error}") from error


def graph_precision(graph: onnx.ModelProto) -> Precision:
    """``int8`` if the graph quantises, ``fp16`` if it computes in half precision, else ``fp32``.

    Args:
        graph: with inferred types.
    """
    if any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        return "int8"
    return "fp16" if computes_half(graph) else "fp32"


def computes_half(graph: onnx.ModelProto) -> bool:
    """Whether any convolution or product is typed FP16, be the others FP32 or INT8."""
    types = element_types(graph)
    return any(
        types.get(node.input[0]) == FLOAT16
        for node in graph.graph.node
        if node.op_type in WEIGHTED_OPERATORS
    )
