"""`hyperseg estimate`: operators, peaks and ranges against figures worked out by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch

from edge_runtime.artifacts import read_manifest
from edge_runtime.cli import main
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.zoo import resolve_model
from export.counts import count_macs
from export.deploy import DeployNetwork
from export.estimate.devices import DEVICES, PRECISIONS, Device, device
from export.estimate.estimate import estimate_report, network_of
from export.estimate.roofline import KERNEL_S, estimate, traffic_bytes
from export.estimate.trace import Operator, Tracer, trace
from training.model.hyperseg import HyperSeg
from training.presets import preset

ROUND = Device(
    "round", "a device of round figures", sparse_int8_tops=4.0, fp32_tflops=0.2,
    bandwidth_gbs=10.0, source="made up",
)  # fmt: skip
"""INT8 1e12, FP16 5e11, TF32 2.5e11 and CUDA cores 1e11 multiply-accumulates a second."""

HEAVY = Operator("convolution", "product", 10**9, activations=10**6, weights=10**5, plain_bytes=0)
LIGHT = Operator("cat", "move", 0, activations=10**6, weights=0, plain_bytes=10**6)
FREE = Operator("relu", "pointwise", 0, activations=10**9, weights=0, plain_bytes=0)


# --- peaks


def test_peaks_are_dense_and_of_the_gpu_alone():
    orin = device("orin-nano")
    assert orin.tensor_macs("int8") == 67e12 / 4
    assert orin.tensor_macs("fp16") == 67e12 / 8
    # Of the 275 TOPS on the box 105 are on two accelerators that run no network of ours.
    assert device("agx-orin").sparse_int8_tops == 275 - 105


def test_every_peak_says_where_and_when_it_was_published():
    for one in DEVICES.values():
        assert one.source.startswith("NVIDIA, ")
        assert " 20" in one.source


def test_documented_peaks_are_those_that_are_computed_with(repository):
    text = (repository / "docs/bench.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)`,(.*)$", text, re.MULTILINE))
    assert set(rows) == set(DEVICES)
    for name, one in DEVICES.items():
        for figure in (
            f"{one.sparse_int8_tops:g} TOPS",
            f"{2e-12 * one.tensor_macs('int8'):.3g} TOPS",
            f"{2e-12 * one.tensor_macs('fp16'):.3g} TFLOPS",
            f"{one.fp32_tflops:.1f} TFLOPS",
            f"{one.bandwidth_gbs:g} GB/s",
        ):
            assert f"| {figure}" in rows[name], f"{name}: {figure}"


def test_unknown_target_names_the_known_ones():
    with pytest.raises(OptionError, match="no target 'x'; expected one of orin-nano, agx"):
        device("x")


# --- ranges


@pytest.mark.parametrize(
    ("precision", "fast_ms", "slow_ms"),
    [
        # 1 ms of arithmetic over 0.11 ms of traffic, then 2 MB; four times and 1/0.6 as long, and
        # the second one in FP16, 3 MB
        ("int8", 1.0 + 0.2, 4.0 + 0.5),
        ("fp16", 2.0 + 0.3, 8.0 + 0.5),
        # 4 ms on tensor cores at best, 40 ms on CUDA cores at worst; 5 MB
        ("fp32", 4.0 + 0.5, 40.0 + 5 / 6),
    ],
)
def test_range_is_what_a_pencil_gives(precision, fast_ms, slow_ms):
    found = estimate([HEAVY, LIGHT, FREE], ROUND, precision)
    assert found.fast_ms == pytest.approx(fast_ms)
    assert found.slow_ms == pytest.approx(slow_ms + 2 * KERNEL_S * 1e3)
    assert found.bound == "arithmetic"


def test_traffic_of_integers_does_not_depend_on_the_precision():
    assert [traffic_bytes([LIGHT, FREE], p) for p in PRECISIONS] == [5e6, 3e6, 2e6]


def test_depthwise_and_generated_products_are_slower_at_the_slow_end_only():
    plain = estimate([HEAVY], ROUND, "int8")
    depthwise = estimate([replace(HEAVY, depthwise=True)], ROUND, "int8")
    generated = estimate([replace(HEAVY, generated=True)], ROUND, "int8")
    assert plain.fast_ms == depthwise.fast_ms == generated.fast_ms
    assert plain.slow_ms < generated.slow_ms < depthwise.slow_ms


def test_what_moves_more_than_it_computes_is_bound_by_memory():
    assert estimate([replace(HEAVY, macs=10**6)], ROUND, "fp16").bound == "memory"


def test_cameras_share_the_network():
    found = estimate([HEAVY], ROUND, "fp16")
    slow, fast = found.cameras_fps(4)
    assert fast == pytest.approx(1e3 / (4 * found.fast_ms))
    assert slow < fast


# --- operators


def test_tracer_sees_through_views_and_folds_constants():
    with torch.device("meta"), torch.no_grad():
        weight, x = torch.zeros(8, 4), torch.zeros(16, 4)
        with Tracer([weight]) as tracer:
            doubled = (weight * 2.0).t()
            y = torch.relu(x.reshape(16, 4) @ doubled)
            y @ y.t()
    product, relu, square = tracer.operators
    assert (product.macs, product.activations, product.weights) == (16 * 8 * 4, 16 * 12, 32)
    assert (relu.kind, relu.macs) == ("pointwise", 0)
    assert (product.generated, square.generated) == (False, True)


@pytest.mark.parametrize("name", ["street-n", "cityscapes-s", "street-n+static"])
def test_multiply_accumulates_are_those_of_the_deployment_form(name):
    config = preset(name)
    size = (128, 256)

    operators = trace(config, size)

    with torch.device("meta"):
        network = DeployNetwork(HyperSeg(config).eval(), size)
    assert sum(one.macs for one in operators) == count_macs(network, size).total
    assert any(one.depthwise for one in operators)
    assert any(one.generated for one in operators) is ("static" not in name)


def test_a_frame_and_a_mask_are_counted_as_bytes():
    operators = trace(preset("street-n"), (64, 128))
    # The frame is read as uint8; the mask is written as uint8.
    assert sum(one.plain_bytes for one in operators) >= 64 * 128 * (3 + 1)


# --- reports


def test_shipped_model_is_estimated_at_its_own_size():
    manifest = read_manifest(resolve_model("street-edge-n"), verify=False)
    report = estimate_report("street-edge-n", ["orin-nano"])
    assert (report.size, report.macs) == (manifest.input_size, manifest.macs)
    assert report.measured is False
    assert [one.precision for one in report.estimates] == list(PRECISIONS)
    for one in report.estimates:
        assert 0 < one.fast_ms < one.slow_ms


def test_sweep_grows_with_resolution_classes_and_cameras():
    report = estimate_report("street-n", ["thor"], size=(128, 256), sweep=True)
    for axis in ("resolution", "classes", "cameras"):
        costs = [point.macs for point in report.sweep if point.axis == axis]
        slow = [point.estimates[0].slow_ms for point in report.sweep if point.axis == axis]
        assert len(costs) >= 4
        assert costs == sorted(costs)
        assert slow == sorted(slow)
    grids = {point.value for point in report.sweep if point.axis == "grid"}
    # 128 rows are four at stride 32, which eight patches a side do not divide.
    assert grids == {"by size", "1x1", "2x2", "4x4"}


def test_model_that_is_no_network_of_ours_is_refused(make_model):
    with pytest.raises(ArtifactError, match="does not say which network of ours it is"):
        network_of(str(make_model("theirs")))


def test_command_prints_what_it_is_and_what_it_assumes(capsys):
    assert main(["estimate", "street-n", "--target", "thor", "--size", "128x256"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ESTIMATE, not a measurement: street-n at 128x256")
    assert "Assumed: " in out
    assert "datasheet, August 2025" in out


def test_command_writes_json(capsys):
    arguments = ["estimate", "street-n", "--size", "64x128", "--cameras", "3", "--json", "-"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["measured"]) == ("hyperseg-edge.estimate/1", False)
    assert [one["name"] for one in report["devices"]] == list(DEVICES)
    assert report["cameras"] == 3


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["street-n", "--target", "nano"], "no target 'nano'"),
        (["street-n", "--size", "100x100"], "must be multiples of 64"),
        (["street-n", "--size", "big"], "expected HxW"),
        (["street-n", "--cameras", "0"], "cameras 0: expected 1 to 64"),
        (["no-such"], "no model 'no-such'"),
        (["street-n+nothing"], "no variation 'nothing'"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, line, capsys):
    assert main(["estimate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert line in err
