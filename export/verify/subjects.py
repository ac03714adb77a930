"""Which files are given, and whether they belong together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.artifacts import check_readable, read_manifest
from edge_runtime.errors import OptionError
from edge_runtime.pixels import require_rgb
from edge_runtime.stored_weights import unpack_weights
from edge_runtime.zoo import resolve_model
from export.precision import graph_precision, load_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from edge_runtime.artifacts import Manifest

CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Model:
    """An ONNX model or an engine with its manifest."""

    path: Path
    manifest: Manifest
    graph: onnx.ModelProto | None = None
    """None for an engine."""


@dataclass
class Subjects:
    """The forms of one network that were given as files."""

    checkpoint: Path | None = None
    models: dict[str, Model] = field(default_factory=dict)
    """By precision: ``fp32``, ``fp16``, ``int8``."""
    engines: list[Model] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All of them."""
        found = [model.path for model in (*self.models.values(), *self.engines)]
        return [self.checkpoint, *found] if self.checkpoint else found


def read_subjects(texts: Sequence[str]) -> Subjects:
    """Sort files by what they are.

    Args:
        texts: paths, or names of shipped models.

    Raises:
        ArtifactError: a file is missing, damaged, or without a manifest.
        OptionError: two of one kind, no float form at all, or forms of different networks.
    """
    subjects = Subjects()
    for text in texts:
        path = resolve_model(text)
        check_readable(path)
        if path.suffix in CHECKPOINT_SUFFIXES:
            if subjects.checkpoint is not None:
                raise OptionError(
                    f"{subjects.checkpoint} and {path} are both checkpoints; give one"
                )
            subjects.checkpoint = path
            continue
        manifest = read_manifest(path)
        require_rgb(manifest, "verify its RGB form; `hyperseg inspect` says how they compare")
        if manifest.kind == "engine":
            subjects.engines.append(Model(path, manifest))
            continue
        # Weights stored as float16 could not be moved by a float32 rounding unit.
        graph = unpack_weights(load_graph(path))
        precision = graph_precision(graph)
        if precision in subjects.models:
            other = subjects.models[precision].path
            raise OptionError(f"{other} and {path} are both {precision.upper()} models; give one")
        subjects.models[precision] = Model(path, manifest, graph)
    _check_together(subjects)
    return subjects


def _check_together(subjects: Subjects) -> None:
    if subjects.checkpoint is None and "fp32" not in subjects.models:
        raise OptionError(
            "nothing to compare with: give the checkpoint or the FP32 model that the others were "
            "made from"
        )
    models = [*subjects.models.values(), *subjects.engines]
    for other in models[1:]:
        first = models[0]
        if other.manifest.input_size != first.manifest.input_size:
            (h, w), (h2, w2) = first.manifest.input_size, other.manifest.input_size
            raise OptionError(
                f"{first.path} is for {h}x{w} and {other.path} for {h2}x{w2}; compare forms of one "
                "size"
            )
        if other.manifest.labels.names != first.manifest.labels.names:
            raise OptionError(
                f"{first.path} and {other.path} have different classes: they are not one network"
            )
