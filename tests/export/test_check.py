"""The static checker: every rule with a graph it accepts and one it objects to.

Where TensorRT-RTX is installed, its parser judges the same graphs: what a rule calls an error it
must refuse, and what a rule accepts it must accept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge_runtime.cli import main
from export.check import dla, quantisation, rules
from export.check.check import check_graph
from export.check.targets import TARGETS, target_of
from export.fp16 import to_fp16
from tests.export.graphs import model, node, segmenter

FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64
X = {"x": (FLOAT, (1, 8, 16, 16))}
W = np.ones((8, 8, 3, 3), np.float32)
SCALE, ZERO = np.float32(0.1), np.int8(0)
QDQ = {"s": SCALE, "z": ZERO, "w": W}


def conv(inputs: str, output: str = "y", **more: Any) -> onnx.NodeProto:
    return node("Conv", inputs, output, pads=[1, 1, 1, 1], **more)


def pair(source: str, end: str, scale: str = "s", zero: str = "z", **more: Any) -> list:
    return [
        node("QuantizeLinear", f"{source} {scale} {zero}", f"{end}_q", **more),
        node("DequantizeLinear", f"{end}_q {scale} {zero}", end, **more),
    ]


def one(*nodes: onnx.NodeProto, opset: int = 20, **weights: np.ndarray) -> onnx.ModelProto:
    return model(list(nodes), X, {"y": FLOAT}, weights, opset)


def resized(opset: int = 20, **more: Any) -> onnx.ModelProto:
    scales = np.array([1, 1, 2, 2], np.float32)
    return one(node("Resize", "x - k", "y", mode="linear", **more), opset=opset, k=scales)


def dynamic(out: int | str) -> onnx.ModelProto:
    feeds = {**X, "k": (FLOAT, (out, 8, 3, 3))}
    return model([conv("x k", kernel_shape=[3, 3])], feeds, {"y": FLOAT})


def folded() -> onnx.ModelProto:
    columns = {"x": (FLOAT, (1, 9, 16))}
    sizes = {"i": np.array([6, 6], np.int64), "b": np.array([3, 3], np.int64)}
    return model([node("Col2Im", "x i b", "y")], columns, {"y": FLOAT}, sizes)


def deformed() -> onnx.ModelProto:
    feeds = {**X, "o": (FLOAT, (1, 18, 14, 14))}
    return model([node("DeformConv", "x w o", "y")], feeds, {"y": FLOAT}, {"w": W}, 19)


def weights_axis(axis: int) -> onnx.ModelProto:
    many = {"ws": np.full(8, 0.1, np.float32), "wz": np.zeros(8, np.int8)}
    return one(
        *pair("x", "d"), *pair("w", "wd", "ws", "wz", axis=axis), conv("d wd"), **QDQ, **many
    )


def run_time_scale() -> onnx.ModelProto:
    return one(node("ReduceMax", "x", "m", keepdims=0), *pair("x", "d", "m"), conv("d w"), **QDQ)


def per_channel() -> onnx.ModelProto:
    many = {"s": np.full(8, 0.1, np.float32), "z": np.zeros(8, np.int8), "w": W}
    return one(*pair("x", "d", axis=1), conv("d w"), **many)


def generated(quantised: bool) -> onnx.ModelProto:
    nodes = [*pair("x", "d"), *pair("k", "kd"), conv("d kd" if quantised else "d k")]
    nodes = nodes if quantised else [*nodes[:2], nodes[-1]]
    feeds = {**X, "k": (FLOAT, (8, 8, 3, 3))}
    return model(nodes, feeds, {"y": FLOAT}, {"s": SCALE, "z": ZERO})


def residual(both: bool) -> onnx.ModelProto:
    branch = pair("x", "r") if both else [node("Relu", "x", "r")]
    return one(*pair("x", "d"), conv("d w", "c"), *branch, node("Add", "c r", "y"), **QDQ)


def concatenated(other: float) -> onnx.ModelProto:
    nodes = [*pair("x", "d"), *pair("x", "e", "t"), node("Concat", "d e", "y", axis=1)]
    return one(*nodes, s=SCALE, t=np.float32(other), z=ZERO)


def frame(*nodes: onnx.NodeProto, out: int = FLOAT) -> onnx.ModelProto:
    return model(list(nodes), {"x": (UINT8, (1, 4, 4, 3))}, {"y": out})


def shaped(*sizes: int) -> onnx.ModelProto:
    nodes = [node("Reshape", "x k", "r"), node("Relu", "r", "y")]
    return one(*nodes, k=np.array(sizes, np.int64))


@dataclass(frozen=True)
class Case:
    """One rule: what it objects to, and the nearest thing it accepts."""

    rule: str
    bad: Callable[[], onnx.ModelProto]
    good: Callable[[], onnx.ModelProto]
    target: str = "rtx"
    level: str = "error"
    parser_agrees: bool = True
    """Whether an error is one to NVIDIA's importer too (else it fails in the builder)."""


CASES = [
    Case("unsupported-operator", folded, lambda: one(node("Relu", "x", "y"))),
    Case("unsupported-operator", deformed, lambda: one(conv("x w"), w=W)),
    Case(
        "static-shapes",
        lambda: model([node("Relu", "x", "y")], {"x": (FLOAT, ("n", 8, 4, 4))}, {"y": FLOAT}),
        lambda: one(node("Relu", "x", "y")),
        parser_agrees=False,
    ),
    Case("convolution-weights", lambda: dynamic("n"), lambda: dynamic(8)),
    Case(
        "element-type",
        lambda: one(node("Cast", "x", "t", to=5), node("Cast", "t", "y", to=FLOAT)),
        lambda: one(node("Cast", "x", "t", to=6), node("Cast", "t", "y", to=FLOAT)),
    ),
    Case(
        "uint8-input",
        lambda: frame(node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Cast", "t", "y", to=1)),
        lambda: frame(node("Cast", "x", "t", to=1), node("Transpose", "t", "y", perm=[0, 3, 1, 2])),
    ),
    Case(
        "uint8-inside",
        lambda: model(
            [node("Cast", "x", "t", to=UINT8), node("Transpose", "t", "y")], X, {"y": UINT8}
        ),
        lambda: model(
            [node("Transpose", "x", "t"), node("Cast", "t", "y", to=UINT8)], X, {"y": UINT8}
        ),
    ),
    Case(
        "dimensions",
        lambda: shaped(1, 2, 2, 2, 2, 8, 2, 4, 2),
        lambda: shaped(1, 2, 2, 2, 4, 8, 2, 4),
    ),
    Case(
        "resize-mode",
        lambda: resized(coordinate_transformation_mode="half_pixel_symmetric"),
        lambda: resized(coordinate_transformation_mode="pytorch_half_pixel"),
    ),
    Case("resize-antialias", lambda: resized(antialias=1), resized),
    Case(
        "int64-output",
        lambda: model([node("ArgMax", "x", "y", axis=1)], X, {"y": INT64}),
        lambda: model(
            [node("ArgMax", "x", "i", axis=1), node("Cast", "i", "y", to=UINT8)], X, {"y": UINT8}
        ),
        level="warning",
    ),
    Case("opset", lambda: resized(24), lambda: resized(20), "jp6.2", "warning"),
    Case(
        "zero-point",
        lambda: one(*pair("x", "d"), conv("d w"), **{**QDQ, "z": np.int8(3)}),
        lambda: one(*pair("x", "d"), conv("d w"), **QDQ),
    ),
    Case(
        "uint8-quantised",
        lambda: one(*pair("x", "d"), conv("d w"), **{**QDQ, "z": np.uint8(0)}),
        lambda: one(*pair("x", "d"), conv("d w"), **QDQ),
        level="warning",
    ),
    Case(
        "int32-bias",
        lambda: one(
            node("DequantizeLinear", "b s", "d"),
            conv("x w d"),
            w=W,
            s=SCALE,
            b=np.zeros(8, np.int32),
        ),
        lambda: one(conv("x w b"), w=W, b=np.zeros(8, np.float32)),
    ),
    Case(
        "scale",
        lambda: one(*pair("x", "d"), conv("d w"), **{**QDQ, "s": np.float32(0)}),
        lambda: one(*pair("x", "d"), conv("d w"), **QDQ),
    ),
    Case("run-time-scale", run_time_scale, lambda: weights_axis(0), level="warning"),
    Case("per-channel-activation", per_channel, lambda: weights_axis(0), level="warning"),
    Case("weight-axis", lambda: weights_axis(1), lambda: weights_axis(0), level="warning"),
    Case("generated-weights", lambda: generated(True), lambda: generated(False), level="warning"),
    Case(
        "quantised-output",
        lambda: one(conv("x w", "c"), *pair("c", "y"), **QDQ),
        lambda: one(*pair("x", "d"), conv("d w"), **QDQ),
        level="warning",
    ),
    Case("residual", lambda: residual(False), lambda: residual(True), level="warning"),
    Case("concat-scales", lambda: concatenated(0.2), lambda: concatenated(0.1), level="warning"),
    Case("precision", segmenter, lambda: to_fp16(segmenter()), "trt11", "warning"),
    Case(
        "dla-operator",
        lambda: one(conv("x w", "c"), node("Erf", "c", "y"), w=W),
        lambda: one(conv("x w", "c"), node("Sigmoid", "c", "y"), w=W),
        "dla-orin",
        "warning",
    ),
    Case(
        "dla-dimension",
        lambda: model([node("Relu", "x", "y")], {"x": (FLOAT, (1, 9216, 2, 2))}, {"y": FLOAT}),
        lambda: model([node("Relu", "x", "y")], {"x": (FLOAT, (1, 8192, 2, 2))}, {"y": FLOAT}),
        "dla-orin",
        "warning",
    ),
    Case("dla-weights", lambda: dynamic(8), lambda: one(conv("x w"), w=W), "dla-orin", "warning"),
    Case(
        "dla-kernel",
        lambda: one(conv("x w", strides=[9, 9]), w=W),
        lambda: one(conv("x w", strides=[8, 8]), w=W),
        "dla-orin",
        "warning",
    ),
    Case("dla-nothing", lambda: dynamic(8), lambda: one(conv("x w"), w=W), "dla-orin"),
    Case(
        "dla-pieces",
        lambda: alternating(17),
        lambda: alternating(3),
        "dla-orin",
        "warning",
    ),
]
IDS = [f"{index}-{case.rule}" for index, case in enumerate(CASES)]


def alternating(count: int) -> onnx.ModelProto:
    nodes, last = [], "x"
    for index in range(count):
        nodes += [conv(f"{last} w", f"c{index}"), node("Erf", f"c{index}", f"e{index}")]
        last = f"e{index}"
    return one(*nodes, node("Relu", last, "y"), w=W)


def rules_of(graph: onnx.ModelProto, target: str) -> dict[str, str]:
    return {finding.rule: finding.level for finding in check_graph(graph, target_of(target))}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_rule_objects_and_accepts(case):
    assert rules_of(case.bad(), case.target).get(case.rule) == case.level
    assert case.rule not in rules_of(case.good(), case.target)


def test_every_rule_has_a_case():
    modules = (rules, quantisation, dla)
    text = "".join(Path(module.__file__).read_text() for module in modules)
    named = set(re.findall(r'Finding\(\s*"([\w-]+)"', text))
    # A graph whose kernel contradicts its weights, or of 2 GB, cannot be written down here.
    assert named - {"kernel-shape", "size"} == {case.rule for case in CASES}


def test_a_contradicting_kernel_is_named():
    graph = dynamic(8)
    attribute = next(a for a in graph.graph.node[0].attribute if a.name == "kernel_shape")
    assert "kernel-shape" not in rules_of(graph, "rtx")
    attribute.ints[:] = [5, 5]
    assert rules_of(graph, "rtx")["kernel-shape"] == "error"


def test_two_gigabytes_are_too_many():
    graph = one(conv("x w"), w=W)
    assert "size" not in rules_of(graph, "rtx")
    graph.graph.initializer[0].dims[:] = [1 << 20, 1 << 9]  # as stored apart from the graph
    assert rules_of(graph, "rtx")["size"] == "error"


def test_a_plugin_is_there_on_a_jetson_only():
    assert "unsupported-operator" in rules_of(deformed(), "rtx")
    assert "unsupported-operator" not in rules_of(deformed(), "jp6.2")


def test_a_foreign_domain_is_refused():
    graph = one(node("Relu", "x", "y"))
    graph.graph.node[0].domain = "com.example"
    assert rules_of(graph, "jp7.2")["unsupported-operator"] == "error"


@pytest.fixture(scope="module")
def parser_accepts():
    """NVIDIA's own verdict: ``parser_accepts(graph)``."""
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: extra [rtx]")

    class Quiet(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity, message) -> None:
            """What is wrong is asked of the parser."""

    logger = Quiet()
    builder = trt.Builder(logger)

    def judge(graph: onnx.ModelProto) -> bool:
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        return trt.OnnxParser(network, logger).parse(graph.SerializeToString())

    judge.parser = lambda: trt.OnnxParser(builder.create_network(0), logger)
    return judge


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_nvidias_parser_judges_the_same(case, parser_accepts):
    assert parser_accepts(case.good())
    if case.target in ("rtx", "trt11") and case.parser_agrees:
        assert parser_accepts(case.bad()) == (case.level == "warning")


def test_nvidias_parser_refuses_the_contradicting_kernel(parser_accepts):
    graph = one(conv("x w", kernel_shape=[3, 3]), w=W)
    assert parser_accepts(graph)
    attribute = next(a for a in graph.graph.node[0].attribute if a.name == "kernel_shape")
    attribute.ints[:] = [5, 5]
    assert not parser_accepts(graph)


def test_nvidias_parser_has_no_importer_for_what_the_table_lists(parser_accepts):
    parser = parser_accepts.parser()
    assert [name for name in sorted(rules.UNSUPPORTED) if parser.supports_operator(name)] == []
    for name in ("Conv", "Resize", "GridSample", "Pad", "Einsum", "HardSwish", "ArgMax"):
        assert parser.supports_operator(name)


def test_the_verb_names_nodes_and_fails_on_errors(tmp_path, capsys):
    path = tmp_path / "bad.onnx"
    onnx.save(one(*pair("x", "d"), conv("d w"), **{**QDQ, "z": np.int8(3)}), path)
    assert main(["check", str(path), "--target", "jp6.2"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "zero-point" in text
    assert "n_d_q" in text
    assert "jp6.2 (tensorrt 10.3): 2 errors" in text
    assert main(["check", str(path), "--target", "jp6.2", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert {finding["level"] for finding in facts["findings"]} == {"error"}


@pytest.mark.parametrize("target", ["jp6.1", "jp6.2", "jp7.2", "trt11", "rtx"])
def test_the_shipped_model_is_accepted_everywhere(target, capsys):
    assert main(["check", "street-edge-n", "--target", target]) == 0
    assert "0 errors" in capsys.readouterr().out


def test_the_decoder_of_the_shipped_model_stays_off_the_dla(capsys):
    assert main(["check", "street-edge-n", "--target", "dla-orin", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {"dla-weights", "dla-dimension"} <= {finding["rule"] for finding in found}


def test_what_is_no_onnx_file_is_one_line(tmp_path, capsys):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"hello world, this is no model")
    assert main(["check", str(path), "--target", "rtx"]) == 2
    assert capsys.readouterr().err.startswith("hyperseg: error:")


def test_targets_name_their_tensorrt():
    assert TARGETS["jp6.1"].version == TARGETS["jp6.2"].version == "10.3"
    assert not TARGETS["trt11"].weak_typing
