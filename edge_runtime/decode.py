"""From a backend's output to a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend


def mask_size(manifest: Manifest) -> tuple[int, int]:
    """(height, width) of the masks a model makes.

    Raises:
        ManifestError: its output is neither a mask nor logits of its classes.
    """
    shapes = [spec.shape for spec in manifest.outputs]
    classes = len(manifest.labels)
    if len(shapes) == 1:
        shape = shapes[0]
        if manifest.head == "mask" and len(shape) == 3 and manifest.outputs[0].dtype == "uint8":
            return shape[1], shape[2]
        if manifest.head == "logits" and len(shape) == 4 and shape[1] == classes:
            return shape[2], shape[3]
    raise ManifestError(
        f"model {manifest.name!r} has head {manifest.head!r} and outputs "
        f"{[(spec.dtype, spec.shape) for spec in manifest.outputs]}; expected one "
        f"uint8 mask (1, H, W) or logits (1, {classes}, H, W): export it with `hyperseg export`"
    )


def mask_decoder(backend: Backend, manifest: Manifest) -> Callable[[], NDArray[np.uint8]]:
    """A function that gives the mask of the latest inference, without allocating.

    Args:
        backend: already entered.
        manifest: what `mask_size` has accepted.

    Returns:
        A function giving (height, width) uint8 train ids, overwritten by the next inference.
    """
    output: NDArray[np.generic] = backend.fetches[manifest.outputs[0].name][0]
    if manifest.head == "mask":
        mask = output.view(np.uint8)
        return lambda: mask
    best = np.empty(output.shape[1:], np.intp)
    ids = np.empty(output.shape[1:], np.uint8)

    def argmax() -> NDArray[np.uint8]:
        np.argmax(output, axis=0, out=best)
        np.copyto(ids, best, casting="unsafe")
        return ids

    return argmax
