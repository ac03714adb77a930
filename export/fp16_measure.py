"""What half precision does to a graph, measured on the CPU.

ONNX Runtime's CPU provider has few FP16 kernels: it computes an FP16 graph in FP32 and drops the
casts between its own, so neither rounding nor overflow shows. `rounded` writes both into the graph:
an FP32 twin that rounds every value where the FP16 graph stores one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from export.fp16 import FLOAT, FLOAT16, element_types, half_nodes, unique
from export.scores import scores_of
from export.sessions import GraphRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

_MOVES = """
    ArgMax Concat DepthToSpace Expand Flatten Gather Identity MaxPool Pad Relu Reshape Slice
    SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
"""
MOVES = frozenset(_MOVES.split())
"""Operators that put out values they were given: nothing is rounded twice."""
THREADS = 1


def rounded(graph: onnx.ModelProto) -> onnx.ModelProto:
    """An FP32 graph with the same names that rounds as the FP16 `graph` does.

    Arithmetic inside a node is FP32, as the accumulators of convolutions on a GPU are.
    """
    import onnx
    from onnx import numpy_helper

    types = element_types(graph)
    names = set(types) | {node.name for node in graph.graph.node}
    twin = onnx.ModelProto()
    twin.CopyFrom(graph)
    del twin.graph.node[:], twin.graph.initializer[:], twin.graph.value_info[:]
    for tensor in graph.graph.initializer:
        if tensor.data_type == FLOAT16:
            exact = numpy_helper.to_array(tensor).astype(np.float32)
            tensor = numpy_helper.from_array(exact, tensor.name)
        twin.graph.initializer.append(tensor)
    for node in graph.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for attribute in copy.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT16:
                attribute.i = FLOAT
        twin.graph.node.append(copy)
        if node.op_type in MOVES:
            continue
        for position, name in enumerate(node.output):
            if types.get(name) == FLOAT16:
                raw, half = (unique(f"{name}_{end}", names) for end in ("raw", "half"))
                copy.output[position] = raw
                twin.graph.node[-1].CopyFrom(copy)
                for source, target, kind in ((raw, half, FLOAT16), (half, name, FLOAT)):
                    title = unique(f"round_{target}", names)
                    cast = onnx.helper.make_node("Cast", [source], [target], name=title, to=kind)
                    twin.graph.node.append(cast)
    return twin


def jittered(graph: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """The FP32 graph with its weights moved at random by up to half an FP16 rounding step.

    What this changes in the answers is the network's own noise floor in half precision.
    """
    import onnx
    from onnx import numpy_helper

    rng = np.random.default_rng(seed)
    halves = half_nodes(graph)
    moved_names = {
        node.input[position] for node in graph.graph.node for position in halves.get(node.name, ())
    }
    twin = onnx.ModelProto()
    twin.CopyFrom(graph)
    for tensor in twin.graph.initializer:
        if tensor.name in moved_names:
            values = numpy_helper.to_array(tensor)
            step = rng.uniform(-1, 1, values.shape) * float(np.finfo(np.float16).eps) / 2
            moved = (values * (1 + step)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    return twin


def ranges(graph: onnx.ModelProto, frames: Sequence[Frame]) -> dict[str, float]:
    """Largest magnitude of every FP32 tensor over `frames`, weights included.

    The maxima are taken inside the graph, so that memory does not grow with the network.

    Args:
        graph: FP32 with one input, inferred types.
        frames: (1, H, W, 3) uint8 each.
    """
    import onnx
    from onnx import helper, numpy_helper

    probed = onnx.ModelProto()
    probed.CopyFrom(graph)
    types = element_types(graph)
    weights = {t.name: t for t in graph.graph.initializer if t.data_type == FLOAT}
    tensors = [n for node in graph.graph.node for n in node.output if types.get(n) == FLOAT]
    for index, name in enumerate(tensors):
        size, top = f"probe_abs_{index}", f"probe_max_{index}"
        probed.graph.node.append(helper.make_node("Abs", [name], [size]))
        probed.graph.node.append(helper.make_node("ReduceMax", [size], [top], keepdims=0))
        probed.graph.output.append(helper.make_tensor_value_info(top, FLOAT, []))
    found = {
        name: float(np.abs(numpy_helper.to_array(t)).max(initial=0)) for name, t in weights.items()
    }
    run = GraphRun(probed, threads=THREADS)
    for frame in frames:
        tops = run(_feed(graph, frame))
        for index, name in enumerate(tensors):
            # Not `max`: it would lose a NaN.
            found[name] = float(np.maximum(found.get(name, 0.0), tops[f"probe_max_{index}"]))
    return found


def noise(
    exact: onnx.ModelProto, other: onnx.ModelProto, frame: Frame, names: Sequence[str]
) -> dict[str, float]:
    """Relative noise power per tensor: mean squared difference over mean square, in one run.

    Args:
        exact: reference graph, FP32.
        other: an FP32 graph with tensors of the same names, such as `rounded`.
        frame: (1, H, W, 3) uint8.
        names: FP32 tensors of both.
    """
    import onnx
    from onnx import compose, helper

    pair = onnx.ModelProto()
    pair.CopyFrom(exact)
    twin = compose.add_prefix_graph(other.graph, "twin_", rename_inputs=False)
    pair.graph.node.extend(twin.node)
    pair.graph.initializer.extend(twin.initializer)
    del pair.graph.output[:], pair.graph.value_info[:]
    for index, name in enumerate(names):
        error, noise_out, power_out = (f"probe_{part}_{index}" for part in ("d", "n", "p"))
        pair.graph.node.extend(
            [
                helper.make_node("Sub", [name, f"twin_{name}"], [error]),
                helper.make_node("ReduceSumSquare", [error], [noise_out], keepdims=0),
                helper.make_node("ReduceSumSquare", [name], [power_out], keepdims=0),
            ]
        )
        for out in (noise_out, power_out):
            pair.graph.output.append(helper.make_tensor_value_info(out, FLOAT, []))
    found = GraphRun(pair, threads=THREADS)(_feed(exact, frame))
    tiny = float(np.finfo(np.float32).tiny)
    return {
        name: float(found[f"probe_n_{index}"]) / max(float(found[f"probe_p_{index}"]), tiny)
        for index, name in enumerate(names)
    }


def scores(graph: onnx.ModelProto, frames: Sequence[Frame]) -> NDArray[np.float32]:
    """(frames, C, H, W) class scores of ONNX Runtime on one thread.

    Args:
        graph: any with one frame input.
        frames: (1, H, W, 3) uint8 each.
    """
    name = scores_of(graph)
    run = GraphRun(graph, shown=[name], threads=THREADS)
    found = [run(_feed(graph, frame))[name] for frame in frames]
    return np.concatenate(found).astype(np.float32)


def _feed(graph: onnx.ModelProto, frame: Frame) -> dict[str, NDArray[Any]]:
    return {graph.graph.input[0].name: frame}
