"""From a network to a simplified ONNX graph of its deployment form."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from edge_runtime.errors import DependencyError
from export.deploy import DeployHyperSeg
from export.narrow import narrow_indices

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx
    from torch import nn

    from edge_runtime.artifacts import Head
    from training.model.hyperseg import HyperSeg

OPSET = 18
"""Read by every TensorRT this project targets (10.3 on) and by onnxruntime."""


def to_onnx(
    net: HyperSeg, size: tuple[int, int], head: Head, *, simplify: bool = True
) -> onnx.ModelProto:
    """The deployment graph of `net` at one size: input `frame`, output `mask` or `logits`.

    Args:
        net: float32, in eval mode.
        size: (height, width) of the frame.
        head: what comes out.
        simplify: fold and fuse after tracing; False gives the graph as traced.

    Returns:
        Static shapes, (1, H, W, 3) uint8 in; (1, H, W) uint8 or (1, C, H, W) float32 out.

    Raises:
        OptionError: the size does not fit the network.
        DependencyError: a package of the export stage is missing.
    """
    module = DeployHyperSeg(net, size, head).eval()
    example = torch.zeros(1, *size, 3, dtype=torch.uint8)
    return trace(module, example, "frame", head, simplify=simplify)


def trace(
    module: nn.Module,
    example: torch.Tensor,
    input_name: str,
    output_name: str,
    *,
    simplify: bool = True,
) -> onnx.ModelProto:
    """Any module as a checked and simplified ONNX graph, through torch's dynamo exporter."""
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch's exporter fails late and long without it)
        import onnxsim
    except ImportError as error:
        raise DependencyError(
            f"export needs {error.name}: pip install 'hyperseg-edge[onnx,train]'"
        ) from error
    with _quiet_exporter():
        program = torch.onnx.export(
            module, (example,), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=[input_name], output_names=[output_name],
        )  # fmt: skip
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    if simplify:
        simplified, equal = onnxsim.simplify(graph)
        graph = simplified if equal else graph
    _strip_debug_text(graph)
    narrow_indices(graph)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def _strip_debug_text(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes: source lines and paths of the machine it ran on."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    for tensor in graph.graph.initializer:
        tensor.doc_string = ""
    del graph.graph.metadata_props[:]
    del graph.functions[:]
    graph.doc_string = graph.graph.doc_string = ""


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence remarks that are not about our network, such as an absent torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # The exporter uses interfaces that torch itself deprecates; nothing here can change it.
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
