"""Levels as `export` writes them, in blocked layout: the same numbers, or left alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import Tensor, nn

from benchmarks.forms import calibrated
from edge_runtime.backends.blocked.emit import DOMAIN
from edge_runtime.backends.blocked.rewrite import rewrite
from edge_runtime.backends.ort import session_options
from export.deploy_blocks import DynamicInvertedResidual
from export.to_onnx import to_onnx, trace
from tests.export.conditioned import SIDES, assert_same, noise
from training.model.meta_block import MetaInvertedResidual
from training.model.signal_to_weights import SignalToWeights
from training.presets import PRESETS

GRID, PATCH = (2, 3), (4, 5)
SIZE = (GRID[0] * PATCH[0], GRID[1] * PATCH[1])
CHANNELS = 8
ROUNDING = 3e-6
"""Relative to the largest value: some float32 roundings, summed in another order."""
LEVELS = {
    "whole blocks": {"inputs": 8, "outputs": 5},
    "padded": {"inputs": 7, "outputs": 6, "start": 11},
    "odd": {"inputs": 9, "outputs": 3, "expansion": 3},
    "with a base": {"inputs": 5, "outputs": 5, "start": 3, "base": True},
    "map, fewer channels than a block": {"inputs": 3, "outputs": 5, "halo": "map"},
    "map, padded": {"inputs": 11, "outputs": 6, "halo": "map", "start": 2},
    "map, odd": {"inputs": 9, "outputs": 21, "expansion": 3, "halo": "map", "base": True},
}
KINDS = ("cityscapes-m", "cityscapes-s", "camvid-l", "voc-l", "edge-s")
"""Presets with kernel-3 levels; the others have the levels of one of them."""


class OneLevel(nn.Module):
    """A level and its generated weights, both read from one tensor."""

    def __init__(
        self, inputs: int, outputs: int, *, expansion: int = 2, halo: str = "tile",
        start: int = 0, base: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        torch.manual_seed(inputs)
        level = MetaInvertedResidual(inputs, outputs, expansion=expansion, halo=halo).eval()
        for norm in (level.bn1, level.bn2, level.bn3):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
        count = start + level.num_dynamic_weights
        generator = SignalToWeights(0, CHANNELS, count, 2, torch.randn(count) / 3 if base else None)
        nn.init.normal_(generator.conv.weight, std=0.2)
        self.block = DynamicInvertedResidual(level, generator, start, GRID, SIZE)
        self.bands = (GRID[0], PATCH[0], SIZE[1], inputs)
        self.values = SIZE[0] * SIZE[1] * inputs
        self.total = self.values + CHANNELS * GRID[0] * GRID[1]

    def forward(self, flat: Tensor) -> Tensor:
        signal = flat[self.values :].reshape(1, CHANNELS, *GRID)
        y: Tensor = self.block(flat[: self.values].reshape(self.bands), signal)
        return y


def operators(block: int) -> list[type[OpRun]]:
    """The two blocked operators in numpy, for any block, and a whole Pad."""

    class Conv(OpRun):
        op_domain = DOMAIN

        def _run(self, x, w, b, group=None, kernel_shape=None, activation=None,
                 activation_params=None, **_):  # fmt: skip
            assert (kernel_shape, activation) == ([3, 3], "Clip")
            channels, height, width = x.shape[1:]
            assert group == channels == w.shape[0]
            x = x.reshape(-1, height, width, block)
            w, b = w.reshape(-1, 3, 3, block), b.reshape(-1, 1, 1, block)
            rows, columns = height - 2, width - 2
            taps = [(i, j) for i in range(3) for j in range(3)]
            y = b + sum(x[:, i : i + rows, j : j + columns] * w[:, i, j][:, None, None]
                        for i, j in taps)  # fmt: skip
            return (y.clip(*activation_params).reshape(1, channels, rows, columns),)

    class ReorderOutput(OpRun):
        op_domain = DOMAIN

        def _run(self, x, channels=None, channels_last=None):
            assert channels_last == 1
            patches, _, height, width = x.shape
            y = x.reshape(patches, -1, height, width, block).transpose(0, 2, 3, 1, 4)
            return (y.reshape(patches, height, width, -1)[..., :channels],)

    class Pad(OpRun):
        """onnx's own lacks the negative paddings of the standard."""

        op_domain = ""

        def _run(self, x, pads, mode=None):
            before, after = np.array(pads).reshape(2, -1)
            cut = tuple(
                slice(max(0, -b), n - max(0, -a))
                for b, a, n in zip(before, after, x.shape, strict=True)
            )
            wider = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
            return (np.pad(x[cut], wider),)

    return [Conv, ReorderOutput, Pad]


@cache
def serialized(case: str) -> tuple[bytes, np.ndarray]:
    module = OneLevel(**LEVELS[case])
    feed = torch.randn(module.total)
    return trace(module.eval(), feed, "flat", "y").SerializeToString(), feed.numpy()


def exported(case: str) -> tuple[onnx.ModelProto, np.ndarray]:
    """A level's graph, and something to feed it."""
    model, feed = serialized(case)
    return onnx.load_model_from_string(model), feed


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(
        model.SerializeToString(), session_options(ort, 1), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert abs(wanted).max() > 0.1
    assert abs(found - wanted).max() <= ROUNDING * abs(wanted).max()


@pytest.mark.parametrize("share", [1, 6_000, 1 << 30], ids=["patchwise", "in parts", "whole"])
@pytest.mark.parametrize("case", LEVELS)
def test_levels_are_the_same_in_blocks_of_this_machine(case, share, block):
    model, feed = exported(case)
    (wanted,) = run(model, flat=feed)

    assert rewrite(model, block, 1, share) == 1

    (found,) = run(model, flat=feed)
    same(found, wanted)


@pytest.mark.parametrize("block", [8, 16])
@pytest.mark.parametrize("case", LEVELS)
def test_levels_are_the_same_in_blocks_of_any_machine(case, block):
    model, feed = exported(case)
    (wanted,) = run(model, flat=feed)

    assert rewrite(model, block, 1, 6_000) == 1

    (found,) = ReferenceEvaluator(model, new_ops=operators(block)).run(None, {"flat": feed})
    same(found, wanted)


def test_a_rewritten_graph_has_no_dead_nodes_and_nothing_more_to_rewrite():
    model, _ = exported("padded")

    rewrite(model, 8, 1)

    read = {name for node in model.graph.node for name in node.input} | {"y"}
    assert all(read.intersection(node.output) for node in model.graph.node)
    assert rewrite(model, 8, 1) == 0
    assert [opset.domain for opset in model.opset_import].count(DOMAIN) == 1


def test_more_threads_share_larger_parts():
    one, six = exported("padded")[0], exported("padded")[0]
    rewrite(one, 8, 1, 6_000)
    rewrite(six, 8, 6, 6_000)
    assert len(one.graph.node) > len(six.graph.node)


def the(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == operator)


def behind(model: onnx.ModelProto, conv: onnx.NodeProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if conv.output[0] in node.input)


def stride(model: onnx.ModelProto) -> None:
    conv = the(model, "Conv")
    next(a for a in conv.attribute if a.name == "strides").ints[:] = [1, 2]


def padding(model: onnx.ModelProto) -> None:
    conv = the(model, "Conv")
    next(a for a in conv.attribute if a.name == "pads").ints[:] = [1, 1, 1, 1]


def attribute(model: onnx.ModelProto) -> None:
    the(model, "Conv").attribute.append(helper.make_attribute("newer", 1))


def activation(model: onnx.ModelProto) -> None:
    clip = behind(model, the(model, "Conv"))
    clip.op_type = "Relu"
    del clip.input[1:]


def second_reader(model: onnx.ModelProto) -> None:
    hidden = helper.make_tensor_value_info(the(model, "Conv").output[0], TensorProto.FLOAT, None)
    model.graph.output.append(hidden)


def half_bias(model: onnx.ModelProto) -> None:
    name = the(model, "Conv").input[2]
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias).astype(np.float16), name))


def quantised(model: onnx.ModelProto) -> None:
    """A pair of Q and DQ in front of the convolution."""
    conv = the(model, "Conv")
    place = list(model.graph.node).index(conv)
    model.graph.initializer.extend([
        numpy_helper.from_array(np.float32(6 / 127), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ])  # fmt: skip
    pair = [
        helper.make_node("QuantizeLinear", [conv.input[0], "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
    ]
    conv.input[0] = "dq"
    for node in reversed(pair):
        model.graph.node.insert(place, node)


def negative_rows(model: onnx.ModelProto) -> None:
    gathers = {node.input[1] for node in model.graph.node if node.op_type == "Gather"}
    rows = next(t for t in model.graph.initializer if t.name in gathers and t.dims)
    values = numpy_helper.to_array(rows).copy()
    values[0] -= SIZE[0] * SIZE[1]
    rows.CopyFrom(numpy_helper.from_array(values, rows.name))


def nested(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["any"], [], then_branch=inner))


def fed_bias(model: onnx.ModelProto) -> None:
    bias = helper.make_tensor_value_info(the(model, "Conv").input[2], TensorProto.FLOAT, None)
    model.graph.input.append(bias)


CHANGES = (stride, padding, attribute, activation, second_reader, half_bias, quantised,
           negative_rows, nested, fed_bias)  # fmt: skip


@pytest.mark.parametrize("halo", ["padded", "map, padded"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_exactly_known_is_left_alone(halo, change):
    model, _ = exported(halo)
    change(model)
    before = model.SerializeToString(deterministic=True)

    assert rewrite(model, 8, 1) == 0

    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_presets_are_the_same(name, block):
    side = SIDES[name]
    net = calibrated(name, side)
    model = to_onnx(net, (side, side), "logits")
    frame = noise(net, side)
    (wanted,) = run(model, frame=frame)

    levels = PRESETS[name].decoder.levels
    assert rewrite(model, block, 1, 300_000) == sum(level.kernel == 3 for level in levels)

    (found,) = run(model, frame=frame)
    assert_same(found, wanted)
