"""Ranges in a file: written whole, read only for the network that they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_runtime import cli
from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import ArtifactError
from edge_runtime.range_table import RangeTable, read_ranges, write_ranges
from tests.calibration.graphs import deploy_graph, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


def hyperseg(*arguments: object) -> int:
    return cli.main([str(argument) for argument in ("calibrate", *arguments)])


def calibrated(model: Path, output: Path, *more: object, method: str = "mse") -> int:
    return hyperseg(
        model, "--frames", "street:", "--samples", 4, "--method", method, "-o", output, *more
    )


def test_saved_ranges_give_the_same_model_again(tmp_path, model):
    # given ranges saved by one method
    saved, report = tmp_path / "ranges.json", tmp_path / "r.json"
    assert calibrated(model, tmp_path / "one.onnx", "--save-ranges", saved) == 0
    # when they are given to a calibration by another method
    two = tmp_path / "two.onnx"
    assert calibrated(model, two, "--ranges", saved, "--report", report, method="minmax") == 0
    # then they, not the frames, decided
    assert two.read_bytes() == (tmp_path / "one.onnx").read_bytes()
    given = json.loads(report.read_text())["ranges_given"]
    assert given["made_by"] == "mse ranges of 4 frames"
    assert given["left_to_the_frames"] == []
    assert calibrated(model, two, method="minmax") == 0
    assert two.read_bytes() != (tmp_path / "one.onnx").read_bytes()


def test_what_the_table_lacks_is_chosen_from_the_frames(tmp_path, model):
    # given a table of one tensor
    saved, report = tmp_path / "ranges.json", tmp_path / "r.json"
    table = RangeTable(
        made_by="a test", policy="ort-cpu", model_sha256=read_manifest(model).sha256,
        ranges={"feature": 1.25},
    )  # fmt: skip
    write_ranges(saved, table)
    # when
    output = tmp_path / "int8.onnx"
    assert calibrated(model, output, "--ranges", saved, "--report", report) == 0
    # then
    facts = json.loads(report.read_text())
    assert facts["ranges"]["feature"]["amax"] == 1.25
    assert "stem6" in facts["ranges_given"]["left_to_the_frames"]
    assert facts["ranges"]["stem6"]["amax"] == facts["ranges"]["stem6"]["by_method"]["mse"]


def test_ranges_of_another_model_are_refused(tmp_path, model, capsys):
    # given ranges of a model that was then trained on
    saved, output = tmp_path / "ranges.json", tmp_path / "int8.onnx"
    assert calibrated(model, output, "--save-ranges", saved) == 0
    output.unlink()
    other = write_model(tmp_path, deploy_graph(seed=1), "other")
    # when
    assert calibrated(other, output, "--ranges", saved) == 2
    # then the reason is told, and nothing is written
    error = capsys.readouterr().err
    old, new = read_manifest(model).sha256[:12], read_manifest(other).sha256[:12]
    assert f"stale: its ranges (mse ranges of 4 frames) are of the model {old}" in error
    assert f"this is other {new}" in error
    assert not output.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranges": {}}, "has no ranges"),
        ({"ranges": {"t": 0.0}}, "'t' has range 0"),
        ({"ranges": {"t": -2}}, "'t' has range -2"),
        ({"ranges": {"t": "wide"}}, "no table of ranges"),
        ({"kind": "onnx"}, "no table of ranges"),
        ({"format": 2}, "no table of ranges"),
        ({"colour": "red"}, "unknown field"),
    ],
)
def test_damage_is_named(tmp_path, model, change, message):
    plain = {"kind": "ranges", "format": 1, "made_by": "a test", "policy": "ort-cpu",
             "model_sha256": "0" * 64, "ranges": {"t": 1.0}}  # fmt: skip
    path = tmp_path / "ranges.json"
    path.write_text(json.dumps(plain | change))
    with pytest.raises(ArtifactError, match=message):
        read_ranges(path, read_manifest(model))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_what_is_no_json_is_refused(tmp_path, model, content):
    path = tmp_path / "ranges.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="no table of ranges"):
        read_ranges(path, read_manifest(model))


@pytest.mark.parametrize("amax", [float("nan"), float("inf"), 0.0])
def test_unusable_ranges_leave_the_old_table(tmp_path, model, amax):
    # given a good table
    path, manifest = tmp_path / "ranges.json", read_manifest(model)
    good = RangeTable(
        made_by="a test", policy="ort-cpu", model_sha256=manifest.sha256,
        ranges={"odd: name\u2028": float(np.float32(0.1)), "": 3.0},
    )  # fmt: skip
    write_ranges(path, good)
    # when a bad one is written over it
    bad = RangeTable(made_by="x", policy="", model_sha256="", ranges={"t": amax})
    with pytest.raises(ArtifactError, match="'t' has range"):
        write_ranges(path, bad)
    # then the good one is still there, exactly
    assert read_ranges(path, manifest) == good


def test_weights_that_were_trained_with_their_ranges_are_rounded_as_in_training(tmp_path, model):
    # given the same ranges, once chosen from frames and once learned
    saved, kept = tmp_path / "ranges.json", tmp_path / "kept.json"
    assert calibrated(model, tmp_path / "chosen.onnx", "--save-ranges", saved) == 0
    table = read_ranges(saved, read_manifest(model))
    write_ranges(saved, msgspec.structs.replace(table, learned=True))

    # when the learned ones are calibrated with, and handed on
    learned = tmp_path / "learned.onnx"
    assert calibrated(model, learned, "--ranges", saved, "--save-ranges", kept) == 0

    # then nothing moves weights that already know their rounding
    found = [read_manifest(path).options["quantization"]["rounding"]
             for path in (tmp_path / "chosen.onnx", learned)]  # fmt: skip
    assert found == ["adaptive", "nearest"]
    assert learned.read_bytes() != (tmp_path / "chosen.onnx").read_bytes()
    assert read_ranges(kept, read_manifest(model)).learned
