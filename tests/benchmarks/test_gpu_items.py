"""What the GPU items compute, proven on the CPU."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from benchmarks.gpu import convolution, networks, plumbing, travel
from benchmarks.gpu.conv_forms import (
    FORMS,
    LEVEL_FORMS,
    generated_levels,
    shapes_of,
    static_times_signal,
)
from benchmarks.gpu.host_memory import HostMemory
from benchmarks.gpu.onnx_torch import TorchGraph
from benchmarks.gpu.processes import apart
from benchmarks.gpu.ranges import DeviceStatistics, compared
from calibration.histogram import TensorStatistics
from edge_runtime.errors import ArtifactError, BackendError, OptionError
from edge_runtime.zoo import resolve_model
from training.model.hyperseg import HyperSeg
from training.model.patchwise import (
    merge_tiles,
    patchwise_conv,
    split_into_tiles,
    weights_by_tile,
)
from training.presets import preset


@pytest.mark.parametrize("kind", FORMS)
def test_all_forms_of_a_convolution_are_one_function(kind):
    forms = list(FORMS[kind].values())
    tiles = torch.randn(6, 5, 7, 4, dtype=torch.float64)
    weights = torch.randn(6, 5 * (9 if kind == "depthwise" else 3), dtype=torch.float64)
    exact = forms[0](tiles, weights)
    for form in forms[1:]:
        torch.testing.assert_close(form(tiles, weights), exact)


def test_sizes_are_those_of_the_network():
    # 12 x 16 patches; three 1x1 levels, then 1x1, depthwise 3x3 with a halo, 1x1
    shapes = shapes_of("street-n")
    assert [shape.kind for shape in shapes] == [*["pointwise"] * 4, "depthwise", "pointwise"]
    assert {shape.tiles for shape in shapes} == {192}
    assert (shapes[0].height, shapes[0].width) == (1, 1)
    assert (shapes[4].height, shapes[5].height) == (10, 8)
    decoder = HyperSeg(preset("street-n")).decoder
    made = [*(shape.weights for shape in shapes[:3]), sum(shape.weights for shape in shapes[3:])]
    assert made == decoder.level_weights


def test_static_times_signal_is_the_decoders_own_level():
    """With the weights of a real generator, not only with the other form beside it."""
    torch.manual_seed(0)
    decoder = HyperSeg(preset("street-n")).decoder
    levels, left_out = generated_levels("street-n")
    assert [level.level for level in levels] == [0, 1]
    assert "whole number of rows" in left_out[2]
    generator, _ = decoder.generator_of(1)
    level, grid = levels[1], (2, 3)
    signal = torch.randn(1, generator.offset + generator.channels, *grid)
    map_ = torch.randn(1, level.inputs, 4, 6)
    with torch.no_grad():
        weights = weights_by_tile(generator(signal))
        tiles = split_into_tiles(map_, grid)
        expected = merge_tiles(patchwise_conv(tiles, weights, level.outputs), grid)
        share = signal[0, generator.offset :].reshape(level.groups, level.share, -1)
        learned = generator.conv.weight.reshape(level.groups, -1, level.inputs, level.share)
        for form in LEVEL_FORMS.values():
            y = form(tiles.flatten(2), share, learned)
            found = merge_tiles(y.reshape(6, level.outputs, 2, 2), grid)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert static_times_signal in LEVEL_FORMS.values()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("item", "arguments"),
    [
        (convolution, ["street-n", "--precisions", "fp32"]),
        (networks, ["street-n", "--precisions", "fp32", "--modes", "eager", "graph"]),
    ],
)
def test_dry_runs_go_through_every_row(item, arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["item", "--dry-run", *arguments])
    assert item.main() == 0
    assert "complete" in capsys.readouterr().out


def test_graph_in_torch_gives_onnxruntimes_mask():
    import onnxruntime as ort

    path = resolve_model("street-edge-n")
    model = onnx.load_model(path)
    frame = np.random.default_rng(0).integers(0, 256, (384, 512, 3), np.uint8)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {model.graph.input[0].name: frame[None]})
    output = model.graph.output[0].name
    found = TorchGraph(model, torch.device("cpu")).run(frame, [output])[output].numpy()
    assert (found == expected).mean() > 0.9999


def test_graph_in_torch_refuses_what_it_does_not_know():
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    with pytest.raises(BackendError, match="Tanh"):
        TorchGraph(helper.make_model(graph), torch.device("cpu"))


def test_histograms_on_a_device_are_the_ones_of_numpy():
    # given frames whose range grows, one of zeros, and negative values
    rng = np.random.default_rng(0)
    ours, theirs = DeviceStatistics(), TensorStatistics()
    for scale in (0.01, 0.0, 1.0, 300.0, 70_000.0):
        values = (rng.normal(size=(3, 50, 40)) * scale).astype(np.float32)
        ours.add(torch.from_numpy(values))
        theirs.add(values)
    # then
    found = ours.host
    assert (found.counts == theirs.counts).all()
    assert (found.exponent, found.largest) == (theirs.exponent, theirs.largest)
    assert (found.average, found.frames) == (theirs.average, theirs.frames)
    with pytest.raises(ArtifactError, match="NaN"):
        ours.add(torch.tensor([1.0, float("nan")]))


def test_ranges_apart_are_named():
    found = compared({"a": 1.0, "b": 2.2}, {"a": 1.0, "b": 2.0})
    assert (found["worst_tensor"], found["within_tolerance"]) == ("b", 1)
    assert found["worst_relative"] == pytest.approx(0.1)


class Forgetful(HostMemory):
    """Loses every copy to the device."""

    def copy_to_device(self, target, source, stream):
        """Nothing happens."""


def test_plumbing_checks_tell_a_broken_provider_from_a_whole_one():
    whole, broken = HostMemory(), Forgetful()
    assert plumbing.copies(whole)["equal"]
    assert not plumbing.copies(broken)["equal"]
    assert plumbing.mapped(whole) == {"device_reads_host": True, "host_sees_device": True}
    assert not plumbing.mapped(broken)["host_sees_device"]
    assert plumbing.order(whole)["in_order"] == plumbing.ROUNDS
    assert plumbing.order(broken)["in_order"] < plumbing.ROUNDS
    assert plumbing.graph(whole)["equal"] == plumbing.ROUNDS
    assert plumbing.graph(broken)["equal"] < plumbing.ROUNDS
    assert plumbing.late_events(whole)["all_positive"]
    refusals = plumbing.refusals(whole)
    assert refusals["works_on"]
    assert "not refused" not in refusals["said"].values()


def test_a_file_travels_in_pieces(tmp_path, monkeypatch, capsys):
    # given
    whole = tmp_path / "state.pt"
    whole.write_bytes(bytes(range(256)) * 100)

    # when cut and joined
    pieces = travel.split(whole, tmp_path / "out", 10_000)
    index = pieces[-1]
    assert [path.stat().st_size for path in pieces[:-1]] == [10_000, 10_000, 5_600]
    joined = travel.join(index, tmp_path / "back")
    assert joined.read_bytes() == whole.read_bytes()

    # then a damaged or missing piece is one line
    pieces[1].write_bytes(b"other")
    monkeypatch.setattr(sys, "argv", ["travel", "join", str(index), "--to", str(tmp_path / "b")])
    assert travel.main() == 2
    assert capsys.readouterr().err.startswith("error: the pieces of state.pt")
    pieces[1].unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        travel.join(index, tmp_path / "b")
    assert json.loads(index.read_bytes())["name"] == "state.pt"


def test_loss_curves_are_compared_step_by_step():
    assert apart([2.0, 1.0], [2.0, 1.1]) == {"steps": 2, "first": 0.0, "worst": pytest.approx(0.1)}
    with pytest.raises(OptionError, match="cannot be compared"):
        apart([1.0], [])
