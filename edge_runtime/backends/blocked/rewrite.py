"""The blocked form of a recognised level, put in its place.

With B channels a block, hidden maps are (P, C / B, pixels, B) in memory, which to the blocked
convolution is one map of P * C channels. The first product makes them so at once: the pixels of a
tile times the weights of one block. Channels beyond the last that exist multiply whatever weights
stand behind the others; `ReorderOutput` leaves them out.

A level is computed some patches at a time, so that what one step writes is still in the cache when
the next one reads it.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.blocked.emit import DOMAIN, Emitter
from edge_runtime.backends.blocked.graph import Graph, needed
from edge_runtime.backends.blocked.pattern import TAPS, find_levels

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edge_runtime.backends.blocked.pattern import Columns, Level

CACHE_BYTES = 2 << 20
"""Of hidden maps of the patches computed together, a thread: about a core's own cache."""


def rewrite(model: onnx.ModelProto, block: int, threads: int, cache: int = CACHE_BYTES) -> int:
    """Put the blocked form in the place of every recognised level of a model.

    Args:
        model: changed in place.
        block: channels of a block, see `edge_runtime.backends.blocked.probe`.
        threads: that will share the work of an operator.
        cache: bytes of hidden maps to compute together, a thread.

    Returns:
        How many levels there were.
    """
    from onnx import helper

    levels = find_levels(Graph(model.graph))
    nodes = list(model.graph.node)
    for index, level in enumerate(levels):
        emitter = Emitter(f"blocked_level_{index}")
        _Blocked(level, block, emitter).build(cache * threads)
        place = next(i for i, node in enumerate(nodes) if node is level.projection.result)
        nodes[place : place + 1] = emitter.nodes
        model.graph.initializer.extend(emitter.constants)
    if levels:
        kept = needed(nodes, {value.name for value in model.graph.output})
        del model.graph.node[:]
        model.graph.node.extend(kept)
        if all(opset.domain != DOMAIN for opset in model.opset_import):
            model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return len(levels)


class _Blocked:
    """Builds the blocked form of one level.

    Args:
        level: the recognised one.
        block: channels of a block.
        emitter: takes the nodes.
    """

    def __init__(self, level: Level, block: int, emitter: Emitter) -> None:
        self.level, self.block, self.emit = level, block, emitter
        self.blocks = ceil(level.hidden / block)
        self.channels = self.blocks * block
        self.pixels = level.expansion.tile_pixels.shape[1]

    def build(self, cache: int) -> None:
        """Emit all nodes; the last one puts out what the level's last addition did."""
        level, result = self.level, self.level.projection.result.output[0]
        bytes_a_patch = 4 * self.channels * self.pixels
        parts = min(ceil(level.patches * bytes_a_patch / cache), level.patches)
        edges = [level.patches * part // parts for part in range(parts + 1)]
        whole_map = self._expanded_map() if level.expansion.halo == "map" else None
        made = []
        for first, last in pairwise(edges):
            if whole_map is None:
                hidden = self._expanded_tiles(first, last)
            else:
                hidden = self._gathered_blocks(whole_map, first, last)
            hidden = self._convolved(hidden, first, last)
            made.append(self._projected(hidden, first, last, result if parts == 1 else ""))
        if parts > 1:
            self.emit.node("Concat", *made, output=result, axis=0)

    def _expanded_tiles(self, first: int, last: int) -> str:
        """(patches, blocks, pixels, B): tiles gathered, then expanded block by block."""
        part, patches, emit = self.level.expansion, last - first, self.emit
        rows = emit.constant(part.tile_pixels[first:last].astype(np.int32).ravel())
        tiles = emit.node("Gather", part.source, rows, axis=0)
        tiles = emit.reshape(tiles, patches, 1, self.pixels, part.inputs)
        weights = self._rows(part.weights, first, last, self.channels * part.inputs)
        weights = emit.reshape(weights, patches, self.blocks, self.block, part.inputs)
        weights = emit.node("Transpose", weights, perm=[0, 1, 3, 2])
        bias = self._padded(part.bias).reshape(self.blocks, 1, self.block)
        # For each pixel, though they are equal: one long run is added faster than B at a time.
        bias = np.broadcast_to(bias, (self.blocks, self.pixels, self.block))
        hidden = emit.node("MatMul", tiles, weights)
        return emit.clip(emit.node("Add", hidden, emit.constant(bias)), part.limits)

    def _expanded_map(self) -> str:
        """(all pixels * blocks, B): the whole map, expanded in channels-last patches."""
        part, patches, emit = self.level.expansion, self.level.patches, self.emit
        weights = self._rows(part.weights, 0, patches, self.channels * part.inputs)
        weights = emit.reshape(weights, patches, self.channels, part.inputs)
        weights = emit.node("Transpose", weights, perm=[0, 2, 1])
        hidden = emit.node("MatMul", part.source, weights)
        hidden = emit.node("Add", hidden, emit.constant(self._padded(part.bias)))
        return emit.reshape(emit.clip(hidden, part.limits), -1, self.block)

    def _gathered_blocks(self, whole_map: str, first: int, last: int) -> str:
        """(patches, blocks, pixels, B): tiles of an expanded map, block by block."""
        rows = self.level.expansion.tile_pixels[first:last, None] * self.blocks
        rows = rows + np.arange(self.blocks)[:, None]
        index = self.emit.constant(rows.astype(np.int32))
        return self.emit.node("Gather", whole_map, index, axis=0)

    def _convolved(self, hidden: str, first: int, last: int) -> str:
        """(patches, pixels without halo, hidden channels): convolved, and channels-last again."""
        part, patches, emit = self.level.depthwise, last - first, self.emit
        height, width = part.tile
        groups = patches * self.channels
        weights = self._rows(part.weights, first, last, self.channels * TAPS)
        weights = emit.reshape(weights, patches * self.blocks, self.block, TAPS)
        weights = emit.node("Transpose", weights, perm=[0, 2, 1])
        weights = emit.reshape(weights, groups, 1, 3, 3)
        bias = emit.constant(self._padded(part.bias[first:last]).ravel())
        hidden = emit.reshape(hidden, 1, groups, height, width)
        hidden = emit.node(
            "Conv", hidden, weights, bias, domain=DOMAIN, group=groups, kernel_shape=[3, 3],
            activation="Clip", activation_params=list(part.limits),
        )  # fmt: skip
        height, width = height - 2, width - 2
        hidden = emit.reshape(hidden, patches, self.channels, height, width)
        hidden = emit.node(
            "ReorderOutput", hidden, domain=DOMAIN, channels=self.level.hidden, channels_last=1
        )
        return emit.reshape(hidden, patches, height * width, self.level.hidden)

    def _projected(self, hidden: str, first: int, last: int, output: str) -> str:
        """(patches, pixels without halo, outputs)."""
        part, patches, emit = self.level.projection, last - first, self.emit
        weights = self._rows(part.weights, first, last, part.outputs * self.level.hidden)
        weights = emit.reshape(weights, patches, part.outputs, self.level.hidden)
        weights = emit.node("Transpose", weights, perm=[0, 2, 1])
        return emit.node("Add", emit.node("MatMul", hidden, weights), part.bias, output=output)

    def _rows(self, columns: Columns, first: int, last: int, count: int) -> str:
        """(patches, count): generated weights of some patches, and `count` of their columns.

        Columns that do not exist are 0. One copy does all of it.
        """
        patches = self.level.patches
        name = columns.name
        if columns.width == columns.count:
            name = self.emit.reshape(name, patches, columns.count)
        edges = (-first, -columns.start, last - patches, columns.start + count - columns.width)
        return self.emit.node("Pad", name, self.emit.integers(edges)) if any(edges) else name

    def _padded(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(rows, hidden) -> (rows, channels), with zeros."""
        return np.pad(channels, ((0, 0), (0, self.channels - self.level.hidden)))
