"""What can be evaluated: models as their network, checkpoints at their size, all else said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime.artifacts import (
    CreatedBy,
    Manifest,
    Preprocess,
    TensorSpec,
    read_manifest,
    write_artifact,
)
from edge_runtime.errors import ArtifactError, OptionError
from training.checkpoint import save_checkpoint
from training.evaluation.evaluate import evaluate
from training.evaluation.options import EvalOptions
from training.evaluation.subject import open_subject
from training.model.hyperseg import HyperSeg
from training.presets import preset


@pytest.fixture
def dataset(toy):
    return toy.ToyDataset("val", 4)


def write_model(folder, toy, *, color="RGB", head="mask"):
    """An ONNX model whose mask, or logits, are the channels of the frame, with its manifest."""
    shape = (1, 24, 32)
    nodes = [helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT)]
    if head == "mask":
        nodes += [
            helper.make_node("ArgMax", ["float"], ["index"], axis=3, keepdims=0),
            helper.make_node("Cast", ["index"], ["mask"], to=TensorProto.UINT8),
        ]
        output, kind = TensorSpec("mask", shape, "uint8"), TensorProto.UINT8
    else:
        nodes.append(helper.make_node("Transpose", ["float"], ["logits"], perm=[0, 3, 1, 2]))
        output, kind = TensorSpec("logits", (1, 3, 24, 32), "float32"), TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "strongest",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, (*shape, 3))],
        [helper.make_tensor_value_info(output.name, kind, output.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    part, path = folder / "part", folder / f"strongest-{head}.onnx"
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
        preprocess=Preprocess((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), color=color),
        inputs=(TensorSpec("frame", (*shape, 3), "uint8"),),
        outputs=(output,),
        head=head,
    )
    write_artifact(part, path, manifest)
    return path


@pytest.mark.parametrize("head", ["mask", "logits"])
def test_exported_model_scores_as_its_network(toy, dataset, tmp_path, head, colours):
    with open_subject(write_model(tmp_path, toy, head=head), EvalOptions(threads=1)) as subject:
        exported = evaluate(subject.predictor, dataset)

    assert exported == evaluate(colours.net_predictor(toy.LABELS, (24, 32)), dataset)
    assert subject.input_size == (24, 32)
    assert subject.resize == "stretch"
    assert subject.engine.startswith("onnxruntime")
    assert subject.sha256 == read_manifest(tmp_path / subject.name).sha256


@pytest.mark.parametrize(
    "options",
    [EvalOptions(flip=True), EvalOptions(window=(24, 32), scales=(1.0, 2.0)), EvalOptions()],
    ids=str,
)
def test_logits_model_gives_the_views_of_its_network(toy, tmp_path, options, colours):
    # given: pictures that are not the model's size
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    expected, _ = colours.viewed(toy.LABELS, options)

    # when
    with open_subject(write_model(tmp_path, toy, head="logits"), options) as subject:
        masks = [subject.predictor.predict(image) for image in images]

    # then: near-ties aside, as the model's logits are 255 times as large
    for image, mask in zip(images, masks, strict=True):
        assert (mask == expected.predict(image)).mean() > 0.95


def test_model_that_wants_bgr_gets_it(toy, tmp_path):
    # given: the same graph reads the frame's channels in the other order, so its ids are reversed
    with open_subject(write_model(tmp_path, toy, color="BGR"), EvalOptions(threads=1)) as subject:
        red = np.full((24, 32, 3), (200, 10, 10), np.uint8)

        assert (subject.predictor.predict(red) == 2).all()


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("mask", EvalOptions(size=(48, 64)), "exported for 24x32, --size is 48x64"),
        ("logits", EvalOptions(window=(48, 64)), "exported for 24x32, --window is 48x64"),
        ("logits", EvalOptions(scales=(0.5,)), "slide a window: --window 24x32"),
        ("mask", EvalOptions(flip=True), "outputs masks, which cannot be averaged"),
        ("mask", EvalOptions(window=(24, 32)), "export it with --head logits"),
        ("mask", EvalOptions(device="cuda"), "--device cuda is for checkpoints"),
    ],
)
def test_views_that_a_model_cannot_give_are_refused(toy, tmp_path, head, options, message):
    path = write_model(tmp_path, toy, head=head)

    with pytest.raises(OptionError, match=message), open_subject(path, options):
        pass


def test_checkpoint_is_run_at_its_own_size(tmp_path):
    # given
    net = HyperSeg(preset("street-n"))
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, net, name="net", options={"size": [64, 128]})

    # when
    with (
        open_subject(path, EvalOptions()) as own,
        open_subject(path, EvalOptions(size=(128, 64), resize="letterbox")) as other,
        open_subject(path, EvalOptions(window=(64, 64))) as windows,
    ):
        image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
        mask = own.predictor.predict(image)

    # then
    assert (own.input_size, own.resize) == ((64, 128), "stretch")
    assert (other.input_size, other.resize) == ((128, 64), "letterbox")
    assert (windows.input_size, windows.resize) == ((64, 64), None)
    assert own.predictor.labels.name == "street-8"
    assert mask.shape == (50, 70)
    assert mask.max() < 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EvalOptions(), "give --size HxW"),
        (EvalOptions(size=(60, 64)), "size 60x64"),
        (EvalOptions(window=(60, 64)), "size 60x64"),
        (EvalOptions(size=(64, 64), device="tpu"), "device 'tpu' is not known"),
    ],
)
def test_checkpoint_in_a_way_that_cannot_work(tmp_path, options, message):
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, HyperSeg(preset("street-n")), name="net")

    with pytest.raises(OptionError, match=message), open_subject(path, options):
        pass


@pytest.mark.parametrize("name", ["x.onnx", "x.safetensors", "x.pth"])
def test_missing_model_is_said(tmp_path, name):
    with (
        pytest.raises(ArtifactError, match="neither a file"),
        open_subject(tmp_path / name, EvalOptions()),
    ):
        pass


def test_own_label_set_travels_with_the_checkpoint(toy, tmp_path):
    path = tmp_path / "net.safetensors"

    save_checkpoint(path, HyperSeg(preset("street-n")), name="net", labels=toy.LABELS)

    assert read_manifest(path).labels == toy.LABELS
