"""The inputs of convolutions as patches, and their second moments over calibration frames.

Memory holds the moments of some layers and one frame's inputs of theirs, whatever the number of
frames; other layers are gone through later, with the same frames again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibration.graph import GraphView, attribute
from calibration.qdq import DQ
from calibration.ranges import CHUNK_BYTES, exposed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx
    from numpy.typing import NDArray

    from calibration.frames import FrameSet
    from calibration.policy import Placement

MIN_POSITIONS, POSITIONS_PER_TAP = 256, 2
"""Output pixels of a layer whose patches are taken from one frame: a layer with more inputs an
output needs more of them for its moments to settle. All pixels would tell hardly more."""


@dataclass(frozen=True)
class ConvLayer:
    """A two-dimensional convolution with a learned weight of its own."""

    weight: str
    source: str
    """The tensor it reads, in the graph before quantisation."""
    input_shape: tuple[int, int, int]
    """(C, H, W)."""
    output_size: tuple[int, int]
    """(height, width)."""
    weight_shape: tuple[int, int, int, int]
    """(out channels, channels of a group, height, width)."""
    groups: int
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    dilations: tuple[int, int]

    @property
    def taps(self) -> int:
        """Inputs that one output is the sum of."""
        return int(np.prod(self.weight_shape[1:]))

    @property
    def cost_bytes(self) -> int:
        """Of its moments, and of one frame's input."""
        return 8 * self.groups * self.taps**2 + 4 * int(np.prod(self.input_shape))

    def positions(self, seed: int) -> NDArray[np.intp]:
        """(P,) flat numbers of the output pixels to look at, drawn anew for each seed."""
        every = self.output_size[0] * self.output_size[1]
        wanted = max(MIN_POSITIONS, POSITIONS_PER_TAP * self.taps)
        if every <= wanted:
            return np.arange(every)
        own = int.from_bytes(hashlib.sha256(self.weight.encode()).digest()[:8], "big")
        return np.sort(np.random.default_rng([own, seed]).choice(every, wanted, replace=False))

    def patches(
        self, values: NDArray[np.float32], positions: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """(G, P, K) inputs that the outputs at `positions` are sums of.

        Args:
            values: (1, C, H, W) the layer's input.
            positions: (P,) from 0 to output height x width.
        """
        top, left, bottom, right = self.pads
        padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
        height, width = self.weight_shape[2:]
        y, x = np.divmod(positions, self.output_size[1])
        rows = y[:, None] * self.strides[0] + np.arange(height) * self.dilations[0]
        columns = x[:, None] * self.strides[1] + np.arange(width) * self.dilations[1]
        taken = padded[:, rows[:, :, None], columns[:, None, :]]  # (C, P, kh, kw)
        grouped = taken.reshape(self.groups, -1, *taken.shape[1:])  # (G, C/G, P, kh, kw)
        return np.asarray(
            grouped.transpose(0, 2, 1, 3, 4).reshape(self.groups, len(positions), self.taps),
            np.float64,
        )


def conv_layers(model: onnx.ModelProto, placement: Placement) -> list[ConvLayer]:
    """The quantised convolutions whose weight no other operator reads, in the order of the graph.

    Args:
        model: without pairs.
        placement: of this model.
    """
    view = GraphView(model)
    placed = {tensor.name for tensor in placement.tensors}
    layers = []
    for weight in placement.weights:
        node = view.nodes[weight.reads[0].node]
        alone = len(weight.reads) == len(view.readers[weight.name]) == 1
        if not (alone and node.op_type == "Conv" and node.input[0] in placed):
            continue
        layer = _layer(view, node)
        if layer is not None:
            layers.append(layer)
    return layers


def _layer(view: GraphView, node: onnx.NodeProto) -> ConvLayer | None:
    """None for a convolution that is not over two dimensions, or pads as its input's size asks."""
    shape, made = view.shape(node.input[0]), view.shape(node.output[0])
    kernel = view.shape(node.input[1])
    automatic = any(a.name == "auto_pad" and a.s != b"NOTSET" for a in node.attribute)
    if automatic or not len(shape) == len(made) == len(kernel) == 4 or shape[0] != 1:
        return None
    strides, dilations = _integers(node, "strides", (1, 1)), _integers(node, "dilations", (1, 1))
    pads = _integers(node, "pads", (0, 0, 0, 0))
    return ConvLayer(
        weight=node.input[1],
        source=node.input[0],
        input_shape=(shape[1], shape[2], shape[3]),
        output_size=(made[2], made[3]),
        weight_shape=(kernel[0], kernel[1], kernel[2], kernel[3]),
        groups=attribute(node, "group", 1),
        strides=(strides[0], strides[1]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        dilations=(dilations[0], dilations[1]),
    )


def _integers(node: onnx.NodeProto, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == name), default)


def in_chunks(layers: Sequence[ConvLayer]) -> Iterator[list[ConvLayer]]:
    """The layers in groups that cost no more than `CHUNK_BYTES` together, or one at a time."""
    chunk: list[ConvLayer] = []
    size = 0
    for layer in layers:
        if chunk and size + layer.cost_bytes > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(layer)
        size += layer.cost_bytes
    if chunk:
        yield chunk


@dataclass
class Moments:
    """Of the patches of one layer."""

    second: NDArray[np.float64]
    """(G, K, K) sum of ``x x^T``."""
    first: NDArray[np.float64]
    """(G, K) sum of ``x``."""
    count: int = 0


def moments(
    graph: onnx.ModelProto,
    layers: Sequence[ConvLayer],
    frames: FrameSet,
    picked: Sequence[int],
    threads: int | None = 1,
) -> list[Moments]:
    """Moments of what the layers read in the quantised graph: the errors of its inputs included.

    Args:
        graph: with pairs.
        layers: few enough that their moments fit in memory, see `in_chunks`.
        frames: what to run it on.
        picked: which of them, in order.
        threads: CPU threads of ONNX Runtime.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """
    names = sorted({layer.source + DQ for layer in layers})
    run = exposed(graph, names, threads)
    sums = [
        Moments(
            second=np.zeros((layer.groups, layer.taps, layer.taps)),
            first=np.zeros((layer.groups, layer.taps)),
        )
        for layer in layers
    ]
    for index in picked:
        values = dict(zip(names, run(frames.read(index)[1]), strict=True))
        for layer, total in zip(layers, sums, strict=True):
            patches = layer.patches(values[layer.source + DQ], layer.positions(index))
            total.second += patches.transpose(0, 2, 1) @ patches
            total.first += patches.sum(axis=1)
            total.count += patches.shape[1]
    return sums
