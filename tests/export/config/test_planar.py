"""The model for planar float frames: same classes, in every form, and TensorRT would take it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import ArtifactError, ParityError
from export.check.check import check_graph
from export.check.targets import target_of
from export.config.isaac_ros import encoded
from export.config.planar import (
    INPUT,
    OUTPUTS,
    class_ids,
    planar,
    planar_graph,
    require_parity,
)
from export.fp16 import to_fp16
from export.sessions import GraphRun
from tests.export.config.conftest import LABELS, SIZE, logits_graph, network, quantised_graph
from tests.export.graphs import frames, node

GRAPHS = {
    "mask": (lambda: network(), "mask"),
    "fp16": (lambda: to_fp16(network()), "mask"),
    "int8": (quantised_graph, "mask"),
    "logits": (logits_graph, "logits"),
}
SHAPES = {
    "mask": ((1, SIZE, SIZE), np.int32),
    "mask-nhwc": ((1, SIZE, SIZE, 1), np.int32),
    "scores": ((1, len(LABELS), SIZE, SIZE), np.float32),
}


@pytest.fixture(params=GRAPHS)
def case(request, subject):
    make, head = GRAPHS[request.param]
    graph = make()
    return graph, read_manifest(subject(graph, head)), head


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("encode", [planar, encoded])
def test_every_form_has_the_classes_of_the_model(case, form, encode):
    # Given a model and what another runtime makes of a frame
    graph, manifest, head = case
    made = planar_graph(graph, manifest, head, form)
    before, after = GraphRun(graph), GraphRun(made)
    for frame in frames(size=SIZE):
        # When both see the same frame
        (ours,) = before({"frame": frame}).values()
        answers = after({INPUT: encode(frame[0])})
        # Then shape and type are the promised ones, and so are the classes
        assert list(answers) == [OUTPUTS[form]]
        shape, dtype = SHAPES[form]
        assert answers[OUTPUTS[form]].shape == shape
        assert answers[OUTPUTS[form]].dtype == dtype
        np.testing.assert_array_equal(class_ids(answers[OUTPUTS[form]]), class_ids(ours))
        assert len(np.unique(class_ids(ours))) >= 3, "a picture that could show a difference"


def test_scores_of_ids_are_one_and_zero(case):
    graph, manifest, head = case
    (scores,) = GraphRun(planar_graph(graph, manifest, head, "scores"))(
        {INPUT: planar(frames(1, SIZE)[0][0])}
    ).values()
    np.testing.assert_allclose(scores.sum(1), 1.0, atol=1e-6)
    assert scores.min() >= 0.0
    if head == "mask":
        assert set(np.unique(scores)) <= {0.0, 1.0}


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("target", ["jp6.2", "jp7.2"])
def test_tensorrt_has_all_it_needs(case, form, target):
    graph, manifest, head = case
    made = onnx.shape_inference.infer_shapes(planar_graph(graph, manifest, head, form))
    assert [f for f in check_graph(made, target_of(target)) if f.level == "error"] == []
    # uint8 inside a network is what it has not
    kinds = [a.i for n in made.graph.node for a in n.attribute if a.name == "to"]
    assert TensorProto.UINT8 not in kinds


@pytest.mark.parametrize("form", OUTPUTS)
def test_nvidias_parser_accepts_it(case, form):
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: extra [rtx]")
    graph, manifest, head = case
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(logger).create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    )
    made = planar_graph(graph, manifest, head, form)
    assert trt.OnnxParser(network, logger).parse(made.SerializeToString())
    assert tuple(network.get_output(0).shape) == SHAPES[form][0]
    assert network.get_input(0).dtype == trt.DataType.FLOAT


def test_the_model_itself_stays_as_it_is(subject):
    graph = network()
    before = graph.SerializeToString()
    planar_graph(graph, read_manifest(subject(graph)), "mask", "scores")
    assert graph.SerializeToString() == before


def test_a_frame_that_is_not_converted_first_is_refused(subject):
    graph = network()
    graph.graph.node[0].input[0] = "turned"
    graph.graph.node.insert(0, node("Transpose", "frame", "turned", perm=[0, 1, 2, 3]))
    with pytest.raises(ArtifactError, match="is read by \\['Transpose'\\]; expected a conversion"):
        planar_graph(graph, read_manifest(subject(graph)), "mask", "mask")


def test_a_mask_that_is_not_converted_last_is_refused(subject):
    graph = network()
    graph.graph.node[-1].output[0] = "early"
    graph.graph.node.append(node("Identity", "early", "mask"))
    with pytest.raises(ArtifactError, match="is written by 'Identity'; expected a conversion"):
        planar_graph(graph, read_manifest(subject(graph)), "mask", "mask")


def test_another_network_does_not_pass_for_it(subject):
    graph = network()
    manifest = read_manifest(subject(graph))
    other = planar_graph(network(gain=-3.0), manifest, "mask", "mask")
    with pytest.raises(ParityError, match=r"expected 99.99 %; nothing was written"):
        require_parity(graph, other, manifest, planar)
    same = planar_graph(graph, manifest, "mask", "mask")
    assert require_parity(graph, same, manifest, planar) == 1.0
