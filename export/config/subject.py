"""The model that a configuration is written for, checked before anything is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import ArtifactError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

    from edge_runtime.artifacts import Head, Manifest

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What may become a file, a folder and a ROS launch file's name without quoting."""


@dataclass(frozen=True)
class Subject:
    """A deployable model and what its manifest says."""

    path: Path
    manifest: Manifest
    head: Head

    @property
    def name(self) -> str:
        """Of the model; safe as a file name."""
        return self.manifest.name

    @property
    def labels_text(self) -> str:
        """Class names, one a line, in the order of their ids."""
        return "".join(f"{name}\n" for name in self.manifest.labels.names)


@dataclass
class Plan:
    """What is to be written: contents by path relative to the folder, and what to know."""

    files: dict[str, str] = field(default_factory=dict)
    binaries: dict[str, Callable[[Path], object]] = field(default_factory=dict)
    """Called with the path to fill."""
    notes: list[str] = field(default_factory=list)
    """One sentence each: what was adapted, and what does not fit."""


def load_subject(path: Path) -> Subject:
    """Read and check a model.

    Raises:
        ArtifactError: it is missing, damaged, or neither an ONNX model nor an engine.
        ManifestError: the manifest is absent, of another file, or describes no uint8 NHWC frame.
    """
    manifest = read_manifest(path)
    if manifest.kind not in ("onnx", "engine") or manifest.head is None:
        raise ArtifactError(
            f"{path} is of kind {manifest.kind!r}; expected an ONNX model or an engine: "
            "`hyperseg export` makes the one of a checkpoint, `hyperseg build` the other"
        )
    if not SAFE_NAME.fullmatch(manifest.name):
        raise ManifestError(
            f"the model's name {manifest.name!r} cannot name a file in another runtime; "
            "`hyperseg export --name` takes letters, digits, dots, dashes and underscores"
        )
    height, width = manifest.input_size
    (frame,) = manifest.inputs
    if frame.dtype != "uint8" or frame.shape != (1, height, width, 3) or len(manifest.outputs) != 1:
        raise ManifestError(
            f"{path} takes {frame.dtype} {frame.shape} and has {len(manifest.outputs)} outputs; "
            "expected one uint8 (1, H, W, 3) frame and one output: `hyperseg export` or "
            "`hyperseg import` makes such a model"
        )
    return Subject(path, manifest, manifest.head)


def graph_of(subject: Subject, runtime: str) -> onnx.ModelProto:
    """The subject's ONNX graph, for a runtime that cannot be fed as ours is.

    Raises:
        ArtifactError: it is an engine, whose input cannot be changed any more.
    """
    if subject.manifest.kind != "onnx":
        raise ArtifactError(
            f"{runtime} feeds planar float frames, and the engine {subject.path} is built for "
            f"uint8 (1, H, W, 3); give the ONNX model it was built from: {runtime} builds its own"
        )
    from export.precision import load_graph

    return load_graph(subject.path)
