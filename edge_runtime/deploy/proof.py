"""The mask of a golden frame, sent along with a model: does the device see what we see?"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.errors import ArtifactError
from edge_runtime.golden import golden_input, prove
from edge_runtime.rig.engine import Network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest

LEAST_AGREEMENT = 0.95
"""Share of pixels. The golden frame is no street: on it scores lie close together, and FP16 or INT8
moves more pixels than on pictures that the network was trained for."""
TIMED = 5
"""Inferences after the first, whose median is told."""


@dataclass(frozen=True)
class Proof:
    """What the golden frame gave."""

    backend: str
    agreement: float | None
    """Share of pixels of the class that the sender found; null without a golden mask."""
    median_ms: float
    """Of one inference, on a machine that does whatever else it does."""
    passed: bool


def write_golden(model: Path, manifest: Manifest, target: Path) -> None:
    """Write the mask of the golden frame as a lossless picture.

    Raises:
        ArtifactError: the model makes no masks.
        BackendError: it does not run here.
        DependencyError: nothing here runs it.
    """
    import cv2

    mask, _, _ = _infer(model, manifest, times=0)
    encoded, data = cv2.imencode(".png", mask)
    assert encoded, "a mask did not encode as PNG"
    target.write_bytes(data.tobytes())


def check_golden(model: Path, golden: Path | None) -> Proof:
    """Run a model or engine on the golden frame and compare.

    Args:
        model: with its manifest beside it.
        golden: mask from the sender; None compares with nothing.

    Raises:
        ArtifactError: its masks are none, or the golden one does not fit.
        BackendError: it does not run here.
        DependencyError: nothing here runs it.
    """
    manifest = read_manifest(model)
    mask, median_ms, backend = _infer(model, manifest, times=TIMED)
    agreement = None
    if golden is not None:
        wanted = _read_mask(golden)
        if wanted is None or wanted.shape != mask.shape:
            raise ArtifactError(
                f"{golden.name} is no mask of {mask.shape[0]}x{mask.shape[1]}; make the bundle anew"
            )
        agreement = float(np.mean(wanted == mask))
    passed = agreement is None or agreement >= LEAST_AGREEMENT
    return Proof(backend, agreement, round(median_ms, 3), passed)


def _read_mask(path: Path) -> NDArray[np.uint8] | None:
    import cv2

    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return None if mask is None else mask.astype(np.uint8)


def _infer(model: Path, manifest: Manifest, times: int) -> tuple[NDArray[np.uint8], float, str]:
    """The mask (height, width), median of `times` inferences in ms, and what ran it."""
    picture = golden_input(manifest)
    with ExitStack() as stack:
        network = Network(stack.enter_context(open_backend(model, manifest)), manifest)
        prove(network, [picture])
        mask = network.infer(EngineStamps()).copy()
        taken = []
        for _ in range(times):
            begin = time.perf_counter()
            network.infer(EngineStamps())
            taken.append((time.perf_counter() - begin) * 1e3)
        return mask, median(taken) if taken else 0.0, network.backend.name
