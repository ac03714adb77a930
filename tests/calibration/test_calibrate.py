from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from calibration import ranges
from calibration.qdq import strip
from calibration.sensitivity import block_of
from edge_runtime import cli
from edge_runtime.artifacts import manifest_path, read_manifest
from edge_runtime.backends.base import EngineStamps, open_backend
from export.half import make_half
from tests.calibration.graphs import (
    deploy_graph,
    frames,
    labelled_folder,
    shortcut_graph,
    write_model,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return labelled_folder(tmp_path / "data")


def hyperseg(*arguments: object) -> int:
    return cli.main([str(argument) for argument in ("calibrate", *arguments)])


def test_int8_model_manifest_and_report(tmp_path, model, data, capsys):
    # when
    output, report = tmp_path / "int8.onnx", tmp_path / "r.json"
    code = hyperseg(
        model, "--frames", f"folder:{data}", "--samples", 8, "--data", f"folder:{data}",
        "--gate", 30, "-o", output, "--report", report, "--threads", 1,
    )  # fmt: skip
    # then the model runs in the runtime's backend
    assert code == 0
    manifest = read_manifest(output, kind="onnx")
    with open_backend(output, manifest) as backend:
        backend.infer(EngineStamps())
    # and says how it came about
    facts = json.loads(report.read_text())
    record = manifest.options["quantization"]
    assert record["ranges_sha256"] == facts["ranges_sha256"]
    assert record["samples_sha256"] == [sample["sha256"] for sample in facts["samples"]]
    assert len(record["samples_sha256"]) == 8
    assert manifest.parents[0].sha256 == read_manifest(model).sha256
    assert manifest.metrics[0].value == pytest.approx(facts["accuracy"]["int8"]["miou"])
    # and the report has both models per class, measured where it says
    assert facts["measured_with"].startswith("ONNX Runtime 1.")
    assert facts["accuracy"]["fp32"]["miou"] == 1.0
    assert 0 < facts["accuracy"]["miou_drop_points"] < 30
    assert set(facts["agreement_by_method"]) == {
        "entropy",
        "percentile",
        "mse",
        "minmax",
        "average",
    }
    assert facts["operators_float"]["scores"] == "generated weights"
    assert facts["passed"]
    assert "mIoU" in capsys.readouterr().out
    # and stripping it gives the float model back
    assert strip(onnx.load_model(output)).SerializeToString() == model.read_bytes()
    assert not output.with_name("int8.onnx.work").exists()


def test_too_large_a_drop_exits_3_and_writes_the_report_only(tmp_path, model, data, capsys):
    output, report = tmp_path / "int8.onnx", tmp_path / "r.json"
    code = hyperseg(
        model, "--frames", f"folder:{data}", "--samples", 4, "--data", f"folder:{data}",
        "--gate", 0, "-o", output, "--report", report, "--method", "minmax", "--json", "-",
    )  # fmt: skip
    assert code == 3
    assert not output.exists()
    assert json.loads(report.read_text())["passed"] is False
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads(report.read_text())
    assert "more than the gate of 0" in said.err


def test_after_a_refusal_the_frames_are_chosen_anew(tmp_path, model, data, capsys):
    # given a calibration that lost too much
    output = tmp_path / "int8.onnx"
    arguments = (
        model, "--frames", f"folder:{data}", "--samples", 4, "--data", f"folder:{data}",
        "--method", "minmax", "--rounding", "nearest", "-o", output, "--gate",
    )  # fmt: skip
    assert hyperseg(*arguments, 0) == 3
    # when it is tried again
    capsys.readouterr()
    assert hyperseg(*arguments, 100) == 0
    # then nothing is taken over but what was measured on the same frames
    said = capsys.readouterr().err
    assert "4 frames chosen from" in said
    assert "taken over" not in said
    assert "ranges: " not in said
    assert not output.with_name("int8.onnx.work").exists()


def test_other_frames_after_a_refusal_are_those_of_the_result(tmp_path, model, data):
    # given a calibration that lost too much
    output, pictures = tmp_path / "int8.onnx", data / "train"
    arguments = (
        model, "--frames", pictures, "--samples", 4, "--data", f"folder:{data}",
        "--method", "minmax", "--rounding", "nearest", "-o", output, "--gate",
    )  # fmt: skip
    assert hyperseg(*arguments, 0) == 3
    # when the pictures are replaced by others, as the documentation advises
    for number, frame in enumerate(frames(12, seed=77)):
        cv2.imwrite(str(pictures / f"train{number}.png"), frame[:, :, ::-1])
    assert hyperseg(*arguments, 100) == 0
    # then the model was calibrated on these
    fresh = tmp_path / "fresh.onnx"
    assert hyperseg(*arguments[:-2], fresh, "--gate", 100) == 0
    key = "samples_sha256"
    records = [read_manifest(path).options["quantization"][key] for path in (output, fresh)]
    assert records[0] == records[1]
    assert fresh.read_bytes() == output.read_bytes()


def test_the_split_that_judges_is_no_calibration_data(tmp_path, model, data, capsys):
    code = hyperseg(
        model, "--frames", f"folder:{data}", "--frames-split", "val", "--data", f"folder:{data}",
        "-o", tmp_path / "int8.onnx",
    )  # fmt: skip
    assert code == 2
    assert "both calibrated on and in street-8 val" in capsys.readouterr().err


def test_other_classes_are_refused(tmp_path, model, data, capsys):
    code = hyperseg(
        model, "--frames", f"folder:{data}", "--data", f"camvid:{data}", "--samples", 2,
        "--method", "minmax", "-o", tmp_path / "int8.onnx",
    )  # fmt: skip
    assert code == 2
    assert "labelled with camvid-11" in capsys.readouterr().err
    assert not (tmp_path / "int8.onnx.work").exists()  # found out before any work


def test_without_labels_nothing_is_claimed_about_accuracy(tmp_path, model, data):
    output, report = tmp_path / "int8.onnx", tmp_path / "r.json"
    assert hyperseg(
        model, "--frames", data / "train", "--samples", 4, "--policy", "trt-gpu", "--method",
        "entropy", "-o", output, "--report", report,
    ) == 0  # fmt: skip
    facts = json.loads(report.read_text())
    assert facts["accuracy"] is None
    assert facts["passed"] is None
    assert read_manifest(output).metrics == ()


def test_an_interrupted_calibration_goes_on(tmp_path, model, data, monkeypatch):
    # given one that stops after its frames were seen
    output = tmp_path / "int8.onnx"
    arguments = (model, "--frames", data / "train", "--samples", 5, "--method", "mse", "-o", output)
    monkeypatch.setattr("calibration.calibrate.Runner", _interrupt)
    assert hyperseg(*arguments) == 130
    assert not output.exists()
    monkeypatch.undo()
    # when it is started again, it runs no frame twice
    monkeypatch.setattr(ranges, "_take_in", _interrupt)
    assert hyperseg(*arguments) == 0
    # then the result is that of an uninterrupted one
    monkeypatch.undo()
    whole = tmp_path / "whole.onnx"
    assert hyperseg(*arguments[:-1], whole) == 0
    assert whole.read_bytes() == output.read_bytes()


def _interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "street:", "-o", "x.int8"], "must end in .onnx"),
        (["--frames", "street:", "-o", "none/x.onnx"], "no folder none"),
        (["--frames", "street:", "-o", "x.onnx", "--gate", "-1"], "--gate is -1"),
        (["--frames", "street:", "-o", "x.onnx", "--gate", "nan"], "--gate is nan"),
        (["--frames", "street:", "-o", "x.onnx", "--gate", "inf"], "--gate is inf"),
        (["--frames", "street:", "-o", "x.onnx", "--method", "best"], "'best' is not one of"),
        (["-o", "x.onnx"], "--frames"),
        (["--frames", "street:", "-o", "x.onnx", "--exclude", "stm"], "no operator 'stm'"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, monkeypatch, model, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert hyperseg(model, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_model_that_already_has_pairs_is_calibrated_anew(tmp_path, model, data):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    arguments = ("--frames", data / "train", "--samples", 4, "--method", "minmax", "-o")
    assert hyperseg(model, *arguments, first) == 0
    assert hyperseg(first, *arguments, second) == 0
    assert second.read_bytes() == first.read_bytes()
    assert np.array_equal(
        np.frombuffer(strip(onnx.load_model(second)).SerializeToString(), np.uint8),
        np.frombuffer(model.read_bytes(), np.uint8),
    )


def test_mixed_search_keeps_blocks_float_until_the_gate_is_met(tmp_path, model, data):
    # given a gate that all-INT8 misses
    output, report = tmp_path / "int8.onnx", tmp_path / "r.json"
    arguments = (
        model, "--frames", f"folder:{data}", "--samples", 6, "--data", f"folder:{data}",
        "--method", "minmax", "-o", output, "--report", report,
    )  # fmt: skip
    assert hyperseg(*arguments, "--gate", 100) == 0
    whole = json.loads(report.read_text())
    gate = 0.6 * whole["accuracy"]["miou_drop_points"]
    # when
    assert hyperseg(*arguments, "--gate", gate, "--mixed") == 0
    # then some blocks are float, in the model and in the report
    facts = json.loads(report.read_text())
    assert facts["accuracy"]["miou_drop_points"] <= gate
    assert facts["accuracy_all_int8"] == whole["accuracy"]
    assert facts["float_blocks"]
    assert 0 < facts["macs_share_int8"] < whole["macs_share_int8"]
    assert read_manifest(output).options["quantization"]["float_blocks"] == facts["float_blocks"]
    lost = [effect["lost"] for effect in facts["sensitivity"]]
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > 0


@pytest.mark.parametrize("policy", ["trt-gpu", "ort-cpu"])
def test_each_block_can_be_alone_where_two_convolutions_are_added(tmp_path, policy):
    # given
    graph = shortcut_graph()
    model, report = write_model(tmp_path, graph), tmp_path / "r.json"
    data = labelled_folder(tmp_path / "data", graph)
    # when the search has to go through all of them
    code = hyperseg(
        model, "--frames", f"folder:{data}", "--samples", 4, "--data", f"folder:{data}",
        "--policy", policy, "--method", "minmax", "--rounding", "nearest", "--sensitivity",
        "--mixed", "--gate", 0, "-o", tmp_path / "int8.onnx", "--report", report,
    )  # fmt: skip
    # then
    assert code == 0
    facts = json.loads(report.read_text())
    assert facts["accuracy"]["miou_drop_points"] == 0
    assert {"b.shortcut", "b.project"} <= {effect["block"] for effect in facts["sensitivity"]}


@pytest.mark.parametrize("kind", ["missing", "another size", "another network", "other classes"])
def test_a_form_that_is_none_of_this_model_is_refused_before_the_work(
    tmp_path, model, data, capsys, kind
):
    # given
    other = tmp_path / "half.onnx"
    if kind != "missing":
        made = write_model(tmp_path, deploy_graph(seed=3), "other")
        make_half(model if kind in ("another size", "other classes") else made, other)
        _amend(other, kind)
    # when
    code = hyperseg(
        model, "--frames", f"folder:{data}", "--data", f"folder:{data}", "--fp16", other,
        "--report", tmp_path / "r.json", "-o", tmp_path / "int8.onnx",
    )  # fmt: skip
    # then
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert str(other) in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "int8.onnx.work").exists()


def _amend(path: Path, kind: str) -> None:
    """Change what a manifest says."""
    place = manifest_path(path)
    facts = json.loads(place.read_text())
    if kind == "another size":
        facts["inputs"][0]["shape"][2] //= 2
    elif kind == "other classes":
        facts["labels"]["names"][0] = "path"
    place.write_text(json.dumps(facts))


def test_mixed_search_needs_labels(tmp_path, model, capsys):
    assert hyperseg(model, "--frames", "street:", "--mixed", "-o", tmp_path / "x.onnx") == 2
    assert "give --data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "block"),
    [
        ("backbone.blocks.3.expand.conv", "backbone.blocks.3"),
        ("backbone.stem.conv", "backbone.stem"),
        ("reductions.2.0", "reductions.2"),
        ("context_head.in_conv.0", "context_head.in_conv.0"),
    ],
)
def test_blocks_are_told_by_module_names(module, block):
    assert block_of(module) == block


def test_a_half_model_is_refused_with_what_to_give_instead(tmp_path, model, capsys):
    half, output = tmp_path / "half.onnx", tmp_path / "int8.onnx"
    make_half(model, half)
    capsys.readouterr()
    assert hyperseg(half, "--frames", "street:", "--samples", 1, "-o", output) == 2
    error = capsys.readouterr().err.strip()
    assert "half.onnx is FP16" in error
    assert "give the FP32 model" in error
    assert len(error.splitlines()) == 1
    assert not output.exists()
