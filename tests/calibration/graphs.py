"""A small deploy graph with everything the placement rules speak of, and its artefact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from calibration.judge import Runner
from edge_runtime.artifacts import CreatedBy, Manifest, Preprocess, TensorSpec, create_artifact
from edge_runtime.labels import STREET_8

HEIGHT, WIDTH = 32, 48
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def weight(name: str, *shape: int, seed: int = 0, scale: float = 1.0) -> onnx.TensorProto:
    rng = np.random.default_rng([seed, *name.encode()])
    fan_in = max(int(np.prod(shape[1:])), 1)
    values = scale * rng.standard_normal(shape) / np.sqrt(fan_in)
    return numpy_helper.from_array(values.astype(np.float32), name)


def constant(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def deploy_graph(seed: int = 0) -> onnx.ModelProto:
    """Stem, inverted residual, concat, a generated convolution, and a head of 8 classes."""
    node = helper.make_node
    nodes = [
        node("Cast", ["frame"], ["float"], to=FLOAT),
        node("Transpose", ["float"], ["chw"], perm=[0, 3, 1, 2]),
        node("Mul", ["chw", "scale"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["image"]),
        node("Conv", ["image", "network.stem.weight", "network.stem.bias"], ["stem"],
             strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Clip", ["stem", "zero", "six"], ["stem6"]),
        node("Conv", ["stem6", "network.b.expand.weight", "network.b.expand.bias"], ["expand"],
             kernel_shape=[1, 1]),
        node("Clip", ["expand", "zero", "six"], ["expand6"]),
        node("Conv", ["expand6", "network.b.depthwise.weight"], ["depthwise"], group=32,
             pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Clip", ["depthwise", "zero", "six"], ["depthwise6"]),
        node("Conv", ["depthwise6", "network.b.project.weight"], ["project"], kernel_shape=[1, 1]),
        node("Add", ["stem6", "project"], ["residual"]),
        node("Concat", ["residual", "stem6"], ["joined"], axis=1),
        node("Conv", ["joined", "network.join.weight"], ["join"], kernel_shape=[1, 1]),
        node("Relu", ["join"], ["feature"]),
        # Generated weights: the mean feature times a matrix becomes a 1x1 convolution.
        node("ReduceMean", ["feature", "axes"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "network.maker.weight"], ["made"]),
        node("Reshape", ["made", "kernel_shape"], ["kernel"]),
        node("Conv", ["feature", "kernel"], ["scores"], kernel_shape=[1, 1]),
        node("Resize", ["scores", "", "", "sizes"], ["logits"], mode="linear"),
        node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
        node("Cast", ["best"], ["mask"], to=UINT8),
    ]  # fmt: skip
    w = {"seed": seed}
    tensors = [
        constant("scale", np.full((1, 3, 1, 1), 1 / 127.5)),
        constant("shift", np.full((1, 3, 1, 1), -1.0)),
        constant("zero", 0.0), constant("six", 6.0),
        weight("network.stem.weight", 16, 3, 3, 3, scale=3.0, **w),
        weight("network.stem.bias", 16, **w),
        weight("network.b.expand.weight", 32, 16, 1, 1, scale=2.0, **w),
        weight("network.b.expand.bias", 32, **w),
        weight("network.b.depthwise.weight", 32, 1, 3, 3, scale=2.0, **w),
        weight("network.b.project.weight", 16, 32, 1, 1, **w),
        weight("network.join.weight", 32, 32, 1, 1, **w),
        constant("axes", [2, 3], np.int64),
        weight("network.maker.weight", 32, 8 * 32, scale=0.3, **w),
        constant("kernel_shape", [8, 32, 1, 1], np.int64),
        constant("sizes", [1, 8, HEIGHT, WIDTH], np.int64),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "deploy",
        [helper.make_tensor_value_info("frame", UINT8, [1, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("mask", UINT8, [1, HEIGHT, WIDTH])],
        tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def shortcut_graph() -> onnx.ModelProto:
    """The same, but both inputs of the residual sum are convolutions, as where a ResNet narrows."""
    model = deploy_graph()
    nodes = model.graph.node
    total = next(node for node in nodes if node.output[0] == "residual")
    total.input[0] = "shortcut"
    shortcut = helper.make_node(
        "Conv", ["stem6", "network.b.shortcut.weight"], ["shortcut"], kernel_shape=[1, 1]
    )
    nodes.insert(list(nodes).index(total), shortcut)
    model.graph.initializer.append(weight("network.b.shortcut.weight", 16, 16, 1, 1))
    onnx.checker.check_model(model, full_check=True)
    return model


def write_model(folder: Path, model: onnx.ModelProto | None = None, name: str = "tiny") -> Path:
    """The graph as an artefact; classes and palette are those of the streets."""
    manifest = Manifest(
        kind="onnx",
        name=name,
        sha256="",
        created_by=CreatedBy("test", "0"),
        labels=STREET_8,
        preprocess=Preprocess((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        inputs=(TensorSpec("frame", (1, HEIGHT, WIDTH, 3), "uint8"),),
        outputs=(TensorSpec("mask", (1, HEIGHT, WIDTH), "uint8"),),
        head="mask",
    )
    content = (model or deploy_graph()).SerializeToString()
    path = folder / f"{name}.onnx"
    create_artifact(path, replace(manifest), lambda part: part.write_bytes(content))
    return path


def frames(count: int, seed: int = 0) -> list[np.ndarray]:
    """Blobs of colour, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return list(coarse.repeat(8, 1).repeat(8, 2))


def labelled_folder(root: Path, model: onnx.ModelProto | None = None) -> Path:
    """Training frames, and validation frames whose labels are the float model's own answers."""
    root.mkdir()
    (root / "meta.json").write_text('{"labels": "street-8"}')
    runner = Runner(model or deploy_graph(), 1)
    for split, count, seed in (("train", 12, 1), ("val", 6, 2)):
        (root / split).mkdir()
        (root / f"{split}_labels").mkdir()
        for number, frame in enumerate(frames(count, seed)):
            cv2.imwrite(str(root / split / f"{split}{number}.png"), frame[:, :, ::-1])
            mask = Image.fromarray(runner.mask(frame))
            mask.save(root / f"{split}_labels" / f"{split}{number}_L.png")
    return root
