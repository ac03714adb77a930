"""The rules: each looks at a graph and gives findings. ``error``: refused; ``warning``: a cost.

Errors marked with a parser's behaviour were seen in TensorRT-RTX 1.7.1's parser, which is
NVIDIA's importer; ``tests/export/test_check.py`` lets it judge the same graphs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from export.check.facts import attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.check.facts import Facts
    from export.check.targets import Target

FLOAT, UINT8, INT32, INT64, HALF, DOUBLE = 1, 2, 6, 7, 10, 11
FOREIGN_TYPES = frozenset({4, 5, 8, 12, 13, 14, 15})
"""uint16, int16, text, uint32, uint64 and complex numbers."""
MAX_DIMENSIONS = 8
MAX_BYTES = 2 << 30

_UNSUPPORTED = """
    AffineGrid Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad
    Col2Im Compress ConcatFromSequence ConvInteger CumProd DFT Det DynamicQuantizeLinear
    ImageDecoder MatMulInteger MaxRoiPool MaxUnpool MelWeightMatrix Multinomial
    NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement QLinearConv
    QLinearMatMul RegexFullMatch SequenceAt SequenceConstruct SequenceEmpty SequenceErase
    SequenceInsert SequenceLength SequenceMap SoftmaxCrossEntropyLoss SplitToSequence StringConcat
    StringNormalizer StringSplit TfIdfVectorizer Unique
"""
UNSUPPORTED = frozenset(_UNSUPPORTED.split())
"""Operators without an importer."""
PLUGINS = frozenset({"DeformConv"})
_INSTEAD = {
    "Col2Im": "export with views and permutes instead of F.fold",
    "SplitToSequence": "split with sizes known at export",
    "ConcatFromSequence": "concatenate tensors, not a list",
    "DynamicQuantizeLinear": "use Q/DQ with constant scales: `hyperseg calibrate`",
    "QLinearConv": "use the Q/DQ form of the quantised model",
    "QLinearMatMul": "use the Q/DQ form of the quantised model",
}
RESIZE_TRANSFORMS = frozenset(
    {"align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn"}
)


@dataclass(frozen=True)
class Finding:
    """One thing a rule says of one node."""

    rule: str
    level: Literal["error", "warning"]
    node: str
    """Name of the node or tensor; empty for the whole graph."""
    text: str
    """What is wrong, and what to do."""


def unsupported_operator(facts: Facts, target: Target) -> Iterator[Finding]:
    """Operators without an importer, plugins where there are none, foreign domains."""
    for node in facts.nodes:
        name = node.op_type
        if node.domain not in ("", "ai.onnx"):
            text = f"operator {node.domain}.{name} is not ONNX's own; export without it"
        elif name in UNSUPPORTED:
            text = f"{name} has no importer; {_INSTEAD.get(name, 'write it with other operators')}"
        elif name in PLUGINS and name not in target.plugins:
            text = f"{name} is a plugin that {target.runtime} has not; replace it"
        else:
            continue
        yield Finding("unsupported-operator", "error", node.name, text)


def static_shapes(facts: Facts, _: Target) -> Iterator[Finding]:
    """Inputs of unknown size."""
    for name in sorted(facts.inputs):
        if None in facts.shapes.get(name, (None,)):
            text = f"input {name} has shape {facts.shapes.get(name)}; export it with fixed sizes"
            yield Finding("static-shapes", "error", name, text)


def convolution(facts: Facts, _: Target) -> Iterator[Finding]:
    """Weights whose out-channels are unknown, or that contradict kernel_shape."""
    for node in facts.nodes:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        shape = facts.shapes.get(node.input[1])
        axis = 0 if node.op_type == "Conv" else 1
        if shape is None or None in (shape[axis], *shape[2:]):
            text = (
                f"the weights' shape {shape} is not fully known; out-channels and kernel must be "
                "numbers at build time: export with fixed sizes"
            )
            yield Finding("convolution-weights", "error", node.name, text)
            continue
        kernel = attribute(node, "kernel_shape")
        if kernel and tuple(kernel) != shape[2:]:
            text = f"kernel_shape {tuple(kernel)} but weights of {shape[2:]}; export anew"
            yield Finding("kernel-shape", "error", node.name, text)


def element_types(facts: Facts, _: Target) -> Iterator[Finding]:
    """Types that TensorRT has not."""
    for node in facts.nodes:
        kinds = {facts.types.get(name) for name in node.output}
        if kinds & FOREIGN_TYPES:
            text = "its type does not exist in TensorRT; use float, int32, int64, uint8 or bool"
            yield Finding("element-type", "error", node.name, text)


def uint8_border(facts: Facts, _: Target) -> Iterator[Finding]:
    """uint8 exists at inputs, before a Cast, and at outputs, behind one."""
    for name in sorted(facts.inputs):
        if facts.types.get(name) != UINT8:
            continue
        for node in facts.readers.get(name, ()):
            if node.op_type not in ("Cast", "DequantizeLinear"):
                text = f"reads the uint8 input {name}; cast it first, and then {node.op_type}"
                yield Finding("uint8-input", "error", node.name, text)
    for node in facts.nodes:
        inner = [n for n in node.output if n not in facts.outputs and facts.types.get(n) == UINT8]
        if inner and node.op_type not in ("QuantizeLinear", "Constant"):
            text = "puts out uint8 within the graph; cast to uint8 at the very end only"
            yield Finding("uint8-inside", "error", node.name, text)


def many_dimensions(facts: Facts, _: Target) -> Iterator[Finding]:
    """Tensors of more than 8 dimensions."""
    for node in facts.nodes:
        ranks = [len(facts.shapes[name]) for name in node.output if name in facts.shapes]
        if ranks and max(ranks) > MAX_DIMENSIONS:
            text = f"a tensor of {max(ranks)} dimensions; at most {MAX_DIMENSIONS} are possible"
            yield Finding("dimensions", "error", node.name, text)


def resize(facts: Facts, _: Target) -> Iterator[Finding]:
    """Coordinate transformations and antialiasing without an implementation."""
    for node in facts.nodes:
        if node.op_type != "Resize":
            continue
        how = attribute(node, "coordinate_transformation_mode", "half_pixel")
        if how not in RESIZE_TRANSFORMS:
            text = f"coordinate_transformation_mode {how} is not supported; use half_pixel"
            yield Finding("resize-mode", "error", node.name, text)
        if attribute(node, "antialias", 0):
            text = "antialias is not supported; resize without it"
            yield Finding("resize-antialias", "error", node.name, text)


def int64_outputs(facts: Facts, _: Target) -> Iterator[Finding]:
    """Class ids of eight bytes a pixel."""
    for name in sorted(facts.outputs):
        if facts.types.get(name) == INT64:
            text = "an int64 output leaves the device with 8 bytes a pixel; cast it to uint8"
            yield Finding("int64-output", "warning", name, text)


def opset(facts: Facts, target: Target) -> Iterator[Finding]:
    """Newer than what the target's importer was written for."""
    if facts.opset > target.newest_opset:
        text = (
            f"opset {facts.opset}; {target.runtime} {target.version} was written for up to "
            f"{target.newest_opset}: export with an older one"
        )
        yield Finding("opset", "warning", "", text)


def size(facts: Facts, _: Target) -> Iterator[Finding]:
    """A protobuf of 2 GB cannot be read."""
    total = sum(
        math.prod(t.dims) * _BYTES.get(t.data_type, 4) for t in facts.graph.graph.initializer
    )
    if total >= MAX_BYTES:
        text = f"{total / 1e9:.1f} GB of weights in one file; a protobuf holds 2 GiB"
        yield Finding("size", "error", "", text)


_BYTES = {FLOAT: 4, UINT8: 1, 3: 1, INT32: 4, INT64: 8, HALF: 2, DOUBLE: 8, 9: 1, 16: 2}

RULES: tuple[Callable[[Facts, Target], Iterator[Finding]], ...] = (
    unsupported_operator,
    static_shapes,
    convolution,
    element_types,
    uint8_border,
    many_dimensions,
    resize,
    int64_outputs,
    opset,
    size,
)
"""Rules of every target (see `quantisation` and `dla` for the others)."""
