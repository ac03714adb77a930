"""`hyperseg import`: networks in every style people export, wrapped, proven, run and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, numpy_helper

from edge_runtime.artifacts import read_manifest, sha256_of
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.cli import main
from edge_runtime.errors import ParityError
from edge_runtime.labels import CAMVID_11, STREET_8
from export.importing.anatomy import image_input, segmenting_output
from export.importing.importer import at_size, import_model
from export.importing.load import load_model
from export.importing.options import IMAGENET, ImportOptions
from export.importing.proof import Wrapped, prove
from export.importing.wrap import Wrapper
from tests.export.importing.networks import (
    SIZE,
    Bilateral,
    ChannelsLast,
    Strided,
    by_hand,
    write,
)

EIGHT = ",".join("abcdefgh")
MEAN, STD = IMAGENET


@pytest.fixture(scope="module", autouse=True)
def _torch_seed():
    torch.manual_seed(5)


def options(tmp_path: Path, **values: object) -> ImportOptions:
    given = {"output": tmp_path / "out.onnx", "classes": EIGHT, "mean": MEAN, "std": STD}
    return ImportOptions(**{**given, **values})  # type: ignore[arg-type]


def answer(path: Path, frame: np.ndarray) -> np.ndarray:
    """What the runtime's own backend gives for a frame."""
    manifest = read_manifest(path)
    with open_backend(path, manifest, threads=1) as backend:
        backend.feeds[manifest.inputs[0].name][0] = frame
        backend.infer(EngineStamps())
        return backend.fetches[manifest.outputs[0].name][0].copy()


def normalised(frame: np.ndarray) -> torch.Tensor:
    image = (frame / 255.0 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))


def frame_of(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("end", ["", "argmax"])
def test_a_network_of_weights_that_are_no_numbers_is_not_imported(end, tmp_path):
    """Every comparison with NaN is false, and an argmax of NaN is an id like any other."""
    graph = onnx.load(write(Strided(end=end), tmp_path / "theirs.onnx"))
    for tensor in graph.graph.initializer:
        if len(tensor.dims) == 4:
            nothing = numpy_helper.to_array(tensor) * np.float32(np.nan)
            tensor.CopyFrom(numpy_helper.from_array(nothing, tensor.name))
    onnx.save(graph, tmp_path / "nan.onnx")

    with pytest.raises(ParityError, match=r"\d+ scores of the imported graph are NaN"):
        import_model(tmp_path / "nan.onnx", options(tmp_path))
    assert not (tmp_path / "out.onnx").exists()


STYLES = {
    "scores at stride 8": (lambda p: write(Strided(), p), {}),
    "scores at stride 1": (lambda p: write(Strided(stride=1), p), {}),
    "corners aligned": (lambda p: write(Strided(stride=4), p), {"align_corners": True}),
    "softmax, open size": (
        lambda p: write(Strided(end="softmax"), p, dynamic=True), {"size": (96, 160)},
    ),
    "argmax at stride 4": (lambda p: write(Strided(stride=4, end="argmax"), p), {}),
    "half precision": (lambda p: write(Strided(), p, half=True), {}),
    "channels last": (lambda p: write(ChannelsLast(), p, channels_last=True), {}),
    "channels last, logits": (
        lambda p: write(ChannelsLast(), p, channels_last=True), {"head": "logits"},
    ),
    "sigmoid of one channel": (
        lambda p: write(Strided(classes=1, end="sigmoid"), p), {"classes": "back,front"},
    ),
    "score of one channel": (
        lambda p: write(Strided(classes=1), p), {"classes": "back,front", "head": "logits"},
    ),
    "dynamo": (lambda p: write(Strided(), p, dynamo=True), {}),
    "uint8 in": (
        lambda p: by_hand(p, input_type=TensorProto.UINT8, input_shape=(1, 3, 32, 48)),
        {"classes": "a,b,c,d", "mean": None, "std": None},
    ),
    "0 to 255, BGR": (
        lambda p: by_hand(p),
        {"classes": "a,b,c,d", "mean": (104.0, 117.0, 123.0), "std": (1.0, 1.0, 1.0),
         "value_range": 255, "color": "BGR"},
    ),
    "names in use": (lambda p: by_hand(p, inner="frame", output="mask"), {"classes": "a,b,c,d"}),
    "old opset": (lambda p: by_hand(p, opset=11), {"classes": "a,b,c,d"}),
    "weights apart": (lambda p: by_hand(p, external=True), {"classes": "a,b,c,d"}),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_every_style_becomes_a_model_that_the_runtime_runs(style, tmp_path):
    make, values = STYLES[style]
    source = make(tmp_path / "theirs.onnx")

    manifest = import_model(source, options(tmp_path, **values))

    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.parity.agreement == 1.0
    assert manifest.inputs[0].dtype == "uint8"
    assert manifest.parents[0].sha256 == sha256_of(source)
    size = manifest.input_size
    found = answer(tmp_path / "out.onnx", frame_of(size))
    if manifest.head == "mask":
        assert (found.dtype, found.shape) == (np.uint8, size)
    else:
        assert (found.dtype, found.shape) == (np.float32, (len(manifest.labels), *size))


def test_the_mask_is_what_torch_gives_for_the_same_frame(tmp_path):
    net = Strided(stride=8)
    source = write(net, tmp_path / "theirs.onnx")
    import_model(source, options(tmp_path, align_corners=True))
    frame = frame_of()
    with torch.no_grad():
        scores = F.interpolate(net(normalised(frame)), SIZE, mode="bilinear", align_corners=True)[0]
    best = scores.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-5).numpy()
    same = answer(tmp_path / "out.onnx", frame) == scores.argmax(0).numpy()
    assert clear.mean() > 0.9
    assert same[clear].all()


def test_the_users_nodes_and_weights_are_taken_over_unchanged(tmp_path):
    source = write(Bilateral(), tmp_path / "theirs.onnx")
    theirs = onnx.load(source)
    head = theirs.graph.output[0].name

    import_model(source, options(tmp_path, tensor=head))

    ours = onnx.load(tmp_path / "out.onnx")
    kept = [node for node in ours.graph.node if not node.name.startswith("hyperseg_")]
    assert kept == [node for node in theirs.graph.node if node in kept]
    weights = {tensor.name: tensor for tensor in theirs.graph.initializer}
    for tensor in ours.graph.initializer:
        assert tensor.name.startswith("hyperseg_") or tensor == weights[tensor.name]
    # The two auxiliary heads are nobody's business any more.
    assert sum(n.op_type == "Conv" for n in kept) == 4
    assert sum(n.op_type == "Conv" for n in theirs.graph.node) == 6


def test_the_frame_meets_a_cast_first_and_the_mask_leaves_through_one(tmp_path):
    import_model(write(Strided(end="argmax"), tmp_path / "t.onnx"), options(tmp_path))
    nodes = onnx.load(tmp_path / "out.onnx").graph.node
    assert [n.op_type for n in nodes if "frame" in n.input] == ["Cast"]
    assert [n.op_type for n in nodes if "mask" in n.output] == ["Cast"]


def test_a_built_in_label_set_brings_its_palette(tmp_path):
    source = write(Strided(classes=11), tmp_path / "theirs.onnx")
    manifest = import_model(source, options(tmp_path, classes="camvid-11"))
    assert manifest.labels == CAMVID_11


def wrapped(tmp_path: Path, **values: object) -> Wrapped:
    given = options(tmp_path, **values)
    original = load_model(write(Strided(), tmp_path / "theirs.onnx"))
    image = image_input(original, given)
    output = segmenting_output(at_size(original, image), image, given, 8)
    wrapper = Wrapper(original, image, output, 8)
    norm = given.normalisation()
    graph, frame, mask = wrapper.build(norm, given.head, align_corners=given.align_corners)
    return Wrapped(
        original, graph, frame.name, mask.name, wrapper.scores, image, output, norm,
        given.align_corners, False, 8,
    )  # fmt: skip


@pytest.mark.parametrize("mistake", ["mean", "upsampling", "weight", "colour"])
def test_a_wrong_wrapping_fails_its_proof(mistake, tmp_path):
    right = wrapped(tmp_path)
    assert prove(right, 2).passed
    if mistake == "mean":
        wrong = replace(right, normalisation=((0.5, 0.5, 0.5), STD))
    elif mistake == "upsampling":
        wrong = replace(right, align_corners=True)
    elif mistake == "colour":
        wrong = replace(right, normalisation=(MEAN[::-1], STD[::-1]))
    else:
        graph = onnx.ModelProto()
        graph.CopyFrom(right.deployed)
        tensor = max(graph.graph.initializer, key=lambda t: len(t.dims))
        moved = numpy_helper.to_array(tensor) * np.float32(1.001)
        tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        wrong = replace(right, deployed=graph)
    with pytest.raises(ParityError, match="nothing was written"):
        prove(wrong, 2)


def test_the_command_line_imports_and_inspects(tmp_path, capsys):
    source = by_hand(tmp_path / "theirs.onnx")
    names = tmp_path / "classes.txt"
    names.write_text("road #804080\nsky 70,130,180\ncar\t#00008e\ntree 107 142 35\n")
    output = tmp_path / "net.onnx"
    arguments = ["import", str(source), "-o", str(output), "--classes", str(names),
                 "--mean", "imagenet", "--std", "imagenet", "--license", "MIT"]  # fmt: skip
    assert main(arguments) == 0
    assert "passed against" in capsys.readouterr().out
    assert main(["inspect", str(output), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["labels"]["names"] == ["road", "sky", "car", "tree"]
    assert facts["labels"]["palette"][0] == [128, 64, 128]
    assert facts["license"] == "MIT"
    session = ort.InferenceSession(output, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(uint8)"


@pytest.mark.gst
def test_an_imported_network_runs_on_a_video(tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    source = write(Strided(), tmp_path / "theirs.onnx")
    output = tmp_path / "net.onnx"
    import_model(source, options(tmp_path, output=output, classes=STREET_8.name))
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 25, (192, 128))
    for number in range(12):
        writer.write(np.full((128, 192, 3), 20 * number, np.uint8))
    writer.release()
    masks = tmp_path / "masks"

    status = main(["run", str(output), str(video), "--sink", f"masks:{masks}", "--json", "--quiet"])

    report = json.loads(capsys.readouterr().out)
    assert status == 0
    assert report["frames"]["published"] == 12
    written = sorted(masks.glob("*.png"))
    assert len(written) == 12
    assert cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED).max() < 8
