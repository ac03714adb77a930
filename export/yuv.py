"""A model that takes NV12 or YUY2 frames, made of one that takes RGB: only its front is rewritten.

`export.yuv_kernels` says what the new front computes, `export.yuv_proof` shows that it is the same.
Needs onnx and onnxruntime only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edge_runtime.artifacts import (
    Manifest,
    Parent,
    TensorSpec,
    create_artifact,
    created_by_this_command,
    read_manifest,
)
from edge_runtime.errors import ArtifactError, OptionError
from export.precision import graph_precision, load_graph
from export.yuv_kernels import Kernel, YuvKernels, fold
from export.yuv_nodes import front_nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from edge_runtime.pixels import YuvFormat

FRAMES = 2
"""On which the new graph is compared with the old one."""
FRONT = ("Cast", "Reshape", "Mul", "Add", "Transpose")
"""What normalises and lays out a frame in front of the first convolution."""
REMEDY = "use its RGB form, whose colours GStreamer converts"


@dataclass(frozen=True)
class Front:
    """The front of a graph as it was exported."""

    nodes: tuple[onnx.NodeProto, ...]
    """From the frame to the first convolution, without it."""
    conv: onnx.NodeProto
    kernel: Kernel


def make_yuv(
    model: Path, output: Path, yuv: YuvFormat, report: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Write the form of an exported model that takes YUV frames.

    Args:
        model: FP32 or INT8 with a first convolution in FP32, with its manifest.
        output: where the new model goes.
        yuv: the frames it is to take.
        report: takes progress lines.

    Returns:
        The manifest as written; ``options["yuv"]`` holds the verdict.

    Raises:
        ArtifactError: the model cannot be read or rewritten.
        OptionError: the output cannot be written.
        ParityError: the new graph is not the same network; nothing is written then.
    """
    manifest = read_manifest(model, kind="onnx")
    graph, described = as_yuv(load_graph(model), manifest, yuv, report)
    described = replace(
        described,
        created_by=created_by_this_command(),
        parents=(Parent("onnx", model.name, manifest.sha256),),
    )
    content = graph.SerializeToString()
    return create_artifact(output, described, lambda part: part.write_bytes(content))


def as_yuv(
    graph: onnx.ModelProto, manifest: Manifest, yuv: YuvFormat, report: Callable[[str], None]
) -> tuple[onnx.ModelProto, Manifest]:
    """The graph for YUV frames and what its manifest says of it.

    Args:
        graph: takes (1, H, W, 3) uint8 RGB; left as it is.
        manifest: of that graph.
        yuv: the frames it is to take.
        report: takes progress lines.

    Raises:
        ArtifactError: the graph's front is none that can be rewritten.
        OptionError: the size is odd.
        ParityError: the new graph is not the same network.
    """
    from export.yuv_proof import compare, require

    if manifest.preprocess.yuv is not None or manifest.preprocess.color != "RGB":
        raise ArtifactError(
            f"model {manifest.name!r} takes {manifest.preprocess.yuv or 'BGR'} frames; only one "
            "that takes RGB can be given another input"
        )
    _check_even(manifest.input_size)
    front = find_front(graph, manifest.name)
    kernels = fold(front.kernel, manifest.preprocess, yuv)
    rewritten = replace_front(graph, front, kernels, manifest.input_size, yuv)
    verdict = compare(graph, rewritten, front, kernels, manifest, yuv, FRAMES)
    require(verdict, graph_precision(graph))
    report(
        f"{yuv}: first convolution within {verdict.rewrite_error:.1g} of the RGB one in float64, "
        f"{100 * verdict.agreement:.3f} % of pixels as with RGB of the same frames"
    )
    spec = TensorSpec(manifest.inputs[0].name, (1, *yuv.rows(manifest.input_size)), "uint8")
    options = {
        **manifest.options,
        "yuv": asdict(verdict),
        "rgb_parity": asdict(manifest.parity) if manifest.parity else None,
    }
    return rewritten, replace(
        manifest,
        preprocess=replace(manifest.preprocess, yuv=yuv),
        inputs=(spec,),
        options=options,
        parity=None,
    )


def find_front(graph: onnx.ModelProto, name: str) -> Front:
    """The front of an exported graph.

    Args:
        graph: takes RGB frames.
        name: of the model, for messages.

    Raises:
        ArtifactError: it is another one than `hyperseg export` makes, or is read elsewhere too.
    """
    value = graph.graph.input[0].name
    nodes: list[onnx.NodeProto] = []
    while True:
        readers = [node for node in graph.graph.node if value in node.input]
        if len(readers) != 1:
            raise ArtifactError(
                f"model {name!r} cannot take YUV frames: its decoder reads the full-size image as "
                f"well as its first convolution; {REMEDY}"
            )
        (node,) = readers
        if node.op_type == "Conv":
            return Front(tuple(nodes), node, _kernel(graph, node, name))
        if node.op_type not in FRONT or _to_half(node):
            what = "FP16 or INT8" if node.op_type in ("Cast", "QuantizeLinear") else node.op_type
            raise ArtifactError(
                f"model {name!r} cannot take YUV frames: {what} stands before its first "
                "convolution; make the YUV form of the FP32 model, then --precision fp16 of that"
            )
        nodes.append(node)
        value = node.output[0]


def _to_half(node: onnx.NodeProto) -> bool:
    from onnx import TensorProto

    return node.op_type == "Cast" and node.attribute[0].i != TensorProto.FLOAT


def _kernel(graph: onnx.ModelProto, conv: onnx.NodeProto, name: str) -> Kernel:
    from onnx import helper

    found = {entry.name: helper.get_attribute_value(entry) for entry in conv.attribute}
    strides = tuple(found.get("strides", (1, 1)))
    plain = found.get("group", 1) == 1 and tuple(found.get("dilations", (1, 1))) == (1, 1)
    weight = _constant(graph, conv.input[1])
    if strides != (2, 2) or not plain or weight is None or weight.shape[1] != 3:
        raise ArtifactError(
            f"model {name!r} cannot take YUV frames: its first convolution has strides {strides}, "
            f"expected (2, 2) and constant weights over 3 channels; {REMEDY}"
        )
    pads = cast("tuple[int, int, int, int]", tuple(found.get("pads", (0, 0, 0, 0))))
    return Kernel(weight.astype(np.float64), (2, 2), pads)


def _constant(graph: onnx.ModelProto, name: str) -> NDArray[Any] | None:
    """An initializer, also one that is stored as FP16 with a cast behind it."""
    from onnx import numpy_helper

    for node in graph.graph.node:
        if name in node.output and node.op_type == "Cast":
            name = node.input[0]
            break
    for tensor in graph.graph.initializer:
        if tensor.name == name:
            return np.asarray(numpy_helper.to_array(tensor))
    return None


def replace_front(
    graph: onnx.ModelProto,
    front: Front,
    kernels: YuvKernels,
    size: tuple[int, int],
    yuv: YuvFormat,
) -> onnx.ModelProto:
    """A copy of the graph whose front takes YUV frames.

    Args:
        graph: as exported.
        front: of it.
        kernels: of the new front.
        size: (height, width) of the frames.
        yuv: their format.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    old = {node.output[0] for node in (*front.nodes, front.conv)}
    nodes, constants = front_nodes(front.conv, graph.graph.input[0].name, kernels, size, yuv)
    kept = [node for node in copy.graph.node if node.output[0] not in old]
    del copy.graph.node[:]
    copy.graph.node.extend([*nodes, *kept])
    copy.graph.initializer.extend(constants)
    rows, length = yuv.rows(size)
    shape = copy.graph.input[0].type.tensor_type.shape
    del shape.dim[3]
    shape.dim[1].dim_value, shape.dim[2].dim_value = rows, length
    _drop_unread(copy.graph)
    gone = old - {front.conv.output[0]}
    values = [value for value in copy.graph.value_info if value.name not in gone]
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(values)
    onnx.checker.check_model(copy, full_check=True)
    return copy


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove what nothing reads any more: constants of the old front and casts of its weights."""
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {value.name for value in graph.output}
        nodes = [node for node in graph.node if read.intersection(node.output)]
        constants = [tensor for tensor in graph.initializer if tensor.name in read]
        if len(nodes) == len(graph.node) and len(constants) == len(graph.initializer):
            return
        del graph.node[:], graph.initializer[:]
        graph.node.extend(nodes)
        graph.initializer.extend(constants)


def _check_even(size: tuple[int, int]) -> None:
    """Raise `OptionError` unless both sides are even, as shared chroma needs."""
    if any(edge % 2 for edge in size):
        raise OptionError(f"size {size[0]}x{size[1]} has no YUV form: both sides must be even")
