"""What a kernel-3 level of the decoder looks like in an exported graph.

Two orders are known. With halo ``tile`` the pixels of the level's input are gathered into tiles and
expanded there; with halo ``map`` they are expanded first and the hidden map is gathered::

    tile: Gather -> Reshape -> Transpose -> MatMul(w1, .) -> Add -> Clip -> Reshape -> Conv
    map:  MatMul(., w1) -> Add -> Clip -> Reshape -> Gather -> Reshape -> Transpose -> Reshape ->
          Conv

and both go on with ``Conv -> Clip -> Reshape -> Transpose -> MatMul(., w3) -> Add``. All shapes are
read from constants; that the three biases are float32 makes everything between them float32.

P patches of h x w pixels have tiles of (h + 2) x (w + 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from edge_runtime.backends.blocked.graph import Graph

T = TypeVar("T")
TAPS = 9
"""Weights of a 3x3 kernel."""
SWAPPED = [0, 2, 1]
PLAIN: dict[str, tuple[Any, ...]] = {
    "auto_pad": (b"NOTSET", b"VALID"),
    "dilations": ([1, 1],),
    "kernel_shape": ([3, 3],),
    "pads": ([0, 0, 0, 0],),
    "strides": ([1, 1],),
}
"""What a recognised convolution may state; what it does not state is the same by default."""


class _MismatchError(Exception):
    """Not the pattern."""


@dataclass(frozen=True)
class Columns:
    """Columns of a matrix with one row a patch: the generated weights of one convolution."""

    name: str
    """The tensor; where `width` is `count`, it may have any shape of that many values."""
    width: int
    start: int
    count: int


@dataclass(frozen=True)
class Expansion:
    """Product with w1, bias and activation, and the gather in front of or behind it."""

    halo: Literal["tile", "map"]
    source: str
    """``tile``: (all pixels, inputs); ``map``: (P, h * w, inputs)."""
    inputs: int
    tile_pixels: NDArray[np.int64]
    """(P, (h + 2) * (w + 2)), rows of all pixels."""
    weights: Columns
    """A patch's (hidden, inputs)."""
    bias: NDArray[np.float32]
    """(1 or h * w, hidden)."""
    limits: tuple[float, float]


@dataclass(frozen=True)
class Depthwise:
    """The convolution and its activation."""

    tile: tuple[int, int]
    weights: Columns
    """A patch's (hidden, 3, 3)."""
    bias: NDArray[np.float32]
    """(P, hidden)."""
    limits: tuple[float, float]


@dataclass(frozen=True)
class Projection:
    """Product with w3, and bias."""

    outputs: int
    weights: Columns
    """A patch's (outputs, hidden)."""
    bias: str
    """Constant (h * w, outputs)."""
    result: onnx.NodeProto
    """The addition; it makes (P, h * w, outputs)."""


@dataclass(frozen=True)
class Level:
    """A recognised level."""

    patches: int
    hidden: int
    expansion: Expansion
    depthwise: Depthwise
    projection: Projection


def find_levels(graph: Graph) -> list[Level]:
    """All levels of a graph that have exactly the known form, in the graph's order."""
    levels: list[Level] = []
    if graph.nested:
        return levels
    for node in graph.nodes:
        if node.op_type == "Conv" and len(node.input) == 3:
            try:
                levels.append(_level(graph, node))
            except _MismatchError:
                continue
    return levels


def _level(graph: Graph, node: onnx.NodeProto) -> Level:
    stated = graph.attributes(node)
    groups = stated.pop("group", 1)
    _must(all(value in PLAIN.get(name, ()) for name, value in stated.items()))
    kernel = _some(graph.maker(node.input[1], "Reshape"))
    _must(graph.integers(kernel.input[1]) == (groups, 1, 3, 3))
    tiles = _some(graph.maker(node.input[0], "Reshape"))
    one, channels, height, width = _shape(graph, tiles, 4)
    _must(one == 1 and channels == groups and min(height, width) > 2)
    bias = _some(graph.floats(node.input[2]))

    clip = _some(graph.reader(node.output[0], "Clip"))
    flat = _some(graph.reader(clip.output[0], "Reshape"))
    patches, hidden, pixels = _shape(graph, flat, 3)
    _must(patches * hidden == groups and pixels == (height - 2) * (width - 2))
    depthwise = Depthwise(
        (height, width),
        _columns(graph, kernel.input[0], patches, hidden * TAPS),
        bias.reshape(patches, hidden),
        _limits(graph, clip),
    )
    projection = _projection(graph, flat.output[0], (patches, hidden, pixels))
    size = (patches, hidden, height * width)
    first = graph.maker(tiles.input[0], "Clip")
    if first is not None:
        expansion = _expansion_of_tiles(graph, first, size)
    else:
        expansion = _expansion_of_map(graph, tiles.input[0], size, pixels)
    return Level(patches, hidden, expansion, depthwise, projection)


def _projection(graph: Graph, name: str, size: tuple[int, int, int]) -> Projection:
    patches, hidden, pixels = size
    swapped = _some(graph.reader(name, "Transpose"))
    _must(graph.attributes(swapped).get("perm") == SWAPPED)
    product = _some(graph.reader(swapped.output[0], "MatMul"))
    _must(product.input[0] == swapped.output[0])
    weights, shape = _swapped_weights(graph, product.input[1])
    outputs = shape[1]
    _must(shape == (patches, outputs, hidden))
    result = _some(graph.reader(product.output[0], "Add"))
    bias, value = _added(graph, result, product.output[0])
    _must(value.shape == (pixels, outputs))
    columns = _columns(graph, weights, patches, outputs * hidden)
    return Projection(outputs, columns, bias, result)


def _expansion_of_tiles(
    graph: Graph, clip: onnx.NodeProto, size: tuple[int, int, int]
) -> Expansion:
    patches, hidden, pixels = size
    add = _some(graph.maker(clip.input[0], "Add"))
    product = _product_in(graph, add)
    _, bias = _added(graph, add, product.output[0])
    _must(bias.shape == (hidden, 1))
    weights = _some(graph.maker(product.input[0], "Reshape"))
    inputs = _shape(graph, weights, 3)[2]
    _must(_shape(graph, weights, 3) == (patches, hidden, inputs))
    swapped = _some(graph.maker(product.input[1], "Transpose"))
    _must(graph.attributes(swapped).get("perm") == SWAPPED)
    source, rows = _gathered(graph, swapped.input[0], (patches, pixels, inputs))
    columns = _columns(graph, weights.input[0], patches, hidden * inputs)
    return Expansion(
        "tile", source, inputs, rows, columns, bias.reshape(1, hidden), _limits(graph, clip)
    )


def _expansion_of_map(
    graph: Graph, name: str, size: tuple[int, int, int], map_pixels: int
) -> Expansion:
    patches, hidden, pixels = size
    swapped = _some(graph.maker(name, "Transpose"))
    _must(graph.attributes(swapped).get("perm") == SWAPPED)
    source, rows = _gathered(graph, swapped.input[0], (patches, pixels, hidden))
    flat = _some(graph.maker(source, "Reshape"))
    _must(graph.integers(flat.input[1]) in ((-1, hidden), (patches * map_pixels, hidden)))
    clip = _some(graph.maker(flat.input[0], "Clip"))
    add = _some(graph.maker(clip.input[0], "Add"))
    product = _product_in(graph, add)
    _, bias = _added(graph, add, product.output[0])
    _must(bias.shape == (map_pixels, hidden))
    weights, shape = _swapped_weights(graph, product.input[1])
    _must(shape[:2] == (patches, hidden))
    columns = _columns(graph, weights, patches, hidden * shape[2])
    return Expansion("map", product.input[0], shape[2], rows, columns, bias, _limits(graph, clip))


def _product_in(graph: Graph, add: onnx.NodeProto) -> onnx.NodeProto:
    """The matrix product that a bias is added to."""
    makers = (graph.maker(name, "MatMul") for name in add.input)
    return _some(next((node for node in makers if node is not None), None))


def _added(graph: Graph, add: onnx.NodeProto, product: str) -> tuple[str, NDArray[np.float32]]:
    """What is added to a product: the name and value of a constant."""
    others = [name for name in add.input if name != product]
    _must(len(others) == 1)
    return others[0], _some(graph.floats(others[0]))


def _swapped_weights(graph: Graph, name: str) -> tuple[str, tuple[int, ...]]:
    """Generated weights behind a swap of their last two dimensions: what is reshaped, to what."""
    swapped = _some(graph.maker(name, "Transpose"))
    _must(graph.attributes(swapped).get("perm") == SWAPPED)
    weights = _some(graph.maker(swapped.input[0], "Reshape"))
    return weights.input[0], _shape(graph, weights, 3)


def _gathered(
    graph: Graph, name: str, shape: tuple[int, int, int]
) -> tuple[str, NDArray[np.int64]]:
    """Tiles (P, pixels, channels) as rows of a source: the source and the rows of each patch."""
    patches, pixels, channels = shape
    reshape = _some(graph.maker(name, "Reshape"))
    _must(graph.integers(reshape.input[1]) in (shape, (patches, -1, channels)))
    gather = _some(graph.maker(reshape.input[0], "Gather"))
    _must(graph.attributes(gather).get("axis", 0) == 0)
    rows = graph.integers(gather.input[1])
    _must(rows is not None and len(rows) == patches * pixels and min(rows) >= 0)
    value = _some(graph.constant(gather.input[1]))
    return gather.input[0], value.astype("int64").reshape(patches, pixels)


def _columns(graph: Graph, name: str, patches: int, count: int) -> Columns:
    """Read through a slice, so that taking the columns of some patches stays one copy."""
    cut = graph.maker(name, "Slice")
    if cut is None or len(cut.input) < 4:
        return Columns(name, count, 0, count)
    whole = graph.maker(cut.input[0], "Reshape")
    shape = None if whole is None else graph.integers(whole.input[1])
    starts, ends, axes = (graph.integers(part) for part in cut.input[1:4])
    steps = graph.integers(cut.input[4]) if len(cut.input) > 4 else (1,)
    if shape is None or starts is None or ends is None or (axes, steps) != ((1,), (1,)):
        return Columns(name, count, 0, count)
    if len(shape) != 2 or shape[0] != patches or not 0 <= starts[0] == ends[0] - count:
        return Columns(name, count, 0, count)
    if ends[0] > shape[1]:
        return Columns(name, count, 0, count)
    return Columns(cut.input[0], shape[1], starts[0], count)


def _shape(graph: Graph, reshape: onnx.NodeProto, rank: int) -> tuple[int, ...]:
    """The constant shape that a Reshape gives, all of it said."""
    shape = _some(graph.integers(reshape.input[1]))
    _must(len(shape) == rank and min(shape) > 0)
    return shape


def _limits(graph: Graph, clip: onnx.NodeProto) -> tuple[float, float]:
    _must(len(clip.input) == 3)
    low, high = (_some(graph.floats(name)) for name in clip.input[1:])
    _must(low.size == high.size == 1)
    return float(low.item()), float(high.item())


def _some(value: T | None) -> T:
    if value is None:
        raise _MismatchError
    return value


def _must(holds: bool) -> None:
    if not holds:
        raise _MismatchError
