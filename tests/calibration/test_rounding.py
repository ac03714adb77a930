"""Adaptive rounding: less error where it was not fitted, and the same integers however it ran."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from calibration import adaptive, patches
from calibration.adaptive import Rounded, round_weights
from calibration.methods import choose_ranges
from calibration.patches import ConvLayer, conv_layers, in_chunks, moments
from calibration.policy import POLICIES, place
from calibration.qdq import DQ, INT8_MAX, insert, strip
from calibration.ranges import collect, exposed
from calibration.rounding import output_error, round_adaptively, round_nearest
from calibration.storage import store_int8, with_integers
from edge_runtime import cli
from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import ArtifactError
from tests.calibration.graphs import deploy_graph, frames, labelled_folder, write_model
from tests.calibration.memory import peak
from tests.calibration.test_ranges import Frames

COUNT = 6


class Later(Frames):
    """Frames that nothing was fitted to."""

    def read(self, index: int) -> tuple[str, np.ndarray]:
        return super().read(1000 + index)


def prepared(
    policy: str = "ort-cpu", model: onnx.ModelProto | None = None
) -> tuple[onnx.ModelProto, onnx.ModelProto, object]:
    """The model, its quantised form, and the placement."""
    model = model or deploy_graph()
    placement = place(model, POLICIES[policy])
    found = collect(model, [tensor.name for tensor in placement.tensors], Frames(COUNT))
    ranges = choose_ranges(placement, found.tensors, "minmax")
    return model, insert(model, placement, ranges), placement


def correlated(groups: int, taps: int, rank: int, count: int, seed: int) -> np.ndarray:
    """(groups, count, taps) inputs that go together, as those of a network do."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).standard_normal((groups, rank, taps))
    noise = 0.05 * rng.standard_normal((groups, count, taps))
    return np.maximum(rng.standard_normal((groups, count, rank)) @ mixing, 0) + noise


@pytest.mark.parametrize(
    ("groups", "outputs", "taps"),
    [(1, 24, 40), (1, 8, 150), (32, 1, 9), (2, 6, 18)],
    ids=["pointwise", "several blocks", "depthwise", "grouped"],
)
def test_outputs_err_less_on_inputs_that_were_not_seen(groups, outputs, taps):
    # given weights, and two sets of inputs alike
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((groups, outputs, taps))
    scales = np.abs(weight).max(axis=2, keepdims=True) / INT8_MAX
    seen, unseen = (correlated(groups, taps, taps // 3, 3000, seed) for seed in (1, 2))
    # when rounded on the one
    found = round_adaptively(weight, scales, seen.transpose(0, 2, 1) @ seen)
    nearest = round_nearest(weight, scales)

    # then the outputs of the other err less, in each group, with integers of the same grid
    def error(integers: np.ndarray) -> np.ndarray:
        outputs = unseen @ (weight - scales * integers).transpose(0, 2, 1)
        return (outputs**2).sum(axis=(1, 2))

    assert (error(found) < 1.1 * error(nearest)).all()
    assert error(found).sum() < 0.5 * error(nearest).sum()
    assert found.dtype == np.int8
    assert np.abs(found.astype(int)).max() <= INT8_MAX


def test_no_row_gets_worse_on_what_was_seen():
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((1, 64, 12))
    scales = np.abs(weight).max(axis=2, keepdims=True) / INT8_MAX
    inputs = correlated(1, 12, 2, 50, 3)
    seen = inputs.transpose(0, 2, 1) @ inputs
    errors = [
        output_error(weight - scales * rule, seen)
        for rule in (round_adaptively(weight, scales, seen), round_nearest(weight, scales))
    ]
    assert (errors[0] <= errors[1]).all()
    assert (errors[0] < errors[1]).any()


def test_independent_inputs_leave_the_nearest():
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((1, 8, 20))
    scales = np.abs(weight).max(axis=2, keepdims=True) / INT8_MAX
    found = round_adaptively(weight, scales, np.diag(rng.uniform(1, 2, 20))[None])
    np.testing.assert_array_equal(found, round_nearest(weight, scales))


def test_dead_inputs_change_nothing():
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((1, 4, 6))
    scales = np.abs(weight).max(axis=2, keepdims=True) / INT8_MAX
    found = round_adaptively(weight, scales, np.zeros((1, 6, 6)))
    np.testing.assert_array_equal(found, round_nearest(weight, scales))


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_patches_times_weights_are_what_onnx_runtime_convolves(policy):
    # given every convolution's input and output in one frame
    model, _, placement = prepared(policy)
    nodes = {node.input[1]: node for node in model.graph.node if node.op_type == "Conv"}
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    layers = conv_layers(model, placement)
    assert {layer.groups for layer in layers} == {1, 32} or policy == "trt-gpu"
    for layer in layers:
        node = nodes[layer.weight]
        source, expected = exposed(model, [layer.source, node.output[0]], 1)(frames(1)[0])
        # when all outputs are computed from patches
        taken = layer.patches(source, np.arange(np.prod(layer.output_size)))
        kernel = weights[layer.weight].reshape(layer.groups, -1, layer.taps)
        made = (taken @ kernel.transpose(0, 2, 1)).transpose(0, 2, 1).reshape(expected.shape)
        if len(node.input) > 2:
            made += weights[node.input[2]].reshape(1, -1, 1, 1)
        # then
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_strides_pads_and_dilations_are_followed():
    # given a convolution of every kind at once
    node = onnx.helper.make_node(
        "Conv", ["x", "w"], ["y"], group=2, strides=[2, 1], pads=[1, 2, 0, 3], dilations=[1, 2]
    )
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 2)).astype(np.float32)
    values = np.random.default_rng(1).standard_normal((1, 6, 9, 11)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [node], "g", [onnx.helper.make_tensor_value_info("x", 1, values.shape)],
        [onnx.helper.make_tensor_value_info("y", 1, None)], [numpy_helper.from_array(kernel, "w")],
    )  # fmt: skip
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"x": values})[0]
    layer = ConvLayer("w", "x", (6, 9, 11), expected.shape[2:], kernel.shape, 2,
                      (2, 1), (1, 2, 0, 3), (1, 2))  # fmt: skip
    # when
    taken = layer.patches(values, np.arange(np.prod(layer.output_size)))
    made = taken @ kernel.reshape(2, -1, layer.taps).transpose(0, 2, 1)
    # then
    np.testing.assert_allclose(
        made.transpose(0, 2, 1).reshape(expected.shape), expected, rtol=1e-4, atol=1e-4
    )


def test_positions_are_seeded_and_bounded():
    layer = ConvLayer("w", "x", (16, 200, 300), (200, 300), (8, 16, 3, 3), 1,
                      (1, 1), (1, 1, 1, 1), (1, 1))  # fmt: skip
    first = layer.positions(0)
    assert len(first) == patches.POSITIONS_PER_TAP * layer.taps == len(set(first.tolist()))
    np.testing.assert_array_equal(first, layer.positions(0))
    assert not np.array_equal(first, layer.positions(1))


def layer_errors(model, graph, rounded, placement, unseen) -> tuple[float, float]:
    """Summed relative output errors of all layers: adaptive, nearest."""
    layers = conv_layers(model, placement)
    sums = moments(graph, layers, unseen, range(len(unseen)))
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    totals = [0.0, 0.0]
    for layer, found in zip(layers, sums, strict=True):
        choice = rounded[layer.weight]
        kernel = weights[layer.weight].reshape(layer.groups, -1, layer.taps).astype(np.float64)
        scales = choice.scales.reshape(layer.groups, -1, 1)
        whole = output_error(kernel, found.second).sum()
        rules = (choice.integers.reshape(kernel.shape), round_nearest(kernel, scales))
        for index, integers in enumerate(rules):
            error = output_error(kernel - scales * integers, found.second).sum()
            totals[index] += error / whole
    return totals[0], totals[1]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_layers_of_a_graph_err_less_on_other_frames(policy):
    model, graph, placement = prepared(policy)
    rounded = round_weights(model, graph, placement, Frames(COUNT))
    assert set(rounded) == {layer.weight for layer in conv_layers(model, placement)}
    adapted, nearest = layer_errors(model, graph, rounded, placement, Later(4))
    assert adapted < 0.8 * nearest


def test_the_rounded_graph_answers_nearer_to_the_float_model():
    model, graph, placement = prepared()
    finished = with_integers(graph, round_weights(model, graph, placement, Frames(COUNT)))

    def error(candidate: onnx.ModelProto) -> float:
        unseen = Later(8)
        runs = [exposed(which, ["feature"], 1) for which in (model, candidate)]
        pairs = [[run(unseen.read(i)[1])[0] for run in runs] for i in range(len(unseen))]
        return float(np.mean([np.mean((one - other) ** 2) for one, other in pairs]))

    assert error(finished) < 0.95 * error(graph)


def test_pairs_and_integers_are_taken_out_again():
    # given a graph with integers beside its float weights
    model, graph, placement = prepared()
    finished = with_integers(graph, round_weights(model, graph, placement, Frames(COUNT)))
    names = {tensor.name for tensor in finished.graph.initializer}
    assert {"network.b.expand.weight", "network.b.expand.weight__q"} <= names
    # when stripped, then it is the float model bit by bit
    assert strip(finished).SerializeToString() == model.SerializeToString()
    # and when stored small, then the integers alone stay, and answers are the same
    small = store_int8(finished)
    assert "network.b.expand.weight" not in {tensor.name for tensor in small.graph.initializer}
    for frame in frames(2, 5):
        one, two = (exposed(which, ["scores"], 1)(frame)[0] for which in (finished, small))
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ArtifactError, match="stored as INT8; start from the float model"):
        strip(small)


def test_integers_of_other_scales_are_not_used():
    _, graph, _ = prepared()
    name = "network.b.expand.weight"
    wrong = {name: Rounded(np.zeros((32, 16, 1, 1), np.int8), np.ones(32, np.float32))}
    assert with_integers(graph, wrong).SerializeToString() == graph.SerializeToString()


def test_a_weight_that_two_convolutions_read_keeps_the_nearest():
    model = deploy_graph()
    reader = next(node for node in model.graph.node if node.output[0] == "join")
    twin = onnx.NodeProto.FromString(reader.SerializeToString())
    twin.output[0] = "twin"
    model.graph.node.append(twin)
    model.graph.output.append(onnx.helper.make_tensor_value_info("twin", 1, None))
    names = {layer.weight for layer in conv_layers(model, place(model, POLICIES["ort-cpu"]))}
    assert "network.join.weight" not in names
    assert "network.b.project.weight" in names


def integers(rounded: dict[str, Rounded]) -> dict[str, bytes]:
    return {name: choice.integers.tobytes() for name, choice in rounded.items()}


def test_chunks_are_bounded_and_give_the_same_integers(monkeypatch):
    model, graph, placement = prepared()
    whole = integers(round_weights(model, graph, placement, Frames(COUNT)))
    layers = conv_layers(model, placement)
    monkeypatch.setattr(patches, "CHUNK_BYTES", 60_000)
    chunks = list(in_chunks(layers))
    assert len(chunks) > 2
    assert all(len(c) == 1 or sum(one.cost_bytes for one in c) <= 60_000 for c in chunks)
    assert integers(round_weights(model, graph, placement, Frames(COUNT))) == whole


def test_a_state_of_other_frames_is_not_used(tmp_path: Path):
    model, graph, placement = prepared()
    state = tmp_path / "rounding.npz"
    round_weights(model, graph, placement, Frames(COUNT), state=state)

    class Others(Later):
        hashes = [f"{index}" for index in range(COUNT)]  # noqa: RUF012

    other = round_weights(model, graph, placement, Others(COUNT), state=state)
    assert integers(other) == integers(round_weights(model, graph, placement, Others(COUNT)))


def test_a_damaged_state_is_named(tmp_path: Path):
    model, graph, placement = prepared()
    state = tmp_path / "rounding.npz"
    state.write_bytes(b"PK no archive")
    with pytest.raises(ArtifactError, match=r"rounding\.npz is no saved rounding"):
        round_weights(model, graph, placement, Frames(1), state=state)


SCRIPT = """
import sys
from pathlib import Path
from calibration import adaptive, patches
from tests.calibration.test_ranges import Frames
from tests.calibration.test_rounding import COUNT, prepared
patches.CHUNK_BYTES = 60_000
model, graph, placement = prepared()
adaptive.round_weights(
    model, graph, placement, Frames(COUNT), state=Path(sys.argv[1]),
    say=lambda line: (print(line, flush=True), input()),
)
"""


def test_killed_and_resumed_gives_the_same_integers(tmp_path: Path, repository, monkeypatch):
    # given a rounding that is killed after its second chunk
    state = tmp_path / "rounding.npz"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(state)],
        cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    first = process.stdout.readline()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() != first
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    # when it is started again
    monkeypatch.setattr(patches, "CHUNK_BYTES", 60_000)
    model, graph, placement = prepared()
    seen = []
    whole = adaptive.moments

    def watched(graph, chunk, *rest):
        seen.extend(layer.weight for layer in chunk)
        return whole(graph, chunk, *rest)

    monkeypatch.setattr(adaptive, "moments", watched)
    resumed = round_weights(model, graph, placement, Frames(COUNT), state=state)
    # then it goes on, to the integers of an uninterrupted one
    assert 0 < len(seen) < len(resumed)
    assert integers(resumed) == integers(round_weights(model, graph, placement, Frames(COUNT)))


def hyperseg(*arguments: object) -> int:
    return cli.main([str(argument) for argument in ("calibrate", *arguments)])


def test_the_verb_rounds_adaptively_and_again_gives_the_same(tmp_path: Path):
    # given a model
    model = write_model(tmp_path)
    data = labelled_folder(tmp_path / "data")
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    arguments = ("--frames", data / "train", "--samples", 4, "--method", "minmax", "--threads", 1,
                 "--rounding", "adaptive", "-o")  # fmt: skip
    # when it is calibrated, and its INT8 form again
    assert hyperseg(model, *arguments, first) == 0
    assert hyperseg(first, *arguments, second) == 0
    # then both are the same, say how they were rounded, and lead back to the float model
    assert first.read_bytes() == second.read_bytes()
    assert read_manifest(first).options["quantization"]["rounding"] == "adaptive"
    graph = onnx.load(first)
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    chosen = numpy_helper.to_array(stored["network.b.expand.weight__q"])
    scale = numpy_helper.to_array(stored["network.b.expand.weight__scale"])
    weight = numpy_helper.to_array(stored["network.b.expand.weight"])
    assert not np.array_equal(chosen, round_nearest(weight, scale.reshape(-1, 1, 1, 1)))
    assert f"network.b.expand.weight{DQ}" in {name for n in graph.graph.node for name in n.input}
    assert strip(graph).SerializeToString() == model.read_bytes()


MEMORY = """
import resource, sys
from calibration.adaptive import round_weights
import calibration.adaptive as adaptive
from tests.calibration.test_ranges import Frames
from tests.calibration.test_rounding import prepared
adaptive.FRAMES = int(sys.argv[1])
class Same(Frames):
    @property
    def hashes(self):
        return ["same"] * len(self)
model, graph, placement = prepared()
round_weights(model, graph, placement, Same(int(sys.argv[1])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_frames(repository):
    assert peak(MEMORY, 256, repository) < 1.1 * peak(MEMORY, 8, repository)
