"""Regions on the grid of the mask, and how much of each class lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.rules.spec import FRAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.geometry import FrameGeometry
    from edge_runtime.rules.spec import Region


@dataclass(frozen=True)
class Patch:
    """The pixels of one region: a window of the mask, and which pixels of it count."""

    rows: slice
    columns: slice
    inside: NDArray[np.bool_] | None
    """(window height, window width), contiguous; None if all do."""
    pixels: int


class RegionGrid:
    """Counts classes in regions, rasterised once for each placement of the frame in the mask.

    Args:
        regions: in relative coordinates of the frame; the whole frame is added to them.
        classes: how many; ids from there on, such as void, belong to no class.
    """

    def __init__(self, regions: Sequence[Region], classes: int) -> None:
        self._regions = regions
        self._classes = classes
        self._placement: tuple[FrameGeometry, tuple[int, ...]] | None = None
        self._patches: dict[str, Patch] = {}

    def ratios(
        self, mask: NDArray[np.uint8], geometry: FrameGeometry
    ) -> Mapping[str, NDArray[np.float64]]:
        """Share of each class in each region, by the region's name.

        Args:
            mask: (height, width) uint8 train ids, over the whole network input.
            geometry: where the frame lies in it; padding belongs to no region.

        Returns:
            (classes,) float64 in 0..1 of the region's pixels, void among them.
        """
        if self._placement != (geometry, mask.shape):
            self._rasterise(geometry, mask.shape)
            self._placement = (geometry, mask.shape)
        return {name: self._share(mask, patch) for name, patch in self._patches.items()}

    def _share(self, mask: NDArray[np.uint8], patch: Patch) -> NDArray[np.float64]:
        window = mask[patch.rows, patch.columns]
        inside = None if patch.inside is None else patch.inside.view(np.uint8)
        # Unlike np.bincount it does not first make eight bytes of each pixel. Its counts are
        # float32: exact up to 16 million pixels, and above to 7 digits.
        counts = cv2.calcHist([window], [0], inside, [256], [0, 256]).ravel()
        share: NDArray[np.float64] = counts[: self._classes].astype(np.float64) / patch.pixels
        return share

    def _rasterise(self, geometry: FrameGeometry, shape: tuple[int, ...]) -> None:
        scale = shape[0] / geometry.network[0], shape[1] / geometry.network[1]
        top, left, height, width = geometry.content
        begin = round(top * scale[0]), round(left * scale[1])
        size = max(round(height * scale[0]), 1), max(round(width * scale[1]), 1)
        whole = slice(begin[0], begin[0] + size[0]), slice(begin[1], begin[1] + size[1])
        self._patches = {FRAME: Patch(*whole, None, size[0] * size[1])}
        for region in self._regions:
            self._patches[region.name] = _patch(polygon_mask(region.polygon, size), begin)


def polygon_mask(
    polygon: Sequence[tuple[float, float]], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """The pixels whose centres lie in a polygon (even-odd): two that touch share no pixel.

    Args:
        polygon: corners (x, y) in 0..1 of the size.
        size: (height, width).

    Returns:
        (height, width) bool. Of a polygon too thin for any centre: the pixels of its corners.
    """
    height, width = size
    corners = np.asarray(polygon, np.float64) * (width, height)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    inside = np.zeros(size, np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = (y0 <= rows) != (y1 <= rows)
        x = x0 + (rows[crossed] - y0) * ((x1 - x0) / (y1 - y0 or 1.0))
        inside[crossed] ^= columns < x[:, None]
    if not inside.any():
        x, y = np.minimum(corners.astype(np.intp), (width - 1, height - 1)).T
        inside[y, x] = True
    return inside


def _patch(inside: NDArray[np.bool_], begin: tuple[int, int]) -> Patch:
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    window = inside[top:bottom, left:right]
    return Patch(
        slice(begin[0] + top, begin[0] + bottom),
        slice(begin[1] + left, begin[1] + right),
        None if window.all() else np.ascontiguousarray(window),
        int(window.sum()),
    )
