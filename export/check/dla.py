"""Rules of the deep-learning accelerator of Orin boards: what cannot run there.

What fails these moves to the GPU without a word, so all are warnings, save what has no chance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from export.check.facts import attribute
from export.check.rules import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.check.facts import Facts
    from export.check.targets import Target

MAX_DIMENSION, MAX_BATCH, MAX_KERNEL, MAX_LOADABLES = 8192, 4096, 32, 16
_SUPPORTED = """
    Add AveragePool BatchNormalization Clip Concat Constant Conv ConvTranspose DequantizeLinear
    Div Elu Equal Flatten Gemm GlobalAveragePool GlobalMaxPool Greater Identity LeakyRelu Less
    MatMul Max MaxPool Min Mul PRelu Pow QuantizeLinear ReduceMax Relu Reshape Resize Sigmoid Slice
    Softmax Split Squeeze Sub Tanh Transpose Unsqueeze
"""
SUPPORTED = frozenset(_SUPPORTED.split())


def operators(facts: Facts, _: Target) -> Iterator[Finding]:
    """Operators that the DLA has not."""
    for node in facts.nodes:
        if node.op_type not in SUPPORTED:
            text = f"{node.op_type} does not run on the DLA and moves to the GPU silently"
            yield Finding("dla-operator", "warning", node.name, text)


def dimensions(facts: Facts, _: Target) -> Iterator[Finding]:
    """Every dimension but the first is at most 8192, the first at most 4096."""
    for node in facts.nodes:
        for name in (*node.input, *node.output):
            shape = facts.shapes.get(name)
            if not shape or None in shape or facts.is_constant(name):
                continue
            sizes = [size for size in shape if size is not None]
            if max(sizes[1:], default=0) > MAX_DIMENSION or sizes[0] > MAX_BATCH:
                text = f"{name} is {'x'.join(map(str, sizes))}; a DLA dimension is at most 8192"
                yield Finding("dla-dimension", "warning", node.name, text)
                break


def run_time_weights(facts: Facts, _: Target) -> Iterator[Finding]:
    """Weights made at run time."""
    for node in facts.nodes:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and not facts.is_constant(
            node.input[1]
        ):
            text = "its weights are generated at run time, which no DLA can do; it runs on the GPU"
            yield Finding("dla-weights", "warning", node.name, text)


def kernels(facts: Facts, _: Target) -> Iterator[Finding]:
    """Convolution kernels and strides beyond the DLA's range."""
    for node in facts.nodes:
        if node.op_type != "Conv":
            continue
        shape = facts.shapes.get(node.input[1], ())
        kernel = [size for size in shape[2:] if size is not None]
        strides = attribute(node, "strides", [1])
        if max(kernel, default=1) > MAX_KERNEL or max(strides) > 8:
            text = f"kernel {kernel} with strides {list(strides)}; the DLA takes 1..32 and 1..8"
            yield Finding("dla-kernel", "warning", node.name, text)


def share(facts: Facts, target: Target) -> Iterator[Finding]:
    """Whether enough of the network is left to be worth a DLA."""
    names = {
        finding.node
        for rule in (operators, dimensions, run_time_weights, kernels)
        for finding in rule(facts, target)
    }
    weighted = [n for n in facts.nodes if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    left = [node for node in weighted if node.name not in names]
    pieces = _pieces(facts, names)
    if weighted and not left:
        yield Finding("dla-nothing", "error", "", "no convolution or product can run on the DLA")
    elif pieces > MAX_LOADABLES:
        text = f"about {pieces} separate pieces for the DLA; a core holds {MAX_LOADABLES}"
        yield Finding("dla-pieces", "warning", "", text)


def _pieces(facts: Facts, excluded: set[str]) -> int:
    """Runs of consecutive nodes that stay, as a measure of how often data changes hands."""
    flags = [node.name not in excluded for node in facts.nodes]
    starts = [now and not before for before, now in zip([False, *flags], flags, strict=False)]
    return math.trunc(sum(starts))


RULES: tuple[Callable[[Facts, Target], Iterator[Finding]], ...] = (
    operators,
    dimensions,
    run_time_weights,
    kernels,
    share,
)
