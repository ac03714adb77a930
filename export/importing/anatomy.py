"""What a foreign graph is: its input, its outputs, and which of them segments.

Shapes are not believed but measured: the graph is run once, on a grey frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from edge_runtime.errors import OptionError
from export.sessions import GraphRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.importing.options import ImportOptions, Layout

Kind = Literal["scores", "binary", "ids"]

ELEMENT_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.UINT8: "uint8",
}
"""What an image input may hold, by ONNX's number of the type."""
PASSING = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose")
"""Operators that change the form of class ids, but not what they are."""


@dataclass(frozen=True)
class GraphInput:
    """The image a graph takes."""

    name: str
    dtype: str
    layout: Layout
    size: tuple[int, int]
    """(height, width)."""
    dynamic: bool
    """Some dimension was left open by the exporter."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """With one image."""
        height, width = self.size
        return (1, 3, height, width) if self.layout == "NCHW" else (1, height, width, 3)


@dataclass(frozen=True)
class GraphOutput:
    """The output that segments."""

    name: str
    kind: Kind
    """``scores`` has a channel per class, ``binary`` one for two classes, ``ids`` has none."""
    shape: tuple[int, ...]
    """As measured."""
    dtype: str
    channel_axis: int | None
    """Of `shape`; None for ``ids`` and for a ``binary`` output without a channel axis."""
    size: tuple[int, int]
    """(height, width) of the map."""
    threshold: float = 0.0
    """Of a ``binary`` output: above it is the second class."""


def image_input(model: onnx.ModelProto, options: ImportOptions) -> GraphInput:
    """The one image input of a graph.

    Raises:
        OptionError: there is no such input, or its layout or size is not known.
    """
    value = _only_input(model)
    tensor = value.type.tensor_type
    dtype = ELEMENT_TYPES.get(tensor.elem_type)
    if dtype is None:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise OptionError(
            f"input {value.name!r} takes {kind}; expected an image as "
            f"{', '.join(ELEMENT_TYPES.values())}"
        )
    if not tensor.HasField("shape") or len(tensor.shape.dim) != 4:
        found = len(tensor.shape.dim) if tensor.HasField("shape") else "unknown"
        raise OptionError(
            f"input {value.name!r} has {found} dimensions; expected an image (1, 3, H, W) or "
            "(1, H, W, 3): export the graph with an example of that shape"
        )
    dims = tuple(
        dim.dim_value if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0 else None
        for dim in tensor.shape.dim
    )
    layout = _layout(value.name, dims, options.layout)
    if dims[0] not in (None, 1):
        raise OptionError(f"input {value.name!r} takes {dims[0]} images at once; export it for one")
    spatial = dims[2:] if layout == "NCHW" else dims[1:3]
    size = _size(value.name, (spatial[0], spatial[1]), options.size)
    return GraphInput(value.name, dtype, layout, size, dynamic=None in dims)


def segmenting_output(
    model: onnx.ModelProto, image: GraphInput, options: ImportOptions, classes: int
) -> GraphOutput:
    """The output that holds the segmentation, found by running the graph.

    Args:
        model: the graph.
        image: its input.
        options: may name the output.
        classes: how many there are.

    Raises:
        BackendError: the graph does not run.
        OptionError: no output fits, or more than one does.
    """
    grey = np.full(image.shape, 0.5 if image.dtype != "uint8" else 128, image.dtype)
    answers = GraphRun(model)({image.name: grey})
    if options.tensor is not None:
        if options.tensor not in answers:
            raise OptionError(
                f"the graph has no output {options.tensor!r}; it has {', '.join(answers)}"
            )
        answers = {options.tensor: answers[options.tensor]}
    judged = {name: classify(model, name, a, image, classes) for name, a in answers.items()}
    fitting = [found for found in judged.values() if isinstance(found, GraphOutput)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in judged.items())
        raise OptionError(f"no output is a segmentation into {classes} classes: {reasons}")
    listed = ", ".join(f"{found.name} {found.shape}" for found in fitting)
    raise OptionError(
        f"{len(fitting)} outputs could be the segmentation: {listed}; name one with --tensor "
        "(the others are usually auxiliary heads of training)"
    )


def classify(
    model: onnx.ModelProto, name: str, answer: NDArray[Any], image: GraphInput, classes: int
) -> GraphOutput | str:
    """What one output is, or why it is no segmentation."""
    shape, dtype = answer.shape, str(answer.dtype)
    if dtype not in ("float32", "float16", "int64", "int32", "uint8", "int8", "bool"):
        return f"holds {dtype}"
    if not dtype.startswith("float") or _made_by(model, name, PASSING) == "ArgMax":
        return _ids(name, shape, dtype, image)
    core = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    if len(core) == 3:
        axes = [0, 2] if image.layout == "NCHW" else [2, 0]
        for wanted in (classes, 1) if classes == 2 else (classes,):
            for axis in axes:
                size = (core[1], core[2]) if axis == 0 else (core[0], core[1])
                if core[axis] == wanted and _is_map(size, image.size):
                    kind: Kind = "scores" if wanted == classes else "binary"
                    edge = _threshold(model, name) if kind == "binary" else 0.0
                    offset = len(shape) - 3
                    return GraphOutput(name, kind, shape, dtype, axis + offset, size, edge)
    if classes == 2 and len(core) == 3 and core[0] == 1 and _is_map((core[1], core[2]), image.size):
        return GraphOutput(
            name, "binary", shape, dtype, None, (core[1], core[2]), _threshold(model, name)
        )
    return _misfit(shape, image, classes)


def _misfit(shape: tuple[int, ...], image: GraphInput, classes: int) -> str:
    if len(shape) == 4 and shape[0] == 1:
        for axis, size in ((1, shape[2:]), (3, shape[1:3])):
            if _is_map((size[0], size[1]), image.size):
                return f"has {shape[axis]} channels, but --classes names {classes}"
    return f"has shape {shape} for a frame of {image.size[0]}x{image.size[1]}"


def _ids(name: str, shape: tuple[int, ...], dtype: str, image: GraphInput) -> GraphOutput | str:
    core = tuple(edge for edge in shape if edge != 1)
    if len(core) != 2 or not _is_map((core[0], core[1]), image.size):
        height, width = image.size
        return f"holds {dtype} of shape {shape}; class ids of a {height}x{width} frame are a map"
    return GraphOutput(name, "ids", shape, dtype, None, (core[0], core[1]))


def _is_map(size: tuple[int, int], frame: tuple[int, int]) -> bool:
    """Whether a map has the frame's proportions, up to a pixel of rounding, and is not larger."""
    (height, width), (rows, columns) = size, frame
    if not (1 <= height <= rows and 1 <= width <= columns):
        return False
    return abs(height * columns - width * rows) <= rows + columns


def _only_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [
        value for value in model.graph.input if value.name not in weights
    ]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise OptionError(
            f"the graph has {len(inputs)} inputs ({names}); expected one image: export the "
            "network alone, with everything else fixed"
        )
    if inputs[0].type.WhichOneof("value") != "tensor_type":
        raise OptionError(f"input {inputs[0].name!r} is no tensor; expected an image")
    return inputs[0]


def _layout(name: str, dims: tuple[int | None, ...], given: Layout | None) -> Layout:
    channels = {"NCHW": dims[1], "NHWC": dims[3]}
    if given is not None:
        if channels[given] not in (None, 3):
            raise OptionError(
                f"input {name!r} is {_text(dims)}, which is not {given} with 3 channels"
            )
        return given
    if 3 not in channels.values():
        raise OptionError(
            f"input {name!r} is {_text(dims)}; no dimension is the 3 colours of a frame"
            + (": say which with --layout" if None in channels.values() else "")
        )
    if channels["NCHW"] == channels["NHWC"] == 3:
        raise OptionError(f"input {name!r} is {_text(dims)}; say NCHW or NHWC with --layout")
    return "NCHW" if channels["NCHW"] == 3 else "NHWC"


def _size(
    name: str, dims: tuple[int | None, int | None], given: tuple[int, int] | None
) -> tuple[int, int]:
    height, width = dims
    if given is not None:
        if (height or given[0], width or given[1]) != given:
            raise OptionError(
                f"input {name!r} is fixed to {height or '?'}x{width or '?'}, but --size says "
                f"{given[0]}x{given[1]}; leave --size away, or export the graph at that size"
            )
        return given
    if height is None or width is None:
        raise OptionError(
            f"input {name!r} leaves its size open; say which with --size, such as --size 512x1024"
        )
    return height, width


def _text(dims: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("?" if dim is None else str(dim) for dim in dims) + ")"


def _made_by(model: onnx.ModelProto, name: str, passing: tuple[str, ...]) -> str | None:
    """The operator that a value comes from, looking through `passing` ones."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(name)
    while node is not None and node.op_type in passing:
        node = makers.get(node.input[0])
    return None if node is None else node.op_type


def _threshold(model: onnx.ModelProto, name: str) -> float:
    """Where a single channel turns into the second class: probabilities at 0.5, scores at 0."""
    return 0.5 if _made_by(model, name, (*PASSING, "Resize")) == "Sigmoid" else 0.0
