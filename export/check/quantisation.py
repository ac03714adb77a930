"""Rules about Q/DQ nodes and about precision as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.check.facts import attribute
from export.check.rules import HALF, INT32, UINT8, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx

    from export.check.facts import Facts
    from export.check.targets import Target

PAIR = ("QuantizeLinear", "DequantizeLinear")
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def _pairs(facts: Facts) -> Iterator[onnx.NodeProto]:
    return (node for node in facts.nodes if node.op_type in PAIR)


def zero_point(facts: Facts, target: Target) -> Iterator[Finding]:
    """Symmetric int8 only: zero points are 0, and uint8 is for DLA."""
    for node in _pairs(facts):
        if len(node.input) < 3 or not node.input[2]:
            continue
        value = facts.value(node.input[2])
        if value is None or value.any():
            text = "a zero point other than 0; quantise symmetrically: `hyperseg calibrate`"
            yield Finding("zero-point", "error", node.name, text)
        elif facts.types.get(node.input[2]) == UINT8 and not target.dla:
            text = "a uint8 zero point is taken for int8, so values above 127 change; use int8"
            yield Finding("uint8-quantised", "warning", node.name, text)


def int32_bias(facts: Facts, _: Target) -> Iterator[Finding]:
    """The quantised bias that onnxruntime writes by default."""
    for node in facts.nodes:
        if node.op_type == "DequantizeLinear" and facts.types.get(node.input[0]) == INT32:
            text = "dequantises int32 (a quantised bias); leave biases in float"
            yield Finding("int32-bias", "error", node.name, text)


def scale(facts: Facts, _: Target) -> Iterator[Finding]:
    """Scales are positive constants."""
    for node in _pairs(facts):
        value = facts.value(node.input[1])
        if value is None:
            text = "its scale is computed at run time; NVIDIA documents build-time constants only"
            yield Finding("run-time-scale", "warning", node.name, text)
        elif not (value > 0).all():
            text = f"a scale of {float(value.min()):g}; scales must be positive"
            yield Finding("scale", "error", node.name, text)


def granularity(facts: Facts, _: Target) -> Iterator[Finding]:
    """Activations per tensor; weights of a convolution along their out-channels."""
    for node in _pairs(facts):
        value = facts.value(node.input[1])
        if value is None or value.size < 2:
            continue
        if not facts.is_constant(node.input[0]):
            text = "an activation quantised per channel; one scale for the whole tensor is the rule"
            yield Finding("per-channel-activation", "warning", node.name, text)
            continue
        readers = {reader.op_type for reader in facts.readers.get(node.output[0], ())}
        if "Conv" in readers and attribute(node, "axis", 1) != 0:
            text = "weights quantised along another axis than 0, their out-channels"
            yield Finding("weight-axis", "warning", node.name, text)


def generated_weights(facts: Facts, _: Target) -> Iterator[Finding]:
    """Q/DQ on a convolution whose weights are made at run time."""
    for node in facts.nodes:
        if node.op_type != "Conv" or facts.is_constant(node.input[1]):
            continue
        maker = facts.makers.get(node.input[1])
        if maker is not None and maker.op_type == "DequantizeLinear":
            text = (
                "quantised weights that are generated at run time: the builder expects to fold "
                "them, and INT8 is not documented here; leave this convolution out"
            )
            yield Finding("generated-weights", "warning", node.name, text)


def quantised_output(facts: Facts, _: Target) -> Iterator[Finding]:
    """Q/DQ right before a network output gains nothing and costs accuracy."""
    for node in facts.nodes:
        if node.op_type == "DequantizeLinear" and set(node.output) & facts.outputs:
            text = "Q/DQ at a network output: accuracy is lost and nothing is gained; remove it"
            yield Finding("quantised-output", "warning", node.name, text)


def residual(facts: Facts, _: Target) -> Iterator[Finding]:
    """An Add of a convolution and an unquantised branch is not fused into it."""
    for node in facts.nodes:
        if node.op_type != "Add" or any(facts.is_constant(name) for name in node.input):
            continue
        makers = [facts.makers.get(name) for name in node.input]
        kinds = [maker.op_type if maker is not None else "" for maker in makers]
        for one, other in ((0, 1), (1, 0)):
            maker = makers[one]
            if maker is None or kinds[one] != "Conv" or kinds[other] == "DequantizeLinear":
                continue
            fed = facts.makers.get(maker.input[0])
            if fed is not None and fed.op_type == "DequantizeLinear":
                text = "adds an unquantised branch to an INT8 convolution; quantise that branch too"
                yield Finding("residual", "warning", node.name, text)
                break


def concat_scales(facts: Facts, _: Target) -> Iterator[Finding]:
    """Different scales at one Concat make the engine requantise."""
    for node in facts.nodes:
        if node.op_type != "Concat":
            continue
        makers = [facts.makers.get(name) for name in node.input]
        scales = set()
        for maker in makers:
            if maker is not None and maker.op_type == "DequantizeLinear":
                value = facts.value(maker.input[1])
                if value is not None and value.size == 1:
                    scales.add(float(value.reshape(())))
        if len(scales) > 1:
            text = f"inputs of {len(scales)} different scales are requantised; share one scale"
            yield Finding("concat-scales", "warning", node.name, text)


def precision(facts: Facts, target: Target) -> Iterator[Finding]:
    """An FP32 graph stays FP32 where precision lies in the graph alone."""
    if target.weak_typing:
        return
    half = any(
        facts.types.get(node.input[0]) == HALF for node in facts.nodes if node.op_type in WEIGHTED
    )
    quantised = any(node.op_type == "QuantizeLinear" for node in facts.nodes)
    if not half and not quantised and any(node.op_type in WEIGHTED for node in facts.nodes):
        text = (
            f"FP32 in its own types: {target.runtime} {target.version} has no precision flags, so "
            "the engine is FP32; `hyperseg build --precision fp16` makes an FP16 graph first"
        )
        yield Finding("precision", "warning", "", text)


RULES: tuple[Callable[[Facts, Target], Iterator[Finding]], ...] = (
    zero_point,
    int32_bias,
    scale,
    granularity,
    generated_weights,
    quantised_output,
    residual,
    concat_scales,
    precision,
)
