"""Models that are entered and proven, ready to be measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.artifacts import read_manifest
from edge_runtime.bench.report import Masks
from edge_runtime.bench.subject import Subject, agreement, masks_hash
from edge_runtime.decode import mask_size
from edge_runtime.golden import prove
from edge_runtime.rig.engine import Network
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.bench.frames import Pictures


@dataclass(frozen=True)
class Opened:
    """A model that runs, and what it said before anything was measured."""

    subject: Subject
    manifest: Manifest
    path: Path
    load_ms: float
    masks: list[NDArray[np.uint8]]


def open_model(
    label: str,
    path: Path,
    stack: ExitStack,
    opener: Callable[[Path, Manifest], Backend],
    pictures: Pictures,
) -> Opened:
    """Open a model until `stack` closes, and let it make masks of pictures.

    Args:
        label: how it is called.
        path: its file.
        stack: holds it.
        opener: makes its backend.
        pictures: to run on.

    Raises:
        HypersegError: it cannot be opened, or makes no sound masks of these pictures.
    """
    manifest = read_manifest(path)
    mask_size(manifest)  # refuses what makes no masks before an engine is loaded
    begin_ns = time.monotonic_ns()
    backend = stack.enter_context(opener(path, manifest))
    load_ms = (time.monotonic_ns() - begin_ns) * 1e-6
    frames = pictures.of(manifest)
    network = Network(backend, manifest)
    prove(network, frames)
    subject = Subject(label, network, frames)
    return Opened(subject, manifest, path, load_ms, subject.masks())


def labelled(models: Sequence[str]) -> dict[str, Path]:
    """The files by the names they are called in a report.

    Raises:
        ArtifactError: there is no such model.
    """
    found: dict[str, Path] = {}
    for text in models:
        path = resolve_model(text)
        label = path.stem if path.suffix == ".onnx" else path.name
        number = 1 + sum(label == known.partition(" #")[0] for known in found)
        found[label if number == 1 else f"{label} #{number}"] = path
    return found


def compare_masks(one: Opened, first: Opened) -> Masks:
    """What a model said, now and before, and beside the first one."""
    comparable = (
        one is not first
        and mask_size(one.manifest) == mask_size(first.manifest)
        and one.manifest.labels.names == first.manifest.labels.names
    )
    before = masks_hash(one.masks)
    return Masks(
        hash=before,
        unchanged=masks_hash(one.subject.masks()) == before,
        classes=len(np.unique(np.stack(one.masks))),
        agreement=agreement(one.masks, first.masks) if comparable else None,
    )
