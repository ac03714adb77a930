"""The graph that is trained is the graph that is deployed, for every policy that can be trained."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from calibration.methods import choose_ranges, prefer_given
from calibration.policy import POLICIES, Placement, place
from calibration.qdq import grids_of, insert
from calibration.ranges import collect
from calibration.sites import qat_table
from edge_runtime.artifacts import Parent, read_manifest, sha256_of
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.range_table import read_ranges
from export.to_onnx import to_onnx
from tests.calibration.graphs import write_model
from tests.calibration.test_ranges import Frames
from tests.export.calibrated import calibrated_network
from training.model.hyperseg import HyperSeg
from training.normalise import normalise
from training.presets import preset
from training.qat import (
    QatTable,
    finish_qat,
    fold,
    prepare_qat,
    qat_ranges,
    read_table,
    save_qat_ranges,
)

SIZE = (64, 128)
TRAINABLE = ("ort-cpu", "trt-gpu")


class Pictures(Frames):
    def read(self, index: int) -> tuple[str, np.ndarray]:
        rng = np.random.default_rng(index)
        coarse = rng.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3), np.uint8)
        return f"{index}", coarse.repeat(8, 0).repeat(8, 1)


@pytest.fixture(scope="module")
def net() -> HyperSeg:
    return calibrated_network(preset("edge-n"), SIZE)


@pytest.fixture(scope="module")
def exported(net: HyperSeg) -> onnx.ModelProto:
    return to_onnx(net, SIZE, "logits")


def calibrated(
    model: onnx.ModelProto, policy: str, **choices: object
) -> tuple[Placement, dict[str, float]]:
    placement = place(model, POLICIES[policy], **choices)
    found = collect(model, [t.name for t in placement.tensors], Pictures(3))
    return placement, choose_ranges(placement, found.tensors, "percentile")


def table_of(
    model: onnx.ModelProto, placement: Placement, ranges: dict[str, float], folder: Path
) -> QatTable:
    """Through a file, as a report has it."""
    path = folder / "report.json"
    path.write_text(json.dumps({"qat": qat_table(model, placement, ranges), "other": 1}))
    return read_table(path)


def torch_logits(net: HyperSeg, index: int) -> np.ndarray:
    frame = torch.from_numpy(Pictures(1).read(index)[1])[None]
    with torch.no_grad():
        return net(normalise(frame, net.config.mean, net.config.std))[0].numpy()


def quantiser_outputs(net: HyperSeg, index: int) -> dict[str, np.ndarray]:
    """What each group's quantiser last put out for one picture."""
    found: dict[str, np.ndarray] = {}
    groups = {index: tensor for tensor, index in reversed(net.qat_tensors.items())}
    handles = [
        quantizer.register_forward_hook(_keeper(found, groups[number]))
        for number, quantizer in enumerate(net.fake_quantizers)
    ]
    torch_logits(net, index)
    for handle in handles:
        handle.remove()
    return found


def _keeper(found: dict[str, np.ndarray], name: str):
    def keep(module, inputs, output):
        found[name] = output[0].numpy()

    return keep


def onnx_tensor(model: onnx.ModelProto, name: str, index: int) -> np.ndarray:
    shown = onnx.ModelProto.FromString(model.SerializeToString())
    del shown.graph.output[:]
    shown.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    return onnx_logits(shown, index)


def onnx_logits(model: onnx.ModelProto, index: int, *, optimised: bool = False) -> np.ndarray:
    options = ort.SessionOptions()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"frame": Pictures(1).read(index)[1][None]})[0][0]


def assert_as_near_as_two_runs(
    net: HyperSeg, deployed: onnx.ModelProto, pictures: tuple[int, ...]
) -> None:
    ours, floor = [], []
    for index in pictures:
        wanted = onnx_logits(deployed, index)
        ours.append(distance(torch_logits(net, index), wanted))
        floor.append(distance(onnx_logits(deployed, index, optimised=True), wanted))
    assert np.mean(ours) < 3 * np.mean(floor)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square of the difference, over that of the signal."""
    return float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))


@pytest.mark.slow
@pytest.mark.parametrize("policy", TRAINABLE)
def test_fake_quantised_network_is_the_qdq_graph(net, exported, tmp_path, policy):
    # given
    placement, ranges = calibrated(exported, policy)
    deployed = insert(exported, placement, ranges)
    # when
    prepared = prepare_qat(net, table_of(exported, placement, ranges, tmp_path)).eval()
    # then tensor by tensor, until rounding has had time to grow, the values are the same
    table = table_of(exported, placement, ranges, tmp_path)
    ours = quantiser_outputs(prepared, 0)
    for site in table.sites[:12]:
        step = site.amax / site.steps
        theirs = onnx_tensor(deployed, f"{site.tensor}__dq", 0)
        assert np.mean(np.abs(ours[site.group] - theirs) > 0.5 * step) < 0.01, site.tensor
    # and at the end they differ as ONNX Runtime's own two ways to run the graph do: a sum that is
    # added up in another order now and then rounds to the next step
    assert_as_near_as_two_runs(prepared, deployed, (0, 7))
    # and every weight and every learned range of the placement has its place
    assert set(qat_ranges(prepared)) == {tensor.name for tensor in placement.tensors} - {
        "expand"
    }  # a part of a concat, quantised with the whole


@pytest.mark.parametrize("policy", TRAINABLE)
@pytest.mark.parametrize("name", ["edge-n+fpn=16", "street-n"])
def test_other_heads_find_their_convolutions_too(name, policy, tmp_path):
    other = calibrated_network(preset(name), SIZE)
    graph = to_onnx(other, SIZE, "logits")
    placement, ranges = calibrated(graph, policy)
    prepared = prepare_qat(other, table_of(graph, placement, ranges, tmp_path)).eval()
    assert_as_near_as_two_runs(prepared, insert(graph, placement, ranges), (0, 7))


@pytest.mark.slow
@pytest.mark.parametrize("policy", TRAINABLE)
def test_after_training_the_export_is_what_was_trained(net, exported, tmp_path, policy):
    # given a few steps of training
    placement, ranges = calibrated(exported, policy)
    prepared = prepare_qat(net, table_of(exported, placement, ranges, tmp_path))
    before = qat_ranges(prepared)
    optimiser = torch.optim.SGD(prepared.parameters(), lr=0.01)
    prepared.train()
    for step in range(2):
        loss = prepared(torch.randn(2, 3, *SIZE, generator=torch.manual_seed(step))).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    prepared.eval()
    # then ranges and folded weights have moved
    learned = qat_ranges(prepared)
    assert sum(learned[name] != before[name] for name in before) > len(before) // 2
    # when the finished network goes the way of any other
    finished = finish_qat(prepared)
    graph = to_onnx(finished, SIZE, "logits")
    assert [n.op_type for n in graph.graph.node] == [n.op_type for n in exported.graph.node]
    deployed = insert(graph, place(graph, POLICIES[policy]), {**ranges, **learned})
    # then
    assert_as_near_as_two_runs(prepared, deployed, (5, 6))


def test_folding_and_finishing_change_nothing(net):
    finished = finish_qat(prepare_qat(net, QatTable("ort-cpu", [], [])))
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        wanted = net.eval()(image)
        assert distance(fold(net)(image).numpy(), wanted.numpy()) < 1e-3
        assert distance(finished(image).numpy(), wanted.numpy()) < 1e-3
    assert finished.state_dict().keys() == net.state_dict().keys()


@pytest.mark.slow
def test_learned_ranges_reach_the_int8_model_through_a_file(net, exported, tmp_path):
    # given a network with ranges that training moved, and the checkpoint it was finished as
    placement, ranges = calibrated(exported, "ort-cpu")
    table = table_of(exported, placement, ranges, tmp_path)
    prepared = prepare_qat(net, table)
    with torch.no_grad():
        for quantizer in prepared.fake_quantizers:
            quantizer.log_amax -= 0.25
    checkpoint = tmp_path / "finished.safetensors"
    checkpoint.write_bytes(b"its hash is what counts")
    # when the ranges are written, and read for an export of that checkpoint
    save_qat_ranges(prepared, table, checkpoint, tmp_path / "ranges.json")
    manifest = read_manifest(write_model(tmp_path))
    export = replace(manifest, parents=(Parent("checkpoint", "x", sha256_of(checkpoint)),))
    found = read_ranges(tmp_path / "ranges.json", export)
    # then every grid of the graph is the learned one
    assert found.ranges == qat_ranges(prepared)
    merged = prefer_given(placement, ranges, found.ranges)
    grids, before = grids_of(placement, merged), grids_of(placement, ranges)
    assert set(grids) == set(before)
    for tensor in placement.tensors:
        if tensor.bound is None:
            ratio = grids[tensor.name].scale / before[tensor.name].scale
            assert ratio == pytest.approx(np.exp(-0.25), rel=1e-5)
    # and another network's export is refused
    with pytest.raises(ArtifactError, match=r"stale: its ranges \(learned by QAT with finished"):
        read_ranges(tmp_path / "ranges.json", manifest)


def test_a_copy_trains_quantisers_of_its_own(net, exported, tmp_path):
    # given a copy, as an EMA makes one
    prepared = prepare_qat(
        net, table_of(exported, *calibrated(exported, "trt-gpu"), tmp_path)
    ).eval()
    twin = copy.deepcopy(prepared)
    before = torch_logits(prepared, 0)
    # when the copy's ranges shrink
    with torch.no_grad():
        for quantizer in twin.fake_quantizers:
            quantizer.log_amax -= 3.0
    # then only the copy changes
    np.testing.assert_array_equal(torch_logits(prepared, 0), before)
    assert distance(torch_logits(twin, 0), before) > 0.01
    # and its state moves over
    prepared.load_state_dict(twin.state_dict())
    np.testing.assert_array_equal(torch_logits(prepared, 0), torch_logits(twin, 0))


def test_what_training_cannot_reach_is_refused(tmp_path):
    # given a network with a generated depthwise convolution
    net = calibrated_network(preset("street-n"), SIZE)
    exported = to_onnx(net, SIZE, "logits")
    table = table_of(exported, *calibrated(exported, "ort-cpu", dynamic=True), tmp_path)
    with pytest.raises(OptionError, match="calibrate without --dynamic"):
        prepare_qat(net, table)


def test_a_table_of_another_network_is_refused(net, exported, tmp_path):
    table = table_of(exported, *calibrated(exported, "trt-gpu"), tmp_path)
    other = calibrated_network(preset("camvid-s"), SIZE)
    with pytest.raises(OptionError, match="no convolution of this network"):
        prepare_qat(other, table)


def test_no_report_is_refused(tmp_path):
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no calibration report"):
        read_table(tmp_path / "r.json")
