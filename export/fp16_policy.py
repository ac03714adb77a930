"""Which nodes stay FP32, found by measuring: ranges first, then noise until the gate passes.

The gate is a multiple of the network's own noise floor in half precision: the change of its answers
when every weight moves at random by up to half a rounding step. An FP16 graph that is much further
from FP32 than that loses accuracy somewhere it need not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import ParityError
from export import fp16_measure as measure
from export.fp16 import FLOAT, MAX_FP16, element_types, half_nodes, prepared, to_fp16
from export.scores import finite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

GATE = 4.0
"""Allowed error in noise floors: root mean square of the scores, and pixels that change class."""
FEW_PIXELS = 1e-3
"""Share of pixels that may change whatever the floor: near-ties, which small frames have few of."""
CHAOTIC = 0.05
"""Noise floor over the scores' deviation from which half precision decides nothing."""
HEADROOM = 8.0
"""How far measured maxima must stay below 65504: other frames reach higher."""
TINY = 2.0**-20
"""A tensor whose largest magnitude is below this keeps under five bits in half precision."""
SUMS = frozenset({"GlobalAveragePool", "ReduceMean"})
"""Operators that may add up their whole input in its own precision."""
ROUNDS, NODES_A_ROUND = 6, 8
MIN_GAIN = 4.0
"""Noise of a node's result over its inputs' from which the node and its operands are kept."""


@dataclass(frozen=True)
class HalfVerdict:
    """The FP16 graph against its FP32 graph on the same frames, both on the CPU."""

    frames: int
    nodes: int
    kept: dict[str, str]
    """FP32 nodes besides those whose operator must be, with the reason."""
    rms_error: float
    """Of the class scores, root mean square."""
    max_abs_error: float
    noise_floor: float
    """Root mean square change of the scores when weights move by half a rounding step."""
    sqnr_db: float
    agreement: float
    """Share of pixels, 0..1, whose class is the same."""
    agreement_floor: float
    """The same share when weights move by half a rounding step."""
    chaotic: bool
    """The noise floor is so large a share of the scores that their error decides nothing."""
    passed: bool


def convert(
    graph: onnx.ModelProto,
    frames: Sequence[NDArray[np.uint8]],
    report: Callable[[str], None] = lambda _: None,
) -> tuple[onnx.ModelProto, HalfVerdict]:
    """An FP16 graph that passes the gate with as few nodes in FP32 as were needed.

    Args:
        graph: FP32, static shapes, one uint8 frame input.
        frames: (1, H, W, 3) uint8 each, as the network meets them.
        report: takes progress lines.

    Returns:
        The typed graph and its verdict, which may be a fail (see `require`).

    Raises:
        ArtifactError: the graph has control flow.
        BackendError: onnxruntime refuses the graph.
        ParityError: the FP32 graph's own scores are not finite.
    """
    source = prepared(graph)
    report(f"measuring ranges on {len(frames)} frames")
    kept = out_of_range(source, measure.ranges(source, frames))
    judge = _Judge(source, frames)
    for number in range(ROUNDS + 1):
        half = to_fp16(source, kept)
        twin = measure.rounded(half)
        verdict = judge.verdict(twin, kept, len(half_nodes(source, kept)))
        if verdict.passed or number == ROUNDS:
            break
        found = noisiest(source, twin, frames[0], kept)
        if not found:
            break
        report(
            f"error is {verdict.rms_error / verdict.noise_floor:.1f} noise floors, at most "
            f"{GATE:.0f} are allowed; keeping {len(found)} more nodes in FP32"
        )
        kept |= found
    return half, verdict


def require(verdict: HalfVerdict) -> None:
    """Raise `ParityError` unless the verdict is a pass."""
    if not verdict.passed:
        raise ParityError(
            f"the FP16 graph is not the FP32 one: error {verdict.rms_error:.3g} with a noise floor "
            f"of {verdict.noise_floor:.3g} (at most {GATE:.0f} floors are allowed), agreement "
            f"{verdict.agreement:.6f} with a floor of {verdict.agreement_floor:.6f}, "
            f"{len(verdict.kept)} nodes kept in FP32; nothing was written: build it with "
            "--precision fp32"
        )


def out_of_range(graph: onnx.ModelProto, ranges: Mapping[str, float]) -> dict[str, str]:
    """Nodes half precision cannot hold, with the reason in words.

    Args:
        graph: FP32, prepared.
        ranges: largest magnitude by tensor, weights included.
    """
    sizes = _sizes(graph)
    weights = {tensor.name for tensor in graph.graph.initializer}
    halves = half_nodes(graph)
    kept = {}
    for node in graph.graph.node:
        if node.name not in halves:
            continue
        inputs = [node.input[position] for position in sorted(halves[node.name])]
        outputs = [name for name in node.output if name in ranges]
        reason = _overflow([*inputs, *outputs], ranges, weights) or _underflow(outputs, ranges)
        if not reason and node.op_type in SUMS:
            total = ranges.get(inputs[0], 0.0) * sizes.get(inputs[0], 1) / sizes[node.output[0]]
            if not total <= MAX_FP16:
                reason = f"its sum may reach {total:.3g}"
        if reason:
            kept[node.name] = reason
    return kept


def _overflow(names: list[str], ranges: Mapping[str, float], weights: set[str]) -> str | None:
    for name in names:
        limit = MAX_FP16 if name in weights else MAX_FP16 / HEADROOM
        if not ranges.get(name, 0.0) <= limit:
            return f"{name} reaches {ranges[name]:.3g}"
    return None


def _underflow(names: list[str], ranges: Mapping[str, float]) -> str | None:
    for name in names:
        if 0.0 < ranges[name] < TINY:
            return f"{name} stays below {ranges[name]:.3g}"
    return None


def noisiest(
    graph: onnx.ModelProto,
    twin: onnx.ModelProto,
    frame: NDArray[np.uint8],
    kept: Mapping[str, str],
) -> dict[str, str]:
    """FP16 nodes around the points where noise grows most, with the reason.

    Args:
        graph: FP32, prepared.
        twin: the rounding twin of its FP16 graph.
        frame: (1, H, W, 3) uint8.
        kept: nodes that are FP32 already.
    """
    types = element_types(graph)
    produced = {name for node in twin.graph.node for name in node.output}
    names = [
        name
        for node in graph.graph.node
        for name in node.output
        if types.get(name) == FLOAT and name in produced
    ]
    level = measure.noise(graph, twin, frame, names)
    floor = (float(np.finfo(np.float16).eps) / 2) ** 2 / 3
    gains = {}
    for node in graph.graph.node:
        own = max((level[name] for name in node.output if name in level), default=0.0)
        fed = max((level[name] for name in node.input if name in level), default=0.0)
        gains[node.name] = math.inf if math.isnan(own) else own / max(fed, floor)
    makers = {name: node for node in graph.graph.node for name in node.output}
    halves = half_nodes(graph, kept)
    found: dict[str, str] = {}
    for node in sorted(graph.graph.node, key=lambda node: gains[node.name], reverse=True):
        if gains[node.name] <= MIN_GAIN or len(found) >= NODES_A_ROUND:
            break
        reason = f"{node.name} multiplies the rounding noise by {gains[node.name]:.3g}"
        # Where digits cancel, the noise comes in with operands that were rounded before.
        group = {node.name, *_makers_of(node, makers)} & set(halves)
        found |= {name: reason for name in sorted(group) if name not in found}
    return found


def _makers_of(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> set[str]:
    """The nodes that computed what `node` reads, and those that only moved it there."""
    found: set[str] = set()
    queue = [makers[name] for name in node.input if name in makers]
    while queue:
        maker = queue.pop()
        if maker.name in found:
            continue
        found.add(maker.name)
        if maker.op_type in measure.MOVES:
            queue.extend(makers[name] for name in maker.input if name in makers)
    return found


class _Judge:
    """Compares FP16 graphs with one FP32 graph; that one and its noise floor are run once."""

    def __init__(self, graph: onnx.ModelProto, frames: Sequence[NDArray[np.uint8]]) -> None:
        self._frames = frames
        self._reference = finite(measure.scores(graph, frames), "the FP32 graph")
        moved = finite(
            measure.scores(measure.jittered(graph), frames),
            "the FP32 graph with its weights moved by half an FP16 rounding step",
        )
        self._same = _agreement(moved, self._reference)
        self._power = float(np.square(self._reference, dtype=np.float64).mean())
        # No FP16 answer is better than one rounding of itself.
        rounding = math.sqrt(self._power) * float(np.finfo(np.float16).eps) / 2
        self._floor = max(_rms(moved - self._reference), rounding)

    def verdict(self, twin: onnx.ModelProto, kept: dict[str, str], nodes: int) -> HalfVerdict:
        found = measure.scores(twin, self._frames)
        error = found - self._reference
        rms, worst = _rms(error), float(np.abs(error).max())
        deviation = float((self._reference - self._reference.mean(1, keepdims=True)).std())
        same = _agreement(found, self._reference)
        near = 1 - same <= GATE * (1 - self._same) + FEW_PIXELS
        return HalfVerdict(
            frames=len(self._frames), nodes=nodes, kept=dict(kept), rms_error=rms,
            max_abs_error=worst, noise_floor=self._floor,
            sqnr_db=10 * math.log10(self._power / rms**2) if rms > 0 else math.inf,
            agreement=same, agreement_floor=self._same,
            chaotic=self._floor > CHAOTIC * deviation,
            passed=bool(np.isfinite(found).all()) and rms <= GATE * self._floor and near,
        )  # fmt: skip


def _agreement(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Share of pixels of equal class, of (N, C, H, W) scores."""
    return float((one.argmax(1) == other.argmax(1)).mean())


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _sizes(graph: onnx.ModelProto) -> dict[str, int]:
    """Number of elements by tensor of known shape."""
    return {
        value.name: math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.graph.value_info, *graph.graph.output, *graph.graph.input)
    }
