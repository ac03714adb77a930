"""Small real models for tests of the bench."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_runtime.artifacts import write_artifact
from edge_runtime.labels import LabelSet
from tests.scripted import write_identity_onnx

LABELS = LabelSet("shades", tuple(map(str, range(64))), tuple((i, 0, 0) for i in range(64)))


def write(folder: Path, name: str, size: tuple[int, int] = (48, 64), **changes: object) -> Path:
    """A model whose mask is a quarter of the frame's first channel."""
    import onnx
    from onnx import TensorProto, helper

    part = folder / f"{name}.part"
    manifest = write_identity_onnx(part, size)
    graph = onnx.load(part)
    graph.graph.node[0].output[0] = "channel"
    graph.graph.initializer.append(helper.make_tensor("two", TensorProto.UINT8, (), (2,)))
    shift = helper.make_node("BitShift", ["channel", "two"], ["mask"], direction="RIGHT")
    graph.graph.node.append(shift)
    onnx.save(graph, part)
    path = folder / f"{name}.onnx"
    write_artifact(part, path, replace(manifest, **{"name": name, "labels": LABELS, **changes}))
    return path
