"""Evaluation is at the labels' own resolution, the same for a network and an exported model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from edge_runtime.artifacts import (
    CreatedBy,
    Manifest,
    Preprocess,
    TensorSpec,
    read_manifest,
    write_artifact,
)
from edge_runtime.errors import ArtifactError, BackendError, OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import CAMVID_11
from training.checkpoint import save_checkpoint
from training.evaluate import evaluate, place
from training.model.hyperseg import HyperSeg
from training.normalise import normalise
from training.predictors import NetPredictor, open_predictor
from training.presets import preset

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.5, 0.2)


class ArgmaxOfColour(nn.Module):
    """A network that is right by construction: the logits are the picture's own channels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(STD).view(1, 3, 1, 1))
        self.shift = nn.Parameter(torch.tensor(MEAN).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * self.scale + self.shift


@pytest.fixture
def dataset(toy):
    return toy.ToyDataset("val", 4)


def net_predictor(toy, size):
    return NetPredictor(ArgmaxOfColour(), toy.LABELS, size, MEAN, STD)


def test_normalise_is_the_formula_in_channels_last():
    frames = torch.randint(0, 256, (2, 5, 6, 3), dtype=torch.uint8)

    images = normalise(frames, MEAN, STD)

    expected = (frames.double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(images.double(), expected.permute(0, 3, 1, 2), atol=1e-5, rtol=0)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_right_network_scores_one_at_the_labels_size(toy, dataset):
    scores = evaluate(net_predictor(toy, (24, 32)), dataset)

    assert scores.miou == pytest.approx(1.0)
    assert scores.images == 4


@pytest.mark.parametrize(
    ("size", "least"), [((48, 64), 0.99), ((32, 32), 0.99), ((12, 64), 0.8), ((12, 16), 0.7)]
)
def test_other_network_sizes_cost_borders_only(toy, dataset, size, least):
    assert evaluate(net_predictor(toy, size), dataset).miou > least


def test_wrong_network_scores_low(toy, dataset):
    predictor = net_predictor(toy, (24, 32))
    with torch.no_grad():
        predictor.net.scale.mul_(-1)

    assert evaluate(predictor, dataset).miou < 0.2


def test_letterbox_ignores_the_padding(toy, dataset):
    predictor = net_predictor(toy, (64, 64))
    predictor.resize = "letterbox"

    assert evaluate(predictor, dataset).miou > 0.9


def test_logits_are_resized_before_argmax(toy):
    # given: logits that only a bilinear mean decides; nearest would copy one of its neighbours
    frame = np.array([[[200, 0, 0], [0, 90, 0]], [[200, 0, 0], [0, 90, 0]]], np.uint8)
    predictor = net_predictor(toy, (2, 2))

    mask = predictor.predict(frame, FrameGeometry((2, 6), (2, 2), "stretch"))

    assert mask.tolist() == [[0, 0, 0, 0, 1, 1]] * 2


@pytest.mark.parametrize(
    ("frame", "network", "resize", "content"),
    [
        ((10, 20), (10, 20), "stretch", (0, 0, 10, 20)),
        ((10, 20), (20, 20), "stretch", (0, 0, 20, 20)),
        ((40, 20), (20, 20), "letterbox", (0, 5, 20, 10)),
    ],
)
def test_place_fills_the_content_and_leaves_black(frame, network, resize, content):
    image = np.full((*frame, 3), 77, np.uint8)

    placed = place(image, FrameGeometry(frame, network, resize))

    top, left, height, width = content
    assert placed.shape == (*network, 3)
    assert (placed[top : top + height, left : left + width] == 77).all()
    assert placed.sum() == 77 * 3 * height * width


def test_other_classes_are_refused(toy, dataset):
    predictor = net_predictor(toy, (24, 32))
    predictor.labels = CAMVID_11

    with pytest.raises(OptionError, match=r"predicts camvid-11 \(11 classes\) but toy val"):
        evaluate(predictor, dataset)


def write_model(folder, toy, *, color="RGB", head="mask"):
    """An ONNX model whose mask is the strongest channel of the frame, with its manifest."""
    shape = (1, 24, 32)
    nodes = [
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["float"], ["index"], axis=3, keepdims=0),
        helper.make_node("Cast", ["index"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "strongest",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, (*shape, 3))],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    part, path = folder / "part", folder / "strongest.onnx"
    onnx.save(model, part)
    labels = toy.LABELS
    if color == "BGR":
        labels = replace(labels, names=labels.names[::-1], palette=labels.palette[::-1])
    manifest = Manifest(
        kind="onnx",
        name="strongest",
        sha256="",
        created_by=CreatedBy("test", "0"),
        labels=labels,
        preprocess=Preprocess(MEAN, STD, color=color),
        inputs=(TensorSpec("frame", (*shape, 3), "uint8"),),
        outputs=(TensorSpec("mask", shape, "uint8"),),
        head=head,
    )
    write_artifact(part, path, manifest)
    return path


def test_exported_model_scores_as_its_network(toy, dataset, tmp_path):
    with open_predictor(write_model(tmp_path, toy), threads=1) as predictor:
        exported = evaluate(predictor, dataset)

    assert exported == evaluate(net_predictor(toy, (24, 32)), dataset)


def test_model_that_wants_bgr_gets_it(toy, dataset, tmp_path):
    # given: the same graph reads the frame's channels in the other order, so its ids are reversed
    with open_predictor(write_model(tmp_path, toy, color="BGR"), threads=1) as predictor:
        geometry = FrameGeometry((24, 32), (24, 32), "stretch")
        red = np.full((24, 32, 3), (200, 10, 10), np.uint8)

        assert (predictor.predict(red, geometry) == 2).all()


def test_logits_model_and_foreign_size_are_refused(toy, tmp_path):
    path = write_model(tmp_path, toy, head="logits")

    with (
        pytest.raises(BackendError, match="'logits' head; evaluation needs 'mask'"),
        open_predictor(path),
    ):
        pass
    with (
        pytest.raises(OptionError, match="exported for 24x32; leave --size out"),
        open_predictor(path, size=(48, 64)),
    ):
        pass


def test_checkpoint_is_run_at_its_own_size(tmp_path):
    # given
    net = HyperSeg(preset("street-n"))
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, net, name="net", options={"size": [64, 128]})

    # when
    with open_predictor(path) as own, open_predictor(path, size=(128, 64)) as other:
        frame = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
        mask = own.predict(frame, FrameGeometry((50, 70), (64, 128), "stretch"))

    # then
    assert (own.input_size, other.input_size) == ((64, 128), (128, 64))
    assert own.labels.name == "street-8"
    assert mask.shape == (50, 70)
    assert mask.max() < 8


def test_checkpoint_without_size_asks_for_it(tmp_path):
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, HyperSeg(preset("street-n")), name="net")

    with pytest.raises(OptionError, match="give --size HxW"), open_predictor(path):
        pass


def test_missing_model_is_said(tmp_path):
    with pytest.raises(ArtifactError, match="neither a file"), open_predictor(tmp_path / "x.onnx"):
        pass


def test_own_label_set_travels_with_the_checkpoint(toy, tmp_path):
    path = tmp_path / "net.safetensors"

    save_checkpoint(path, HyperSeg(preset("street-n")), name="net", labels=toy.LABELS)

    assert read_manifest(path).labels == toy.LABELS
