"""The uniform form of a foreign graph: uint8 frame in, uint8 mask or float scores out.

The user's nodes, weights and names are taken over as they are; nodes that the chosen output does
not read are left out. Added names begin with ``hyperseg_``, except ``frame``, ``mask``, ``logits``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.artifacts import TensorSpec
from export.importing.load import opset_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Head
    from export.importing.anatomy import GraphInput, GraphOutput
    from export.importing.options import Triple

DTYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


class Wrapper:
    """Builds the deployed graph around a foreign one.

    Args:
        model: the foreign graph with a fixed size.
        image: its input.
        output: the output that segments.
        classes: how many there are.
    """

    def __init__(
        self, model: onnx.ModelProto, image: GraphInput, output: GraphOutput, classes: int
    ) -> None:
        self._image, self._output, self._classes = image, output, classes
        self._opset = opset_of(model)
        self._graph = onnx.ModelProto()
        self._graph.CopyFrom(model)
        _keep_only(self._graph.graph, output.name)
        self._taken = _names(self._graph.graph) | {image.name}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self.scores: str | None = None
        """The value that argmax reads or that is put out; None where the graph gives ids."""

    def build(
        self, normalisation: tuple[Triple, Triple] | None, head: Head, *, align_corners: bool
    ) -> tuple[onnx.ModelProto, TensorSpec, TensorSpec]:
        """The deployed graph, its input and its output.

        Args:
            normalisation: mean and std for frames in 0..1; None for a graph that takes uint8.
            head: ``mask`` or ``logits``; a graph that gives ids has a mask only.
            align_corners: how scores are upsampled.
        """
        size = self._image.size
        frame = self._front(normalisation)
        front, self._nodes = self._nodes, []
        if self._output.kind == "ids":
            result = self._ids()
        else:
            self.scores = self._upsampled(self._scores(), align_corners=align_corners)
            result = self.scores if head == "logits" else self._decided(self.scores)
        name = self._named(result, self._free(head))
        if result == self.scores:
            self.scores = name
        graph = self._graph.graph
        user = list(graph.node)
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend([*front, *user, *self._nodes])
        graph.initializer.extend(self._weights)
        spec_in = TensorSpec(frame, (1, *size, 3), "uint8")
        spec_out = (
            TensorSpec(name, (1, *size), "uint8")
            if head == "mask"
            else TensorSpec(name, (1, self._classes, *size), "float32")
        )
        graph.input.append(helper.make_tensor_value_info(frame, TensorProto.UINT8, spec_in.shape))
        kind = DTYPES[spec_out.dtype]
        graph.output.append(helper.make_tensor_value_info(name, kind, spec_out.shape))
        onnx.checker.check_model(self._graph)
        return self._graph, spec_in, spec_out

    def _front(self, normalisation: tuple[Triple, Triple] | None) -> str:
        """Nodes from the frame to the user's input; returns the frame's name."""
        image = self._image
        if normalisation is None:
            if image.layout == "NHWC":
                return image.name
            frame = self._free("frame")
            self._named(self._add("Transpose", [frame], perm=[0, 3, 1, 2]), image.name)
            return frame
        frame = self._free("frame")
        # TensorRT accepts a uint8 input only if a cast is all that reads it.
        value = self._add("Cast", [frame], to=TensorProto.FLOAT)
        if image.layout == "NCHW":
            value = self._add("Transpose", [value], perm=[0, 3, 1, 2])
        scale, shift = scale_and_shift(*normalisation)
        shape = (1, 3, 1, 1) if image.layout == "NCHW" else (1, 1, 1, 3)
        if not (scale == 1).all():
            value = self._add("Mul", [value, self._weight(scale.reshape(shape))])
        if shift.any():
            value = self._add("Add", [value, self._weight(shift.reshape(shape))])
        if image.dtype == "float16":
            value = self._add("Cast", [value], to=TensorProto.FLOAT16)
        self._named(value, image.name)
        return frame

    def _scores(self) -> str:
        """The output as (1, C, h, w) float32, a channel per class."""
        output, (height, width) = self._output, self._output.size
        value = output.name
        if output.dtype == "float16":
            value = self._add("Cast", [value], to=TensorProto.FLOAT)
        channels = self._classes if output.kind == "scores" else 1
        if output.channel_axis == len(output.shape) - 1:
            if len(output.shape) == 3:
                value = self._reshape(value, (1, height, width, channels))
            value = self._add("Transpose", [value], perm=[0, 3, 1, 2])
        elif len(output.shape) == 3:
            value = self._reshape(value, (1, channels, height, width))
        if output.kind == "binary":
            # A second channel to compare with: the threshold, as the score of the first class.
            pads = self._weight(np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64))
            edge = self._weight(np.array(output.threshold, np.float32))
            value = self._add("Pad", [value, pads, edge], mode="constant")
        return value

    def _upsampled(self, value: str, *, align_corners: bool) -> str:
        if self._output.size == self._image.size:
            return value
        placing = "align_corners" if align_corners else "half_pixel"
        return self._resize(
            value, self._classes, mode="linear", coordinate_transformation_mode=placing
        )

    def _decided(self, scores: str) -> str:
        best = self._add("ArgMax", [scores], axis=1, keepdims=0)
        return self._add("Cast", [best], to=TensorProto.UINT8)

    def _ids(self) -> str:
        """The ids as (1, H, W) uint8."""
        output, size = self._output, self._image.size
        value = output.name
        if output.size != size:
            value = self._add("Cast", [value], to=TensorProto.FLOAT)
            value = self._reshape(value, (1, 1, *output.size))
            value = self._resize(
                value, 1, mode="nearest", nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )  # fmt: skip
        if output.size != size or output.shape != (1, *size):
            value = self._reshape(value, (1, *size))
        # TensorRT gives out uint8 only from a cast: it has to be the last node.
        return self._add("Cast", [value], to=TensorProto.UINT8)

    def _resize(self, value: str, channels: int, **attributes: Any) -> str:
        sizes = self._weight(np.array([1, channels, *self._image.size], np.int64))
        # Before opset 13 the unused inputs must be there, though empty.
        empty = self._weight(np.zeros(0, np.float32)) if self._opset < 13 else ""
        return self._add("Resize", [value, empty, empty, sizes], **attributes)

    def _reshape(self, value: str, shape: tuple[int, ...]) -> str:
        return self._add("Reshape", [value, self._weight(np.array(shape, np.int64))])

    def _named(self, value: str, name: str) -> str:
        """Give our last node's output the name that others know it by."""
        if self._nodes and self._nodes[-1].output[0] == value:
            self._nodes[-1].output[0] = name
        else:
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        return name

    def _add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = self._free(f"hyperseg_{operator.lower()}")
        name = self._free(f"hyperseg_node_{operator.lower()}")
        self._nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def _weight(self, values: NDArray[Any]) -> str:
        name = self._free("hyperseg_constant")
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def _free(self, wish: str) -> str:
        """`wish`, or `wish` with a number where the graph has that name already."""
        name, number = wish, 1
        while name in self._taken:
            number += 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name


def scale_and_shift(mean: Triple, std: Triple) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``frame * scale + shift`` is ``(frame / 255 - mean) / std``: (3,) float32 each."""
    m, s = np.array(mean, np.float64), np.array(std, np.float64)
    scale, shift = (1.0 / (255.0 * s)).astype(np.float32), (-m / s).astype(np.float32)
    return scale, shift + np.float32(0)  # no negative zero


def _keep_only(graph: onnx.GraphProto, output: str) -> None:
    """Leave out what `output` does not read: auxiliary heads, their weights, their outputs."""
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        kept.append(node)
        needed.update(_reads(node))
    kept.reverse()
    del graph.node[:]
    graph.node.extend(kept)
    for values in (graph.initializer, graph.input):
        unused = [index for index, value in enumerate(values) if value.name not in needed]
        for index in reversed(unused):
            del values[index]
    made = {name for node in kept for name in node.output}
    stale = [i for i, value in enumerate(graph.value_info) if value.name not in made]
    for index in reversed(stale):
        del graph.value_info[index]


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names a node reads, those inside its subgraphs too."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names |= _reads(inner)
            names.update(value.name for value in graph.output)
    return names - {""}


def _names(graph: onnx.GraphProto) -> set[str]:
    """Every name of a value or node, inside subgraphs too."""
    names = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        names |= {node.name, *node.input, *node.output}
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= _names(inner)
    return names
