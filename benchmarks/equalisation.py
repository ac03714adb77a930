"""Cross-layer equalisation: ranges of neighbouring weights made alike before quantising.

A channel between two convolutions is divided by a factor in the first and multiplied by it in the
second. That is exact where a ReLU or nothing is between them. A ReLU6 is not homogeneous: a channel
is scaled only if no calibration frame reaches the 6, before or after; beyond them, it may.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from calibration.graph import GraphView, attribute
from calibration.operators import ACTIVATIONS
from calibration.ranges import exposed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from calibration.frames import FrameSet

MAX_FACTOR = 8.0
"""Largest factor by which equalisation scales a channel, either way."""
PASSES = 3
"""Over all pairs of layers: each changes the next one's ranges."""
SHOWN_AT_ONCE = 8
"""Convolutions whose outputs one inference hands out."""


@dataclass(frozen=True)
class Pair:
    """Two convolutions with nothing but an activation between them."""

    first: onnx.NodeProto
    second: onnx.NodeProto
    limit: float
    """What the activation cuts off; infinite for a ReLU or none."""


def pairs_of(model: onnx.ModelProto) -> list[Pair]:
    """All pairs whose scales can be moved from one to the other."""
    view = GraphView(model)
    pairs = []
    for node in view.nodes.values():
        reader = view.sole_reader(node.output[0]) if node.op_type == "Conv" else None
        limit = math.inf
        if reader is not None and reader.op_type in ACTIVATIONS:
            high = view.value(reader.input[2]) if len(reader.input) > 2 else None
            limit = math.inf if high is None else float(high)
            reader = view.sole_reader(reader.output[0])
        if reader is None or reader.op_type != "Conv" or reader.input[1] == node.output[0]:
            continue
        learned = all(one.input[1] in view.initializers for one in (node, reader))
        groups = attribute(reader, "group", 1)
        if learned and groups in (1, view.shape(reader.input[1])[0]):
            pairs.append(Pair(node, reader, limit))
    return pairs


def equalised(
    model: onnx.ModelProto, frames: FrameSet, threads: int
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model with the ranges of neighbouring weights made alike, and what was scaled."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    pairs = pairs_of(made)
    largest = largest_outputs(model, [pair.first.output[0] for pair in pairs], frames, threads)
    values = {t.name: numpy_helper.to_array(t).copy() for t in made.graph.initializer}
    scaled = 0
    for round_number in range(PASSES):
        for pair in pairs:
            name = pair.first.output[0]
            factors = _factors(pair, values, largest[name])
            largest[name] = largest[name] / factors
            _scale(pair, values, factors)
            scaled += int((factors != 1).sum()) if round_number == 0 else 0
    for tensor in made.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    channels = sum(len(largest[pair.first.output[0]]) for pair in pairs)
    capped = sum(pair.limit < math.inf for pair in pairs)
    return made, {
        "pairs": len(pairs), "pairs_with_relu6": capped, "channels": channels, "scaled": scaled,
    }  # fmt: skip


def _per_input(pair: Pair, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The second weight with the first's output channels in front."""
    weight = values[pair.second.input[1]]
    return weight if attribute(pair.second, "group", 1) > 1 else weight.swapaxes(0, 1)


def _factors(
    pair: Pair, values: Mapping[str, NDArray[Any]], largest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(C,) what the first layer's outputs are divided by."""
    before = np.abs(values[pair.first.input[1]]).reshape(len(largest), -1).max(axis=1)
    after = np.abs(_per_input(pair, values)).reshape(len(largest), -1).max(axis=1)
    usable = (before > 0) & (after > 0) & (largest < pair.limit)
    wanted = np.sqrt(np.divide(before, after, out=np.ones(len(before)), where=usable))
    lowest = np.maximum(largest / pair.limit, 1 / MAX_FACTOR)
    return np.where(usable, np.clip(wanted, lowest, MAX_FACTOR), 1.0)


def _scale(pair: Pair, values: dict[str, NDArray[Any]], factors: NDArray[np.float64]) -> None:
    narrow = factors.astype(np.float32)
    values[pair.first.input[1]] /= narrow[:, None, None, None]
    if len(pair.first.input) > 2:
        values[pair.first.input[2]] /= narrow
    _per_input(pair, values)[...] *= narrow[:, None, None, None]


def largest_outputs(
    model: onnx.ModelProto, names: list[str], frames: FrameSet, threads: int
) -> dict[str, NDArray[np.float64]]:
    """Convolution -> (C,) largest value of each output channel in any frame."""
    found: dict[str, NDArray[np.float64]] = {}
    for start in range(0, len(names), SHOWN_AT_ONCE):
        shown = names[start : start + SHOWN_AT_ONCE]
        run = exposed(model, shown, threads)
        for index in range(len(frames)):
            for name, values in zip(shown, run(frames.read(index)[1]), strict=True):
                peak = values[0].max(axis=(1, 2)).astype(np.float64)
                found[name] = np.maximum(found.get(name, peak), peak)
    return found
