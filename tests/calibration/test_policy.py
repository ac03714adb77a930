from __future__ import annotations

import numpy as np
import onnx
import pytest

from calibration.graph import GraphView
from calibration.policy import POLICIES, Placement, place
from calibration.report import describe_operators
from edge_runtime.errors import OptionError
from tests.calibration.graphs import deploy_graph, shortcut_graph


def reads(placement: Placement) -> dict[str, set[tuple[str, int]]]:
    return {tensor.name: set(map(tuple, tensor.reads)) for tensor in placement.tensors}


def test_constants_are_found_by_their_chain_and_not_by_their_shape():
    # given generated weights whose shape is as static as that of learned ones
    view = GraphView(deploy_graph())
    assert view.shape("kernel") == (8, 32, 1, 1)
    # then
    assert view.constant("kernel") is None
    assert view.constant("network.stem.weight") == "network.stem.weight"


@pytest.mark.parametrize("name", POLICIES)
def test_generated_weights_biases_and_outputs_stay_float(name):
    # when
    placement = place(deploy_graph(), POLICIES[name])
    # then
    assert placement.skipped["scores"] == "generated weights"
    assert placement.skipped["made"] == "generates weights"
    assert ("scores", 1) not in {read for found in reads(placement).values() for read in found}
    quantized = {weight.name for weight in placement.weights}
    assert not {"kernel", "network.maker.weight"} & quantized
    assert not {name for name in quantized if name.endswith("bias")}
    assert "mask" not in reads(placement)


@pytest.mark.parametrize("name", POLICIES)
def test_generated_weights_stay_float_with_learned_ones_added(name):
    # given what generates weights, with a constant between it and the weights
    model = deploy_graph()
    reshape = next(n for n in model.graph.node if n.input[:1] == ["made"])
    model.graph.node.insert(
        list(model.graph.node).index(reshape),
        onnx.helper.make_node("Add", ["made", "network.base"], ["summed"]),
    )
    reshape.input[0] = "summed"
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.ones((1, 256), np.float32), "network.base")
    )
    # when
    placement = place(model, POLICIES[name])
    # then
    assert placement.skipped["made"] == "generates weights"
    assert "network.maker.weight" not in {weight.name for weight in placement.weights}


def test_trt_gpu_quantises_inputs_and_the_residual_branch_only():
    # when
    found = reads(place(deploy_graph(), POLICIES["trt-gpu"]))
    # then the projection feeds the Add in float, so that the two fuse
    assert found["stem6"] == {("expand", 0), ("residual", 0)}
    assert "project" not in found
    assert found["expand6"] == {("depthwise", 0)}
    assert set(found) == {"image", "stem6", "expand6", "depthwise6", "joined"}


def test_where_two_convolutions_are_added_either_may_become_the_residual():
    # given a sum of two convolutions, of which the later one fuses
    model, policy = shortcut_graph(), POLICIES["trt-gpu"]
    whole = place(model, policy)
    assert ("residual", 1) in reads(whole)["project"]
    # when it stays float
    without = place(model, policy, exclude=["shortcut"])
    # then the other one fuses, and the range that this takes was known to be wanted
    assert ("residual", 0) in reads(without)["shortcut"]
    assert "project" not in reads(without)
    assert [tensor.name for tensor in whole.spare] == ["shortcut"]
    assert without.spare == ()


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_measured_is_enough_whatever_is_excluded_later(name):
    # given
    model, policy = shortcut_graph(), POLICIES[name]
    whole = place(model, policy, dynamic=True)
    measured = {tensor.name: tensor for tensor in whole.measured}
    assert len(measured) == len(whole.measured)
    # when one operator is float, or all but one are
    ones = [(operator,) for operator in whole.quantized]
    rests = [tuple(o for o in whole.quantized if o != kept) for kept in whole.quantized]
    for excluded in (*ones, *rests):
        fewer = place(model, policy, dynamic=True, exclude=excluded)
        # then
        assert {tensor.name for tensor in fewer.measured} <= set(measured), excluded


def test_trt_gpu_keeps_small_convolutions_float():
    # given
    model = deploy_graph()
    narrow = next(t for t in model.graph.initializer if t.name == "network.b.project.weight")
    narrow.dims[0] = 4
    narrow.raw_data = narrow.raw_data[: 4 * 32 * 4]
    model.graph.node.remove(next(n for n in model.graph.node if n.output[0] == "residual"))
    concat = next(n for n in model.graph.node if n.op_type == "Concat")
    concat.input[0] = "project"
    join = next(t for t in model.graph.initializer if t.name == "network.join.weight")
    join.dims[1] = 20
    join.raw_data = join.raw_data[: 32 * 20 * 4]
    # when, with a projection from 32 to 4 channels
    placement = place(model, POLICIES["trt-gpu"])
    # then multiples of 8 on one side are enough, as the other side is wide
    assert "project" in placement.quantized
    # but a depthwise convolution with an odd number of channels is not worth it
    grouped = next(n for n in model.graph.node if n.output[0] == "depthwise")
    tensor = next(t for t in model.graph.initializer if t.name == grouped.input[1])
    tensor.dims[2] = tensor.dims[3] = 1
    tensor.raw_data = tensor.raw_data[: 32 * 4]
    del grouped.attribute[:]
    grouped.attribute.append(onnx.helper.make_attribute("group", 32))
    assert "too small" in place(model, POLICIES["trt-gpu"]).skipped["depthwise"]


def test_ort_cpu_leaves_no_float_between_quantised_operators():
    # when
    placement = place(deploy_graph(), POLICIES["ort-cpu"])
    found = reads(placement)
    # then both branches, all parts of the concat, and outputs behind their activation
    assert {("residual", 0), ("residual", 1)} <= found["stem6"] | found["project"]
    assert ("joined", 1) in found["stem6"]
    assert ("joined", 0) in found["residual"]
    assert "join" not in found
    assert ("scores", 0) in found["feature"]
    # and the image stays float
    assert "image" not in found
    assert placement.skipped["stem"].startswith("reads the image")


def test_ort_cpu_knows_what_cannot_be_negative():
    tensors = {t.name: t for t in place(deploy_graph(), POLICIES["ort-cpu"]).tensors}
    assert (tensors["expand6"].signed, tensors["expand6"].bound) == (False, 6.0)
    assert (tensors["feature"].signed, tensors["feature"].bound) == (False, None)
    assert tensors["project"].signed


def test_parts_of_a_concat_share_a_group_with_the_whole():
    tensors = {t.name: t for t in place(deploy_graph(), POLICIES["ort-cpu"]).tensors}
    assert tensors["joined"].group == tensors["residual"].group == tensors["stem6"].group
    assert tensors["expand6"].group != tensors["stem6"].group


def test_dla_quantises_every_tensor_of_the_static_part():
    found = reads(place(deploy_graph(), POLICIES["trt-dla"]))
    assert {"image", "stem", "stem6", "expand", "project", "residual", "joined"} <= set(found)
    assert not {"made", "kernel", "scores", "logits", "mask"} & set(found)


def test_generated_weights_can_be_had_on_request():
    placement = place(deploy_graph(), POLICIES["ort-cpu"], dynamic=True)
    assert ("scores", 1) in reads(placement)["kernel"]
    assert "scores" not in placement.skipped
    # TensorRT is given them as matrix products, which this graph does not have
    assert "scores" in place(deploy_graph(), POLICIES["trt-gpu"], dynamic=True).skipped


@pytest.mark.parametrize("name", ["expand", "network.b.expand."])
def test_an_operator_is_excluded_by_output_or_weight_prefix(name):
    placement = place(deploy_graph(), POLICIES["trt-gpu"], exclude=[name])
    assert placement.skipped["expand"] == "excluded by name"
    assert "depthwise" in placement.quantized


@pytest.mark.parametrize("name", ["expnd", "network.b.expnd."])
def test_excluding_what_is_not_there_is_refused(name):
    with pytest.raises(OptionError, match="no operator"):
        place(deploy_graph(), POLICIES["trt-gpu"], exclude=[name])


def test_shares_of_work_are_counted_by_part():
    model = deploy_graph()
    facts = describe_operators(model, place(model, POLICIES["trt-gpu"]))
    assert facts["macs_share_int8_by_part"]["stem"] == 1.0
    assert facts["macs_share_int8_by_part"]["maker"] == 0.0
    assert facts["macs_share_int8_by_part"]["generated"] == 0.0
    static = 16 * 27 + 16 * 32 + 32 * 9 + 32 * 16 + 32 * 32
    generated = 8 * 32 + 32 * 256 / (16 * 24)
    assert facts["macs_share_int8"] == pytest.approx(static / (static + generated))
