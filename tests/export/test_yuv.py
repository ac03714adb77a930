"""Models that take NV12 or YUY2: the same network behind the same colours."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from calibration.policy import POLICIES, place
from calibration.qdq import insert
from calibration.samples import YUV_REMEDY
from edge_runtime import RunOptions, run
from edge_runtime.artifacts import Manifest, Preprocess, read_manifest
from edge_runtime.backends.base import open_backend
from edge_runtime.bench.frames import Pictures
from edge_runtime.cli import main
from edge_runtime.errors import ArtifactError, OptionError, ParityError
from edge_runtime.pixels import YuvFormat
from edge_runtime.stored_weights import unpack_weights
from edge_runtime.street import StreetCamera, StreetOptions
from edge_runtime.yuv import from_rgb, planes, to_rgb
from edge_runtime.zoo import resolve_model
from export.fold import fold_batch_norms
from export.precision import load_graph
from export.yuv import as_yuv, find_front, make_yuv
from export.yuv_kernels import Kernel, YuvKernels, fold
from export.yuv_proof import YuvVerdict, require, rewriting_error
from training.evaluation.predictors import MaskPredictor
from training.model.hyperseg import HyperSeg
from training.presets import preset

FORMATS = [
    YuvFormat(*words)
    for words in itertools.product(("nv12", "yuy2"), ("bt601", "bt709"), ("limited", "full"))
]
IMAGENET = Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NV12 = YuvFormat("nv12")


def any_rows(yuv: YuvFormat, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Bytes of which most stand for no colour: clipping would show."""
    return np.random.default_rng(seed).integers(0, 256, yuv.rows(size), np.uint8)


@given(
    yuv=st.sampled_from(FORMATS),
    taps=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_the_folded_convolution_is_conversion_normalisation_and_convolution(yuv, taps, pads, seed):
    # given any first convolution that steps by two pixels, and any bytes up to the border
    weight = np.random.default_rng(seed).standard_normal((4, 3, *taps))
    rgb = Kernel(weight, (2, 2), pads)
    kernels = fold(rgb, IMAGENET, yuv)
    assert min(pad for part in kernels.parts for pad in part.pads) >= 0
    rows = any_rows(yuv, (12, 16), seed)
    assert rewriting_error(rows, rgb, kernels, IMAGENET, yuv) < 1e-13


class YuvStem(nn.Module):
    """The folded convolutions in torch, with the frame in place of the image."""

    def __init__(self, conv: nn.Conv2d, kernels: YuvKernels, frame: list[Tensor]) -> None:
        super().__init__()
        self.bias, self.kernels, self.frame = conv.bias, kernels, frame

    def forward(self, _image: Tensor) -> Tensor:
        out = self.bias[None, :, None, None]
        for values, kernel in zip(self.frame, self.kernels.parts, strict=True):
            top, left, bottom, right = kernel.pads
            padded = F.pad(values, (left, right, top, bottom))
            out = out + F.conv2d(padded, torch.from_numpy(kernel.weight), None, kernel.strides)
        return out


@pytest.mark.parametrize("name", ["street-n", "cityscapes-m"])
@pytest.mark.parametrize("yuv", [NV12, YuvFormat("yuy2", "bt709", "full")], ids=str)
def test_the_network_in_float64_gives_the_same_logits(name, yuv):
    # given a network, and the unclipped colours of any bytes
    torch.manual_seed(0)
    net = fold_batch_norms(HyperSeg(preset(name)).double().eval())
    rows = any_rows(yuv, (64, 128))
    preprocess = Preprocess(net.config.mean, net.config.std)
    colours = (to_rgb(rows, yuv) / 255.0 - preprocess.mean) / np.array(preprocess.std)
    image = torch.from_numpy(colours).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = net(image)
        # when its first convolution is replaced by those on the bytes
        conv = net.backbone.stem.conv
        left, right, top, bottom = conv.side_padding
        rgb = Kernel(conv.weight.numpy(), (2, 2), (top, left, bottom, right))
        kernels = fold(rgb, preprocess, yuv)
        y, u, v = (
            torch.from_numpy(plane - grey)
            for plane, grey in zip(planes(rows, yuv), kernels.grey, strict=True)
        )
        packed = yuv.pixels == "yuy2"
        frame = (
            [torch.stack([y[:, ::2], u, y[:, 1::2], v])]
            if packed
            else [y[None], torch.stack([u, v])]
        )
        net.backbone.stem = YuvStem(conv, kernels, [part[None] for part in frame])
        found = net(image)
    # then only roundings differ
    assert (found - expected).abs().max() < 1e-9 * expected.abs().max()


@pytest.fixture(scope="module")
def street() -> tuple[onnx.ModelProto, Manifest]:
    path = resolve_model("street-edge-n")
    return load_graph(path), read_manifest(path)


@pytest.fixture(scope="module", params=["nv12", "yuy2"])
def made(request, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("yuv") / f"{request.param}.onnx"
    source = str(resolve_model("street-edge-n"))
    assert main(["export", source, "--input", request.param, "-o", str(output), "--quiet"]) == 0
    return output


def test_the_shipped_model_takes_a_cameras_bytes(made):
    manifest = read_manifest(made, kind="onnx")
    yuv = manifest.preprocess.yuv
    assert yuv == YuvFormat(made.stem)
    assert manifest.input_size == (384, 512)
    assert manifest.inputs[0].shape == (1, *yuv.rows((384, 512)))
    assert manifest.options["yuv"]["rewrite_error"] < 1e-14
    assert manifest.options["yuv"]["agreement"] > 0.9999
    assert manifest.parents[0].name == "street-edge-n.onnx"
    # TensorRT takes a uint8 input that only a cast reads.
    graph = onnx.load(made).graph
    assert [node.op_type for node in graph.node if "frame" in node.input] == ["Cast"]
    assert not {"scale", "shift"} & {tensor.name for tensor in graph.initializer}


def test_its_masks_are_those_of_the_rgb_model_for_colours_that_both_can_hold(made):
    manifest = read_manifest(made)
    scene, _ = StreetCamera(StreetOptions(size=(384, 512), seed=4)).frame(30)
    rows = from_rgb(np.ascontiguousarray(scene[..., ::-1]), manifest.preprocess.yuv)
    colours = np.clip(np.rint(to_rgb(rows, manifest.preprocess.yuv)), 0, 255).astype(np.uint8)
    masks = [
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"frame": frame})
        for path, frame in ((made, rows[None]), (resolve_model("street-edge-n"), colours[None]))
    ]
    assert (masks[0][0] == masks[1][0]).mean() > 0.998


def test_a_run_gives_the_masks_and_the_pictures_of_an_rgb_run(made, tmp_path):
    # given pictures as files
    camera = StreetCamera(StreetOptions(size=(270, 480), seed=4))
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), camera.frame(30 * number)[0])
    results = {}
    for name, model in (("rgb", "street-edge-n"), ("yuv", str(made))):
        options = RunOptions(policy="every", quiet=True, threads=1, with_picture=True)
        kept = results[name] = []

        def keep(result, kept=kept):
            kept.append((result.mask.copy(), result.picture.copy()))

        # when both models run on them
        run(model, str(tmp_path), options, on_result=keep)
    # then the masks agree but for the colours that two pixels share, and the pictures altogether
    assert len(results["rgb"]) == len(results["yuv"]) == 2
    for (mask, picture), (yuv_mask, yuv_picture) in zip(*results.values(), strict=True):
        assert (mask == yuv_mask).mean() > 0.98
        assert np.array_equal(picture, yuv_picture)


def test_weights_that_are_stored_as_float16_are_found():
    graph = load_graph(resolve_model("camvid-edge-s"))
    assert find_front(graph, "camvid-edge-s").kernel.weight.shape == (32, 3, 3, 3)


@pytest.mark.slow
def test_half_precision_is_made_of_it_afterwards(tmp_path):
    taken, output = tmp_path / "nv12.onnx", tmp_path / "half.onnx"
    make_yuv(resolve_model("street-edge-n"), taken, NV12)
    assert main(["export", str(taken), "--precision", "fp16", "-o", str(output), "--quiet"]) == 0
    manifest = read_manifest(output)
    assert manifest.preprocess.yuv == NV12
    assert manifest.options["fp16"]["agreement"] > 0.99


def test_another_network_than_the_manifest_says_is_not_written(street, tmp_path):
    graph, manifest = street
    wrong = replace(manifest, preprocess=replace(manifest.preprocess, mean=(0.2, 0.5, 0.8)))
    with pytest.raises(ParityError, match="is not the one for RGB frames"):
        as_yuv(graph, wrong, NV12, lambda _: None)


@pytest.mark.parametrize("field", ["rewrite_error", "max_abs_error", "agreement"])
def test_a_verdict_that_is_no_number_is_no_pass(field):
    sound = YuvVerdict(1, 0.0, 1e-6, 10.0, 1.0)
    require(sound, "fp32")
    with pytest.raises(ParityError, match="nothing was written"):
        require(replace(sound, **{field: float("nan")}), "fp32")


def changed(graph: onnx.ModelProto, edit) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    edit(copy.graph)
    return copy


def first_conv(graph: onnx.GraphProto) -> onnx.NodeProto:
    return next(node for node in graph.node if node.op_type == "Conv")


def set_strides(graph: onnx.GraphProto) -> None:
    for entry in first_conv(graph).attribute:
        if entry.name == "strides":
            entry.ints[:] = [1, 1]


def read_twice(graph: onnx.GraphProto) -> None:
    image = first_conv(graph).input[0]
    graph.node.append(onnx.helper.make_node("Identity", [image], ["image_again"]))


def in_half(graph: onnx.GraphProto) -> None:
    next(node for node in graph.node if node.op_type == "Cast").attribute[0].i = 10


@pytest.mark.parametrize(
    ("policy", "exclude", "fits"),
    [("ort-cpu", "", True), ("trt-gpu", "", False), ("trt-gpu", "network.backbone.stem.", True)],
)
def test_what_calibrate_advises_for_a_yuv_form_is_right(policy, exclude, fits, street):
    assert "--policy ort-cpu, or with the first convolution in --exclude" in YUV_REMEDY
    graph = unpack_weights(street[0])
    placement = place(graph, POLICIES[policy], exclude=[exclude] if exclude else [])
    quantised = insert(graph, placement, {tensor.name: 4.0 for tensor in placement.tensors})
    if fits:
        assert find_front(quantised, "street-edge-n").kernel.weight.shape[1:] == (3, 3, 3)
        return
    with pytest.raises(ArtifactError, match="FP16 or INT8 stands before its first convolution"):
        find_front(quantised, "street-edge-n")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (set_strides, r"strides \(1, 1\), expected \(2, 2\)"),
        (read_twice, "its decoder reads the full-size image"),
        (in_half, "FP16 or INT8 stands before its first convolution"),
    ],
)
def test_a_front_that_cannot_be_folded_is_refused_in_one_line(edit, reason, street):
    graph, manifest = street
    with pytest.raises(ArtifactError, match=reason) as caught:
        as_yuv(changed(graph, edit), manifest, NV12, lambda _: None)
    assert "\n" not in str(caught.value)


def test_an_odd_size_is_refused(street):
    graph, manifest = street
    odd = replace(manifest, inputs=(replace(manifest.inputs[0], shape=(1, 383, 512, 3)),))
    with pytest.raises(OptionError, match="383x512 has no YUV form"):
        as_yuv(graph, odd, NV12, lambda _: None)


def test_a_model_that_takes_yuv_already_is_refused(made, tmp_path):
    with pytest.raises(ArtifactError, match="only one that takes RGB can be given another input"):
        make_yuv(made, tmp_path / "again.onnx", NV12)


def test_one_step_at_a_time_of_an_exported_model(tmp_path, capsys):
    source, output = str(resolve_model("street-edge-n")), tmp_path / "o.onnx"
    words = ["export", source, "--input", "nv12", "--precision", "fp16", "-o", str(output)]
    assert main(words) == 2
    assert "give --input alone" in capsys.readouterr().err
    assert not output.exists()


def test_evaluation_and_bench_feed_it_what_an_rgb_model_sees(made):
    # given a picture as a data set holds it
    picture, _ = StreetCamera(StreetOptions(size=(270, 480), seed=4)).frame(0)
    picture = np.ascontiguousarray(picture[..., ::-1])
    masks = []
    for path in (resolve_model("street-edge-n"), made):
        manifest = read_manifest(path)
        with open_backend(path, manifest, threads=1) as backend:
            masks.append(MaskPredictor(backend, manifest, "letterbox").predict(picture))
    assert masks[1].shape == (270, 480)
    assert (masks[0] == masks[1]).mean() > 0.98
    (drawn,) = Pictures(None, 1).of(manifest)
    assert drawn.shape == manifest.inputs[0].shape[1:]
