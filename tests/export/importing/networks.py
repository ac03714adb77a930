"""Foreign networks in the styles people export: small, seeded, and written by torch or by hand."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

SIZE = (64, 96)


class Bilateral(nn.Module):
    """BiSeNet's manner: three heads of scores, upsampled to the frame inside."""

    def __init__(self, classes: int = 8, width: int = 16) -> None:
        super().__init__()
        self.detail = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        self.context = nn.Conv2d(width, width, 3, 2, 1)
        self.head = nn.Conv2d(width, classes, 1)
        self.aux2 = nn.Conv2d(width, classes, 1)
        self.aux3 = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = image.shape[2:]
        detail = self.detail(image)
        deep = F.interpolate(self.context(detail), detail.shape[2:], mode="bilinear")
        heads = (self.head(detail + deep), self.aux2(detail), self.aux3(deep))
        a, b, c = (F.interpolate(x, size, mode="bilinear", align_corners=True) for x in heads)
        return a, b, c


class Strided(nn.Module):
    """DDRNet's and PIDNet's manner: scores leave at stride 8 and the caller upsamples."""

    def __init__(self, classes: int = 8, width: int = 16, stride: int = 8, end: str = "") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for _ in range(int(np.log2(stride))):
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, classes, 1))
        self.end = end

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.body(image)
        if self.end == "softmax":
            return scores.softmax(1)
        if self.end == "sigmoid":
            return scores.sigmoid()
        if self.end == "argmax":
            return scores.argmax(1)
        return scores


class ChannelsLast(nn.Module):
    """Keras' manner: (1, H, W, 3) in, (1, h, w, C) out."""

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.net = Strided(classes, stride=4)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.net(image.permute(0, 3, 1, 2))
        return out.permute(0, 2, 3, 1)


def write(
    net: nn.Module,
    path: Path,
    *,
    size: tuple[int, int] = SIZE,
    dynamic: bool = False,
    channels_last: bool = False,
    half: bool = False,
    dynamo: bool = False,
) -> Path:
    """Export with torch, batch norms set by a few noise images."""
    torch.manual_seed(0)
    shape = (1, *size, 3) if channels_last else (1, 3, *size)
    with torch.no_grad():
        net.train()(torch.randn(4, *shape[1:]))
    net.eval()
    example = torch.randn(shape)
    if half:
        net, example = net.half(), example.half()
    with warnings.catch_warnings():
        # torch's exporters warn of their own future; nothing here can change it.
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(net, (example,), dynamo=True, opset_version=18)
            assert program is not None
            program.save(str(path))
            return path
        torch.onnx.export(
            net, (example,), str(path), dynamo=False, opset_version=17,
            input_names=["image"],
            dynamic_axes={"image": {0: "n", 2: "h", 3: "w"}} if dynamic else None,
        )  # fmt: skip
    return path


def by_hand(
    path: Path,
    *,
    classes: int = 4,
    opset: int = 13,
    output: str = "scores",
    input_shape: tuple[int | str, ...] = (1, 3, 32, 48),
    input_type: int = TensorProto.FLOAT,
    extra_input: bool = False,
    external: bool = False,
    inner: str = "h",
) -> Path:
    """One convolution of stride 4, written with onnx.helper; `inner` names its result."""
    rng = np.random.default_rng(3)
    weight = numpy_helper.from_array(
        rng.standard_normal((classes, 3, 4, 4)).astype(np.float32), "weight"
    )
    image = "image" if input_type == TensorProto.FLOAT else "floats"
    nodes = [helper.make_node("Conv", [image, "weight"], [inner], strides=[4, 4], name="conv")]
    if input_type != TensorProto.FLOAT:
        nodes.insert(0, helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Relu", [inner], [output]))
    inputs = [helper.make_tensor_value_info("image", input_type, input_shape)]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, (1,)))
    scores = helper.make_tensor_value_info(output, TensorProto.FLOAT, (1, classes, "h", "w"))
    graph = helper.make_graph(nodes, "g", inputs, [scores], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(
        model, path, save_as_external_data=external, location=f"{path.stem}.weights",
        size_threshold=0,
    )  # fmt: skip
    return path
