"""Fine-tuning with INT8 rounding, from the command line to a model that carries learned ranges."""

from __future__ import annotations

import json

import onnx
import pytest
import torch

from edge_runtime.artifacts import read_manifest
from edge_runtime.cli import main
from edge_runtime.street import write_dataset
from training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data set, a checkpoint trained on it, its export, and a calibration's report."""
    root = tmp_path_factory.mktemp("qat")
    write_dataset(root / "street", seeds=range(4), frames_per_seed=2, size=(64, 128))
    data = f"folder:{root / 'street'}"
    assert main(train(data, root / "run", "--preset", "street-n", "--steps", "2")) == 0
    export = ["export", str(root / "run/checkpoint.safetensors"), "--size", "64x128"]
    assert main([*export, "-o", str(root / "net.onnx")]) == 0
    assert (
        main(
            ["calibrate", str(root / "net.onnx"), "--frames", data, "--samples", "4",
             "--method", "minmax", "--policy", "ort-cpu", "-o", str(root / "int8.onnx"),
             "--report", str(root / "calibration.json")]
        )
        == 0
    )  # fmt: skip
    return root, data


def train(data, run, *more):
    return [
        "train", "--data", data, "--run", str(run), "--batch", "2", "--crop", "64x64",
        "--threads", "1", "--log-every", "1", "--device", "cpu", *more,
    ]  # fmt: skip


def fine_tune(root, data, run, *more):
    return train(
        data, run, "--preset", "street-n", "--init", str(root / "run/checkpoint.safetensors"),
        "--qat", str(root / "calibration.json"), *more,
    )  # fmt: skip


@pytest.mark.slow
def test_a_fine_tuned_checkpoint_exports_with_its_learned_ranges(trained, tmp_path, capsys):
    # Given a network trained on with its INT8 rounding
    root, data = trained
    run = tmp_path / "qat"
    assert main(fine_tune(root, data, run, "--steps", "3", "--lr", "1e-3")) == 0
    assert "tensors rounded as ort-cpu rounds them" in capsys.readouterr().out

    # When exported and calibrated with the ranges it learned
    checkpoint = run / "checkpoint.safetensors"
    ranges = run / "checkpoint.safetensors.ranges.json"
    learned = json.loads(ranges.read_text())["ranges"]
    model, int8 = tmp_path / "net.onnx", tmp_path / "int8.onnx"
    assert main(["export", str(checkpoint), "--size", "64x128", "-o", str(model)]) == 0
    calibrate = ["calibrate", str(model), "--frames", data, "--samples", "4", "--policy", "ort-cpu"]
    assert main([*calibrate, "--ranges", str(ranges), "-o", str(int8)]) == 0

    # Then it is an ordinary network of its preset, and the graph quantises as it was trained to
    net, manifest = load_checkpoint(checkpoint)
    assert manifest.preset == "street-n"
    assert manifest.options["training"]["qat"] == "calibration.json"
    assert not [name for name in net.state_dict() if "quantiz" in name]
    graph = onnx.load_model(int8)
    assert sum(node.op_type == "QuantizeLinear" for node in graph.graph.node) > 20
    assert learned
    assert read_manifest(int8).options["quantization"]["method"] != "minmax"


@pytest.mark.slow
def test_an_interrupted_fine_tuning_ends_with_the_same_weights(trained, tmp_path):
    # Given one run in one go, and one in two parts
    root, data = trained
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(fine_tune(root, data, whole, "--steps", "4", "--save-every", "1")) == 0
    first = fine_tune(root, data, parts, "--steps", "4", "--save-every", "1")
    assert main([*first, "--minutes", "0.0001"]) == 0
    assert main(["train", "--run", str(parts), "--resume"]) == 0

    # Then weights and ranges are equal to the bit
    one, _ = load_checkpoint(whole / "last.safetensors")
    two, _ = load_checkpoint(parts / "last.safetensors")
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    names = "last.safetensors.ranges.json"
    ranges = [json.loads((run / names).read_text())["ranges"] for run in (whole, parts)]
    assert ranges[0] == ranges[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--qat", "absent.json"], "qat starts from a trained network: give its checkpoint"),
        (["--init", "absent.safetensors"], "no model 'absent.safetensors'"),
    ],
)
def test_what_cannot_be_fine_tuned_is_one_line(trained, tmp_path, capsys, options, message):
    _, data = trained
    arguments = train(data, tmp_path / "run", "--preset", "street-n", "--steps", "1", *options)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_checkpoint_of_another_network_is_refused(trained, tmp_path, capsys):
    root, data = trained
    start = ["--preset", "edge-n", "--init", str(root / "run/checkpoint.safetensors")]
    assert main(train(data, tmp_path / "run", *start, "--steps", "1")) == 2
    assert "whose weights do not fit" in capsys.readouterr().err
