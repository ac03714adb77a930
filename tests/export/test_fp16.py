"""The typed FP16 graph: what is converted, what is kept, and that the gate can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge_runtime.artifacts import read_manifest, write_artifact
from edge_runtime.cli import main
from edge_runtime.errors import ArtifactError, ParityError
from edge_runtime.zoo import resolve_model
from export import fp16_measure
from export.fp16 import element_types, prepared, preprocessing, to_fp16
from export.fp16_policy import convert, out_of_range, require
from export.half import make_half
from export.precision import computes_half, graph_precision, load_graph
from tests.export.graphs import frames, model, node, segmenter

FLOAT, HALF, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def kinds_by_operator(graph: onnx.ModelProto) -> dict[str, int]:
    types = element_types(graph)
    return {n.name: types[n.output[0]] for n in graph.graph.node}


def test_the_interface_and_the_normalisation_stay_as_they_were():
    source = segmenter()
    half = to_fp16(source)
    assert [(v.name, v.type.tensor_type.elem_type) for v in half.graph.input] == [("frame", UINT8)]
    assert [(v.name, v.type.tensor_type.elem_type) for v in half.graph.output] == [("mask", UINT8)]
    kinds = kinds_by_operator(half)
    assert [kinds[f"n_{name}"] for name in ("image", "planes", "scaled", "normal")] == [FLOAT] * 4
    assert [kinds[f"n_{name}"] for name in ("a", "b", "logits")] == [HALF] * 3
    assert preprocessing(prepared(source)) == {
        "n_image", "n_planes", "n_scaled", "n_normal",
    }  # fmt: skip


def test_casts_stand_only_where_the_types_meet():
    half = to_fp16(segmenter())
    casts = [(n.input[0], n.attribute[0].i) for n in half.graph.node if n.op_type == "Cast"]
    assert casts == [("frame", FLOAT), ("normal", HALF), ("ids", UINT8)]


def test_a_kept_node_is_fp32_between_two_casts():
    half = to_fp16(segmenter(), keep=["n_b"])
    kinds = kinds_by_operator(half)
    assert kinds["n_b"] == FLOAT
    assert kinds["n_a"] == kinds["n_logits"] == HALF
    assert sum(n.op_type == "Cast" for n in half.graph.node) == 5


def test_a_kept_node_that_does_not_exist_is_refused():
    with pytest.raises(ArtifactError, match="no node 'n_z'"):
        to_fp16(segmenter(), keep=["n_z"])


def test_scales_of_resize_stay_fp32_and_bounds_of_clip_do_not():
    graph = model(
        [
            node("Conv", "x w", "a"),
            node("Clip", "a low high", "b"),
            node("Resize", "b - scales", "c", mode="linear"),
        ],
        {"x": (FLOAT, (1, 4, 4, 4))},
        {"c": FLOAT},
        {
            "w": np.ones((4, 4, 1, 1), np.float32),
            "low": np.float32(0),
            "high": np.float32(6),
            "scales": np.array([1, 1, 2, 2], np.float32),
        },
    )
    half = to_fp16(graph)
    types = element_types(half)
    resize = next(n for n in half.graph.node if n.op_type == "Resize")
    clip = next(n for n in half.graph.node if n.op_type == "Clip")
    assert types[resize.input[2]] == FLOAT
    assert [types[name] for name in clip.input] == [HALF] * 3


def test_a_float_output_keeps_its_name_and_type_and_its_inner_readers():
    graph = model(
        [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Exp", "a", "c")],
        {"x": (FLOAT, (1, 2, 3, 3))},
        {"a": FLOAT, "b": FLOAT, "c": FLOAT},
        {"w": np.ones((2, 2, 1, 1), np.float32)},
    )
    half = to_fp16(graph)
    assert [(v.name, v.type.tensor_type.elem_type) for v in half.graph.output] == [
        ("a", FLOAT), ("b", FLOAT), ("c", FLOAT),
    ]  # fmt: skip
    feed = {"x": np.random.default_rng(0).uniform(0, 1, (1, 2, 3, 3)).astype(np.float32)}
    found, wanted = (
        ort.InferenceSession(g.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, feed
        )
        for g in (half, graph)
    )
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=3e-3)


def test_a_weight_beyond_the_range_is_refused_by_name():
    graph = segmenter(w1=np.full((8, 3, 3, 3), 1e5, np.float32))
    with pytest.raises(ArtifactError, match="'w1' reaches 1e\\+05"):
        to_fp16(graph)


def test_control_flow_is_refused():
    branch = onnx.helper.make_graph(
        [node("Identity", "x", "y")], "b", [], [onnx.helper.make_tensor_value_info("y", FLOAT, [1])]
    )
    graph = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)],
            "g",
            [
                onnx.helper.make_tensor_value_info("c", TensorProto.BOOL, []),
                onnx.helper.make_tensor_value_info("x", FLOAT, [1]),
            ],
            [onnx.helper.make_tensor_value_info("z", FLOAT, [1])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
    )
    with pytest.raises(ArtifactError, match="control flow"):
        to_fp16(graph)


def test_weights_stored_as_float16_are_unpacked_first():
    stored = np.linspace(-1, 1, 16, dtype=np.float16).reshape(4, 4, 1, 1)
    graph = model(
        [node("Cast", "s", "w", to=FLOAT), node("Conv", "x w", "y")],
        {"x": (FLOAT, (1, 4, 2, 2))}, {"y": FLOAT}, {"s": stored},
    )  # fmt: skip
    half = to_fp16(graph)
    assert graph_precision(half) == "fp16"
    (weight,) = half.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(weight), stored)


def test_quantising_nodes_are_half_only_where_the_opset_allows_it():
    def graph(opset: int) -> onnx.ModelProto:
        return model(
            [
                node("Conv", "x w", "a"),
                node("QuantizeLinear", "a s z", "q"),
                node("DequantizeLinear", "q s z", "d"),
                node("Conv", "d w", "y"),
            ],
            {"x": (FLOAT, (1, 4, 2, 2))},
            {"y": FLOAT},
            {"w": np.ones((4, 4, 1, 1), np.float32), "s": np.float32(0.1), "z": np.int8(0)},
            opset,
        )

    assert kinds_by_operator(to_fp16(graph(18)))["n_d"] == FLOAT
    assert kinds_by_operator(to_fp16(graph(19)))["n_d"] == HALF
    assert graph_precision(to_fp16(graph(19))) == "int8"


def test_the_twin_rounds_and_overflows_where_onnxruntime_alone_does_not():
    """ONNX Runtime drops its own casts on the CPU: an overflow inside does not show there."""
    graph = model(
        [node("MatMul", "x w", "a"), node("Mul", "a k", "b"), node("Div", "b k", "y")],
        {"x": (FLOAT, (2, 2))}, {"y": FLOAT},
        {"w": np.eye(2, dtype=np.float32), "k": np.float32(1000)},
    )  # fmt: skip
    half = to_fp16(graph)
    feed = {"x": np.full((2, 2), 300, np.float32)}

    def run(made: onnx.ModelProto) -> np.ndarray:
        session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, feed)[0]

    assert np.isfinite(run(half)).all()
    assert np.isinf(run(fp16_measure.rounded(half))).all()


def test_the_twin_agrees_with_the_reference_evaluator():
    """A second implementation, which really computes in half precision, rounds likewise."""
    source = segmenter()
    half = to_fp16(source)
    frame = frames(1)[0]
    names = fp16_measure.scores_of(half)
    shown = onnx.ModelProto()
    shown.CopyFrom(half)
    shown.graph.output.append(onnx.helper.make_tensor_value_info(names, HALF, None))
    evaluator = ReferenceEvaluator(shown)
    other = evaluator.run(None, {"frame": frame})[-1].astype(np.float32)
    twin = fp16_measure.scores(fp16_measure.rounded(half), [frame])
    exact = fp16_measure.scores(source, [frame])
    assert 0 < np.abs(twin - exact).max() < 0.01
    assert np.abs(twin - other).max() <= 4 * np.abs(twin - exact).max()


def test_ranges_are_the_largest_magnitudes():
    source = prepared(segmenter())
    found = fp16_measure.ranges(source, frames(3))
    assert found["planes"] == max(frame.max() for frame in frames(3))
    assert found["shift"] == 1.0
    logits = np.abs(fp16_measure.scores(source, frames(3))).max()
    assert found["logits"] == pytest.approx(logits, rel=1e-5)


@pytest.mark.parametrize(("gain", "reason"), [(1e4, "reaches"), (1e-8, "stays below"), (1.0, None)])
def test_what_half_precision_cannot_hold_is_kept_with_the_reason(gain, reason):
    source = prepared(segmenter(gain=gain))
    kept = out_of_range(source, fp16_measure.ranges(source, frames()))
    assert bool(kept) == bool(reason)
    if reason:
        assert {"n_a", "n_b"} <= set(kept)
        assert reason in kept["n_a"]


def test_a_mean_over_many_large_values_is_kept():
    middle = [
        node("Relu", "a", "r"), node("ReduceMean", "r axes", "m"), node("Add", "r m", "b"),
    ]  # fmt: skip
    source = prepared(
        segmenter(middle=middle, size=128, gain=30.0, axes=np.array([2, 3], np.int64))
    )
    kept = out_of_range(source, fp16_measure.ranges(source, frames(1, 128)))
    assert list(kept) == ["n_m"]
    assert "sum may reach" in kept["n_m"]


def test_a_noisy_node_is_found_and_kept_until_the_gate_passes():
    """A small difference of large numbers loses its digits in half precision."""
    middle = [
        node("Add", "a big", "lifted"), node("Sub", "lifted big", "dropped"),
        node("Relu", "dropped", "b"),
    ]  # fmt: skip
    source = segmenter(middle=middle, big=np.float32(4096))
    graph, verdict = convert(source, frames())
    assert verdict.passed
    assert {"n_lifted", "n_dropped"} <= set(verdict.kept)
    assert "n_b" not in verdict.kept
    assert verdict.agreement > 0.98
    assert graph_precision(graph) == "fp16"


def test_an_ordinary_graph_keeps_nothing_and_passes():
    _, verdict = convert(segmenter(), frames())
    assert verdict.passed
    assert verdict.agreement >= 0.99
    assert not verdict.kept
    assert verdict.sqnr_db > 50
    assert not verdict.chaotic
    require(verdict)


def test_the_gate_can_fail_and_says_by_how_much():
    _, verdict = convert(segmenter(), frames())
    with pytest.raises(ParityError, match=r"noise floor of .* nothing was written"):
        require(replace(verdict, rms_error=5 * verdict.noise_floor, passed=False))


def test_a_wrong_conversion_fails_the_gate(monkeypatch):
    def spoiled(graph, keep=()):
        half = to_fp16(graph, keep)
        weight = next(t for t in half.graph.initializer if t.name.startswith("w1"))
        values = numpy_helper.to_array(weight) * np.float16(1.05)
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        return half

    monkeypatch.setattr("export.fp16_policy.to_fp16", spoiled)
    _, verdict = convert(segmenter(), frames())
    assert not verdict.passed


def test_the_shipped_model_in_half_precision(tmp_path):
    """`hyperseg export MODEL.onnx --precision fp16`: masks, manifest and size."""
    source = resolve_model("street-edge-n")
    output = tmp_path / "half.onnx"
    assert main(["export", str(source), "--precision", "fp16", "-o", str(output)]) == 0
    manifest = read_manifest(output, kind="onnx")
    verdict = manifest.options["fp16"]
    assert verdict["passed"]
    assert verdict["sqnr_db"] > 45
    assert verdict["agreement"] > 0.995
    assert not verdict["chaotic"]
    assert manifest.parents[0].sha256 == read_manifest(source).sha256
    assert manifest.inputs == read_manifest(source).inputs
    assert manifest.options["precision"] == "fp16"
    # and one more conversion is refused
    with pytest.raises(ArtifactError, match="FP16 already"):
        make_half(output, tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_an_int8_model_becomes_a_mixed_one(tmp_path, manifest):
    """What is not quantised computes in FP16; Q/DQ pairs stay beside what they serve."""
    middle = [
        node("Relu", "a", "r"), node("QuantizeLinear", "r s z", "q"),
        node("DequantizeLinear", "q s z", "b"),
    ]  # fmt: skip
    graph = segmenter(middle=middle, size=64, s=np.float32(0.05), z=np.int8(0))
    part, source = tmp_path / "part", tmp_path / "q.onnx"
    part.write_bytes(graph.SerializeToString())
    spec = replace(manifest.inputs[0], shape=(1, 64, 64, 3))
    write_artifact(part, source, replace(manifest, inputs=(spec,)))
    made = make_half(source, tmp_path / "m.onnx")
    assert made.options["precision"] == "int8 and fp16"
    mixed = load_graph(tmp_path / "m.onnx")
    assert graph_precision(mixed) == "int8"
    assert computes_half(mixed)
    kinds = kinds_by_operator(mixed)
    assert kinds["n_b"] == kinds["n_logits"] == HALF
    assert sum(n.op_type == "Cast" for n in mixed.graph.node) == 3
    with pytest.raises(ArtifactError, match="FP16 already"):
        make_half(tmp_path / "m.onnx", tmp_path / "again.onnx")


def test_an_exported_model_takes_no_other_option(tmp_path, capsys):
    source = resolve_model("street-edge-n")
    words = ["export", str(source), "--precision", "fp16", "--head", "logits"]
    assert main([*words, "-o", str(tmp_path / "x.onnx")]) == 2
    assert "exported already" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.gst
def test_the_users_own_frames_are_what_the_fp16_graph_is_verified_on(tmp_path):
    pictures, output = tmp_path / "pictures", tmp_path / "h.onnx"
    pictures.mkdir()
    for number, frame in enumerate(frames(3, 96)):
        cv2.imwrite(str(pictures / f"{number}.png"), frame[0])
    source = resolve_model("street-edge-n")
    words = ["export", str(source), "--precision", "fp16", "--frames", str(pictures)]
    assert main([*words, "-o", str(output)]) == 0
    data = {metric.data for metric in read_manifest(output).metrics}
    assert any(text.startswith(f"3 frames of {pictures}, FP16 rounding") for text in data)


def test_frames_without_fp16_are_refused(tmp_path, capsys):
    words = ["export", "n.safetensors", "--frames", "pictures", "-o", str(tmp_path / "n.onnx")]
    assert main(words) == 2
    assert "add --precision fp16" in capsys.readouterr().err


def test_a_model_that_fails_the_gate_is_not_written(tmp_path, manifest, monkeypatch):
    part, source = tmp_path / "part", tmp_path / "s.onnx"
    part.write_bytes(segmenter(size=64).SerializeToString())
    spec = replace(manifest.inputs[0], shape=(1, 64, 64, 3))
    write_artifact(part, source, replace(manifest, inputs=(spec,)))
    monkeypatch.setattr("export.fp16_policy.GATE", 1e-6)
    with pytest.raises(ParityError):
        make_half(source, tmp_path / "h.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.onnx", "s.onnx.json"]


def test_the_manifest_of_a_checkpoints_fp16_graph_names_both_verdicts(tmp_path):
    torch = pytest.importorskip("torch")
    from training.checkpoint import save_checkpoint
    from training.model.hyperseg import HyperSeg
    from training.presets import preset

    torch.manual_seed(0)
    net = HyperSeg(preset("street-n"))
    with torch.no_grad():
        for _ in range(2):
            net.train()(torch.randn(2, 3, 128, 128))
    checkpoint = tmp_path / "n.safetensors"
    save_checkpoint(checkpoint, net.eval(), name="n", preset="street-n", license="none")
    output = tmp_path / "n.onnx"
    words = ["export", str(checkpoint), "--size", "64x128", "--precision", "fp16"]
    assert main([*words, "-o", str(output)]) == 0
    facts = json.loads(Path(f"{output}.json").read_text())["options"]
    assert facts["fp32_parity"]["passed"]
    assert facts["fp16"]["passed"]
