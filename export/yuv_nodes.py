"""The nodes of the front that takes YUV frames (see `export.yuv_kernels`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edge_runtime.pixels import YuvFormat
    from export.yuv_kernels import Kernel, YuvKernels

PREFIX = "yuv_"
"""Of the names of all new values."""


class _Builder:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A constant's name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value), PREFIX + name))
        return PREFIX + name

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """The name of what a new node puts out."""
        from onnx import helper

        full = PREFIX + name
        self.nodes.append(helper.make_node(kind, [*inputs], [full], name=full, **attributes))
        return full

    def reshape(self, name: str, value: str, shape: tuple[int, ...]) -> str:
        """`value` in another shape."""
        return self.node(
            "Reshape", name, value, self.constant(f"{name}_shape", np.array(shape, np.int64))
        )

    def rows(self, name: str, value: str, start: int, stop: int) -> str:
        """Some of the rows of `value`, whose axis 1 they are."""
        limits = [
            self.constant(f"{name}_{what}", np.array([number], np.int64))
            for what, number in (("start", start), ("stop", stop), ("axis", 1))
        ]
        return self.node("Slice", name, value, *limits)

    def less(self, name: str, value: str, grey: NDArray[np.float64]) -> str:
        """`value` less a constant: one of a row's length, as long runs are fastest."""
        constant = self.constant(f"{name}_grey", grey.astype(np.float32))
        return self.node("Sub", name, value, constant)

    def conv(self, name: str, value: str, kernel: Kernel, bias: str | None = None) -> str:
        """A convolution of `value`."""
        weight = self.constant(f"{name}_weight", kernel.weight.astype(np.float32))
        inputs = (value, weight) if bias is None else (value, weight, bias)
        return self.node(
            "Conv", name, *inputs, kernel_shape=kernel.weight.shape[2:],
            strides=kernel.strides, pads=kernel.pads,
        )  # fmt: skip


def front_nodes(
    conv: onnx.NodeProto, frame: str, kernels: YuvKernels, size: tuple[int, int], yuv: YuvFormat
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """From the frame's bytes to what the first convolution put out.

    Args:
        conv: the first convolution of the RGB graph; its bias and its output keep their names.
        frame: the input's name.
        kernels: of the new convolutions.
        size: (height, width) of the frame.
        yuv: its format.

    Returns:
        Nodes in order, and their constants.
    """
    from onnx import TensorProto

    build = _Builder()
    bias = conv.input[2] if len(conv.input) > 2 else None
    # TensorRT accepts a uint8 input only if a cast is all that reads it.
    values = build.node("Cast", "frame", frame, to=TensorProto.FLOAT)
    if yuv.pixels == "nv12":
        _nv12(build, values, kernels, size, bias)
    else:
        _yuy2(build, values, kernels, size, bias)
    build.nodes[-1].output[0] = conv.output[0]
    return build.nodes, build.constants


def _nv12(
    build: _Builder, frame: str, kernels: YuvKernels, size: tuple[int, int], bias: str | None
) -> None:
    height, width = size
    luma, chroma = kernels.parts
    y = build.less("luma", build.rows("luma_rows", frame, 0, height), kernels.grey[:1])
    y = build.reshape("luma_map", y, (1, 1, height, width))
    both = build.rows("chroma_rows", frame, height, height * 3 // 2)
    both = build.less("chroma", both, np.tile(kernels.grey[1:], width // 2))
    both = build.reshape("chroma_pairs", both, (1, height // 2, width // 2, 2))
    both = build.node("Transpose", "chroma_map", both, perm=(0, 3, 1, 2))
    first = build.conv("of_luma", y, luma, bias)
    build.node("Add", "of_both", first, build.conv("of_chroma", both, chroma))


def _yuy2(
    build: _Builder, frame: str, kernels: YuvKernels, size: tuple[int, int], bias: str | None
) -> None:
    height, width = size
    grey = np.tile(kernels.grey[[0, 1, 0, 2]], width // 2)
    values = build.less("values", frame, grey)
    values = build.reshape("pairs", values, (1, height, width // 2, 4))
    values = build.node("Transpose", "map", values, perm=(0, 3, 1, 2))
    build.conv("of_pairs", values, kernels.parts[0], bias)
