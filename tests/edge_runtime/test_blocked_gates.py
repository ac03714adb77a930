"""Squeeze-and-excite folded into weights when a session opens: the same numbers, or left alone."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.backends import ort as backends
from edge_runtime.backends.blocked import gates, probe
from edge_runtime.backends.blocked.optimised import may_have_gates
from edge_runtime.backends.blocked.swish import keep_swish_blocked
from edge_runtime.backends.ort import open_session, session_options
from edge_runtime.backends.settings import OrtSettings
from edge_runtime.errors import BackendError
from edge_runtime.zoo import MODELS_FOLDER

onnx = pytest.importorskip("onnx", reason="the graph is rewritten with onnx: scripts/setup dev")
ort = pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")

INPUTS = 8
ROUNDING = 3e-6
"""Relative to the largest value: some float32 roundings, summed in another order."""
SAID = "gates folded into weights"
FOLDED = OrtSettings(1)
PLAIN = OrtSettings(1, blocked=False)
BLOCKS: dict[str, dict[str, Any]] = {
    "whole blocks": {"channels": 32, "outputs": 16},
    "padded channels": {"channels": 20, "outputs": 16},
    "padded outputs": {"channels": 48, "outputs": 12},
    "gate in plain layout": {"channels": 32, "outputs": 16, "squeezed": 18},
    "residual": {"channels": 24, "outputs": 40, "residual": True},
    "gate first": {"channels": 32, "outputs": 16, "swapped": True},
    "map read elsewhere": {"channels": 20, "outputs": 16, "tap": "map"},
    "mean read elsewhere": {"channels": 20, "outputs": 16, "tap": "mean"},
    "one column": {"channels": 36, "outputs": 16, "size": (9, 1)},
}


class Nodes:
    """Random convolutions, and what stands between them."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(value, name))
        return name

    def conv(self, name: str, inputs: int, outputs: int, side: int = 1) -> str:
        weights = self.rng.standard_normal((outputs, inputs, side, side)) / (side * inputs**0.5)
        bias = self.rng.standard_normal(outputs) / 2
        parts = [self.constant(part.astype(np.float32)) for part in (weights, bias)]
        stated = {"pads": [side // 2] * 4, "kernel_shape": [side] * 2, "strides": [1, 1]}
        return self.add("Conv", name, *parts, **stated)

    def swish(self, name: str) -> str:
        return self.add("Mul", name, self.add("Sigmoid", name))


def gated(
    *, channels: int, outputs: int, residual: bool = False, swapped: bool = False, tap: str = "",
    batch: int = 1, squeezed: int = 8, size: tuple[int, int] = (12, 9),
) -> onnx.ModelProto:  # fmt: skip
    """A block of an encoder: convolution, swish, squeeze-and-excite, pointwise convolution."""
    made = Nodes()
    y = made.swish(made.conv("x", INPUTS, channels, 3))
    mean = made.add("ReduceMean", y, made.constant(np.array([2, 3])), keepdims=1)
    few = made.swish(made.conv(mean, channels, squeezed))
    gate = made.add("Sigmoid", made.conv(few, squeezed, channels))
    product = made.add("Mul", *((gate, y) if swapped else (y, gate)))
    z = made.conv(product, channels, outputs)
    if residual:
        z = made.add("Add", z, made.conv("x", INPUTS, outputs))
    results = [z, *({"map": [y], "mean": [mean], "product": [product]}.get(tap, []))]
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        made.nodes, "gated",
        [make("x", onnx.TensorProto.FLOAT, (batch, INPUTS, *size))],
        [make(name, onnx.TensorProto.FLOAT, None) for name in results],
        made.constants,
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    # As in an exported file, which states the shapes of all tensors.
    return onnx.shape_inference.infer_shapes(model)


def feed(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert abs(other).max() > 0.1
        assert abs(one - other).max() <= ROUNDING * abs(other).max()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "gated.onnx"
    onnx.save(gated(**BLOCKS["padded channels"]), path)
    return path


def of_optimiser(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """What ONNX Runtime makes of a model, swish in blocked layout whichever version it is."""
    options = session_options(ort, 1)
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(folder / "optimised.onnx")
    keep_swish_blocked(optimised)
    return optimised


@pytest.mark.parametrize("case", BLOCKS)
def test_blocks_are_the_same(case, tmp_path, block):
    model = gated(**BLOCKS[case])
    path = tmp_path / "gated.onnx"
    onnx.save(model, path)
    plain, as_it_is = open_session(ort, path, PLAIN)

    session, prepared = open_session(ort, path, FOLDED)

    assert (prepared.gates, str(prepared), prepared.rewritten) == (1, SAID, True)
    assert (as_it_is.gates, as_it_is.rewritten) == (0, False)
    same(session.run(None, feed(model)), plain.run(None, feed(model)))


def test_neither_map_nor_mean_leaves_the_blocked_layout(tmp_path, block):
    model = of_optimiser(gated(**BLOCKS["whole blocks"]), tmp_path)
    before = [node.op_type for node in model.graph.node]

    assert gates.fold_gates(model, block) == 1

    after = [node.op_type for node in model.graph.node]
    assert (before.count("ReduceMean"), after.count("ReduceMean")) == (1, 0)
    assert after.count("ReorderInput") == before.count("ReorderInput") - 2
    assert after.count("ReorderOutput") == before.count("ReorderOutput") - 2
    assert gates.fold_gates(model, block) == 0


def test_a_folded_graph_holds_nothing_that_nobody_reads(tmp_path, block):
    model = of_optimiser(gated(**BLOCKS["padded outputs"]), tmp_path)

    gates.fold_gates(model, block)

    read = {name for node in model.graph.node for name in node.input}
    read |= {value.name for value in model.graph.output}
    assert all(read.intersection(node.output) for node in model.graph.node)
    assert read.issuperset(tensor.name for tensor in model.graph.initializer)


def project(model: onnx.ModelProto) -> onnx.NodeProto:
    """The convolution behind the product."""
    (product,) = (node for node in model.graph.node if node.op_type == "Mul")
    (reorder,) = (node for node in model.graph.node if product.output[0] in node.input)
    (conv,) = (node for node in model.graph.node if reorder.output[0] in node.input)
    return conv


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(a for a in node.attribute if a.name == name)


def stride(model: onnx.ModelProto) -> None:
    attribute(project(model), "strides").ints[:] = [2, 2]


def padding(model: onnx.ModelProto) -> None:
    attribute(project(model), "pads").ints[:] = [1, 1, 1, 1]


def newer(model: onnx.ModelProto) -> None:
    project(model).attribute.append(onnx.helper.make_attribute("newer", 1))


def channels_last(model: onnx.ModelProto) -> None:
    name = project(model).input[0]
    reorder = next(node for node in model.graph.node if name in node.output)
    attribute(reorder, "channels_last").i = 1


def fed_weights(model: onnx.ModelProto) -> None:
    weights = project(model).input[1]
    model.graph.input.append(onnx.helper.make_tensor_value_info(weights, 1, None))


def second_reader(model: onnx.ModelProto) -> None:
    model.graph.output.append(onnx.helper.make_tensor_value_info(project(model).input[0], 1, None))


def nested(model: onnx.ModelProto) -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["any"], [], then_branch=inner))


def unknown_shapes(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]


def another_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Mul").op_type = "Add"


CHANGES = (stride, padding, newer, channels_last, fed_weights, second_reader, nested,
           unknown_shapes, another_operator)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_exactly_known_is_left_alone(change, tmp_path, block):
    model = of_optimiser(gated(**BLOCKS["padded channels"]), tmp_path)
    change(model)
    before = model.SerializeToString(deterministic=True)

    assert gates.fold_gates(model, block) == 0

    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    "case",
    [
        {"channels": 32, "outputs": 16, "batch": 2},
        {"channels": 32, "outputs": 16, "tap": "product"},
        {"channels": 18, "outputs": 16},
        {"channels": 4, "outputs": 16},
        {"channels": 20, "outputs": 16, "squeezed": 18},
    ],
    ids=[
        "two frames",
        "product read",
        "not blocked",
        "less than a block",
        "plain, padded",
    ],
)
def test_other_blocks_run_as_they_are(case, tmp_path):
    model = gated(**case)
    path = tmp_path / "gated.onnx"
    onnx.save(model, path)

    session, prepared = open_session(ort, path, FOLDED)

    assert (prepared.gates, str(prepared)) == (0, "")
    plain, _ = open_session(ort, path, PLAIN)
    same(session.run(None, feed(model)), plain.run(None, feed(model)))


def test_the_mean_of_a_large_map_loses_no_digits(block):
    """All values are near 1: a single running sum would drift by some hundred roundings."""
    image = (1 + np.random.default_rng(2).random((1, block, 384, 1024)) / 8).astype(np.float32)
    into, out = (
        onnx.helper.make_node("ReorderInput", [one], [other], domain=gates.DOMAIN)
        for one, other in (("x", "image"), ("mean", "mean"))
    )
    emit = gates.Emitter("mean")
    gates.pool(gates.Mean(out, "image", image.shape[3]), emit)
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [into, *emit.nodes], "mean",
        [make("x", 1, image.shape)], [make("mean", 1, None)], emit.constants,
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(gates.DOMAIN, 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = ort.InferenceSession(
        model.SerializeToString(), session_options(ort, 1), providers=["CPUExecutionProvider"]
    )

    (found,) = session.run(None, {"x": image})

    wanted = image.mean((2, 3), dtype=np.float64)
    assert abs(found.ravel() - wanted.ravel()).max() < ROUNDING


def test_shipped_models_are_opened_once(monkeypatch):
    monkeypatch.setattr(backends, "open_folded", lambda *_: pytest.fail("opened twice"))
    for path in MODELS_FOLDER.glob("*.onnx"):
        assert not may_have_gates(path)
        assert open_session(ort, path, FOLDED)[1].gates == 0


def test_the_bytes_tell_of_gates(saved, tmp_path):
    assert may_have_gates(saved)
    assert not may_have_gates(tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").touch()
    assert not may_have_gates(tmp_path / "empty.onnx")


def unfolded(path: Path) -> None:
    """A file is opened and computes, and no gate of it is folded."""
    session, prepared = open_session(ort, path, FOLDED)
    assert (prepared.gates, prepared.rewritten) == (0, False)
    plain, _ = open_session(ort, path, PLAIN)
    fed = feed(onnx.load(path))
    same(session.run(None, fed), plain.run(None, fed))


def test_a_machine_without_blocks_runs_the_graph_as_it_is(saved, monkeypatch):
    monkeypatch.setattr(probe, "machine_block", lambda: None)
    unfolded(saved)


def test_without_a_folder_to_write_in_the_graph_runs_as_it_is(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    unfolded(saved)


def test_a_folded_graph_that_is_refused_gives_way(saved, monkeypatch, block):
    def broken(model: onnx.ModelProto, _: int) -> int:
        model.graph.node[0].op_type = "Nonsense"
        return 1

    monkeypatch.setattr(gates, "fold_gates", broken)
    unfolded(saved)


def test_without_onnx_the_graph_runs_as_it_is(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)

    assert open_session(ort, saved, FOLDED)[1].gates == 0


def test_nothing_is_left_in_the_temporary_folder(saved, tmp_path, monkeypatch, block):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    assert open_session(ort, saved, FOLDED)[1].gates == 1

    assert list(folder.iterdir()) == []


def test_a_damaged_model_is_refused_as_ever(saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) - 60])
    said = []
    for settings in (FOLDED, PLAIN):
        with pytest.raises(BackendError) as caught:
            open_session(ort, saved, settings)
        said.append(str(caught.value))

    assert said[0] == said[1]


def test_both_sessions_have_the_same_settings(saved, monkeypatch, block):
    made = []

    def options(*args: Any) -> Any:
        made.append(session_options(*args))
        return made[-1]

    monkeypatch.setattr(backends, "session_options", options)

    open_session(ort, saved, OrtSettings(2, spinning="within-run"))

    first, second = made
    assert first.intra_op_num_threads == second.intra_op_num_threads == 2
    key = "session.intra_op.allow_spinning"
    assert first.get_session_config_entry(key) == second.get_session_config_entry(key) == "1"
    assert second.graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
