"""A small network as an artefact, for configurations of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_runtime.artifacts import Preprocess, TensorSpec
from edge_runtime.labels import LabelSet
from tests.export.graphs import node, segmenter

MakeSubject = Callable[..., Path]

SIZE = 32
LABELS = LabelSet(
    "five",
    ("sky", "road", 'a "quoted" name', "straße", "person"),
    ((1, 2, 3), (255, 0, 16), (0, 255, 0), (0, 0, 255), (9, 9, 9)),
)


def network(**more) -> onnx.ModelProto:
    """Without a bias, which would give nearly all pixels the same class."""
    return segmenter(size=SIZE, b2=np.zeros(len(LABELS), np.float32), **more)


def logits_graph() -> onnx.ModelProto:
    """The network with its scores as the output."""
    graph = network()
    del graph.graph.output[:]
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info("logits", 1, (1, len(LABELS), SIZE, SIZE))
    )
    del graph.graph.node[-2:]
    onnx.checker.check_model(graph)
    return graph


def quantised_graph() -> onnx.ModelProto:
    middle = [
        node("QuantizeLinear", "a s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("Relu", "d", "b"),
    ]
    return network(middle=middle, s=np.float32(0.1), z=np.int8(0))


@pytest.fixture
def subject(make_model: Callable[..., Path]) -> MakeSubject:
    """``subject(graph, head="logits", color="BGR", kind="engine")``: the file of a model."""

    def make(graph=None, head="mask", color="RGB", resize="stretch", **more) -> Path:
        graph = network() if graph is None else graph
        outputs = {
            "mask": TensorSpec("mask", (1, SIZE, SIZE), "uint8"),
            "logits": TensorSpec("logits", (1, len(LABELS), SIZE, SIZE), "float32"),
        }
        fields = {
            "content": graph.SerializeToString(),
            "head": head,
            "labels": LABELS,
            "preprocess": Preprocess((0.5,) * 3, (0.25,) * 3, color, resize),
            "inputs": (TensorSpec("frame", (1, SIZE, SIZE, 3), "uint8"),),
            "outputs": (outputs[head],),
        }
        return make_model(**{**fields, **more})

    return make
