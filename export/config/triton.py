"""Triton Inference Server: a folder of its model repository.

Triton's clients send what the model takes, so the artefact is served as it is: uint8 NHWC in.
Names and values are those of ``model_config.proto``.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from edge_runtime.engines.identity import OPTIONS_KEY
from edge_runtime.errors import ArtifactError
from export.config.subject import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.artifacts import TensorSpec
    from export.config.subject import Subject

DATA_TYPES = {
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
}
"""numpy's names of element types as Triton's."""

BACKENDS = {"onnx": ("onnxruntime", "model.onnx"), "engine": ("tensorrt", "model.plan")}
"""Triton's backend by our kind, and the file it looks for in a version's folder."""


def plan_triton(subject: Subject) -> Plan:
    """What a model repository needs for the model, relative to the model's folder in it.

    Raises:
        ArtifactError: it is an engine of TensorRT-RTX, which Triton does not load.
    """
    manifest = subject.manifest
    built = manifest.options.get(OPTIONS_KEY)
    runtime = built.get("runtime") if isinstance(built, dict) else None
    if manifest.kind == "engine" and runtime != "tensorrt":
        raise ArtifactError(
            f"{subject.path} is an engine of {runtime or 'an unknown runtime'}; Triton's backend "
            "loads those of tensorrt: build one on the server, or give the ONNX model"
        )
    backend, file = BACKENDS[manifest.kind]

    def copy(path: Path) -> None:
        shutil.copyfile(subject.path, path)

    notes = ["the model is served as it is: requests carry whole uint8 (1, H, W, 3) frames"]
    if manifest.kind == "engine":
        notes.append("an engine loads only under the TensorRT version and on the GPU it is for")
    return Plan(
        files={"config.pbtxt": config_text(subject, backend), "labels.txt": subject.labels_text},
        binaries={f"1/{file}": copy},
        notes=notes,
    )


def config_text(subject: Subject, backend: str) -> str:
    """``config.pbtxt`` in protobuf's text format."""
    manifest = subject.manifest
    (frame,), (answer,) = manifest.inputs, manifest.outputs
    preprocess = manifest.preprocess
    facts = {
        "color_order": preprocess.color,
        "resize": preprocess.resize,
        "labels": json.dumps(manifest.labels.names),
        "palette_rgb": json.dumps(manifest.labels.palette),
        "ignore_index": str(manifest.labels.ignore_index),
        "sha256": manifest.sha256,
    }
    parameters = "".join(
        f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}\n"
        for key, value in facts.items()
    )
    return (
        "# Batches of one: patch geometry is part of the graph.\n"
        f"name: {quoted(subject.name)}\n"
        f"backend: {quoted(backend)}\n"
        "max_batch_size: 0\n"
        f"input [ {{ {_tensor(frame)} }} ]\n"
        f"output [ {{ {_tensor(answer)} }} ]\n"
        "model_warmup [ {\n"
        '  name: "one black frame"\n'
        "  batch_size: 1\n"
        f"  inputs {{ key: {quoted(frame.name)} value {{ data_type: {_data_type(frame)} "
        f"dims: {list(frame.shape)} zero_data: true }} }}\n"
        "} ]\n"
        "# For clients: nothing in the server reads these.\n"
        f"{parameters}"
    )


def _tensor(spec: TensorSpec) -> str:
    return f"name: {quoted(spec.name)} data_type: {_data_type(spec)} dims: {list(spec.shape)}"


def _data_type(spec: TensorSpec) -> str:
    if spec.dtype not in DATA_TYPES:
        raise ArtifactError(
            f"{spec.name!r} is of type {spec.dtype}; Triton's are {', '.join(DATA_TYPES)}"
        )
    return DATA_TYPES[spec.dtype]


def quoted(text: str) -> str:
    """A string of protobuf's text format, which escapes as JSON does where it matters here."""
    return json.dumps(text, ensure_ascii=False)
