"""Graphs to be timed, made of presets with random weights, which change no shape or operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibration.policy import POLICIES, place
from calibration.qdq import insert
from edge_runtime.artifacts import CreatedBy, Manifest, Preprocess, TensorSpec, create_artifact
from edge_runtime.labels import LabelSet
from export.fp16 import prepared
from export.fp16_measure import ranges
from export.probe_frames import probe_frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

    from training.model.config import HyperSegConfig

LARGEST = 1e4
"""Ranges of random weights may be beyond any use; scales are taken of no more than this."""


def one_frame_ranges(
    source: onnx.ModelProto, config: HyperSegConfig, size: tuple[int, int]
) -> dict[str, float]:
    """Greatest magnitude of each tensor on one frame.

    Args:
        source: a graph of `export.fp16.prepared`.
        config: of its network.
        size: (height, width) of its frame.
    """
    frames = [frame[None] for frame in probe_frames(size, 1, config.mean, config.std)]
    return ranges(source, frames)


def quantised(exact: onnx.ModelProto, found: Mapping[str, float], policy: str) -> onnx.ModelProto:
    """The Q/DQ graph of an FP32 graph, with ranges of `one_frame_ranges`."""
    usable = {key: float(np.clip(value, 1e-4, LARGEST)) for key, value in found.items()}
    return insert(exact, place(exact, POLICIES[policy]), usable)


def ort_int8(
    exact: onnx.ModelProto, config: HyperSegConfig, size: tuple[int, int]
) -> onnx.ModelProto:
    """The Q/DQ graph for ONNX Runtime on a CPU, its ranges of one frame."""
    return quantised(exact, one_frame_ranges(prepared(exact), config, size), "ort-cpu")


def write_model(graph: onnx.ModelProto, path: Path, config: HyperSegConfig, name: str) -> Path:
    """A graph from frame to mask as an artefact that the runtime takes; gives `path`.

    Args:
        graph: input (1, H, W, 3) uint8, output (1, H, W) uint8.
        path: where.
        config: of its network.
        name: of the model.
    """
    import onnx

    size = tuple(one.dim_value for one in graph.graph.input[0].type.tensor_type.shape.dim)
    classes = config.num_classes
    manifest = Manifest(
        kind="onnx",
        name=name,
        sha256="",
        created_by=CreatedBy("benchmarks", "0"),
        labels=LabelSet(
            "numbered",
            tuple(f"class {number}" for number in range(classes)),
            tuple((number, number, number) for number in range(classes)),
        ),
        preprocess=Preprocess(config.mean, config.std),
        inputs=(TensorSpec("frame", size, "uint8"),),
        outputs=(TensorSpec("mask", size[:3], "uint8"),),
        head="mask",
    )
    create_artifact(path, manifest, lambda part: onnx.save(graph, part))
    return path
