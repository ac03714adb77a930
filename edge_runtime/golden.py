"""Whether a network that was just loaded makes masks at all, asked before it serves a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.decode import mask_size
from edge_runtime.errors import ArtifactError
from edge_runtime.yuv import as_input

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.rig.engine import Network

TILE_PX = 32


def golden_frame(size: tuple[int, int]) -> NDArray[np.uint8]:
    """The same picture for all models of one size: two ramps and tiles of both extremes.

    Args:
        size: (height, width).

    Returns:
        (height, width, 3) uint8.
    """
    height, width = size
    rows, columns = np.indices((height, width))
    tiles = ((rows // TILE_PX + columns // TILE_PX) % 2) * 255
    ramps = rows * 255 // height, columns * 255 // width
    return np.stack([*ramps, tiles], axis=-1).astype(np.uint8)


def golden_input(manifest: Manifest) -> NDArray[np.uint8]:
    """`golden_frame` as a model takes it: its pixels, or the bytes of its YUV format."""
    return as_input(golden_frame(manifest.input_size), manifest.preprocess)


def check_fits(serving: Manifest, new: Manifest) -> None:
    """Refuse a model that the source and the outputs of a run were not opened for.

    Raises:
        ArtifactError: its pictures, masks or classes are others.
        ManifestError: it makes no masks of pictures.
    """
    for what, before, now in (
        ("input", serving.input_size, new.input_size),
        ("resize mode", serving.preprocess.resize, new.preprocess.resize),
        ("colour order", serving.preprocess.color, new.preprocess.color),
        ("pixel format", serving.preprocess.yuv or "RGB", new.preprocess.yuv or "RGB"),
        ("mask size", mask_size(serving), mask_size(new)),
        ("label set", serving.labels.name, new.labels.name),
        ("classes", serving.labels.names, new.labels.names),
        ("palette", serving.labels.palette, new.labels.palette),
    ):
        if before != now:
            raise ArtifactError(
                f"its {what} ({now}) differs from what the run was started with ({before}); start "
                "the run anew for such a model"
            )


def prove(network: Network, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Infer pictures, which also warms the network up, and look at what comes out.

    Args:
        network: in use by nobody else.
        pictures: as the network takes them.

    Raises:
        ArtifactError: a mask has an id of no class, or a score is not finite.
        BackendError: the engine failed.
    """
    classes = len(network.manifest.labels)
    for picture in pictures:
        np.copyto(network.feed, picture)
        mask = network.infer(EngineStamps())
        for name, values in network.backend.fetches.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ArtifactError(
                    f"its output {name!r} is not finite on a golden frame; export it anew"
                )
        if (highest := int(mask.max())) >= classes:
            raise ArtifactError(
                f"its mask of a golden frame has id {highest} and there are {classes} classes; "
                "export it anew"
            )
