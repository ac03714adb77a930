"""Pictures to measure on: zeros or noise would take other branches and make other masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.golden import golden_frame
from edge_runtime.yuv import as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest

SEED = 1000
"""Of the street; far from those the shipped models were trained on."""
STEP = 15
"""Frames of the drive from one picture to the next: half a second."""
DRAWABLE_PX = (32, 4096)


class Pictures:
    """Pictures as models take them; models of one size and colour order get the very same ones.

    Args:
        source: any source of `run`; None draws a street.
        count: how many; a source may have fewer.
    """

    def __init__(self, source: str | None, count: int) -> None:
        self._source, self._count = source, count
        self._taken: dict[tuple[object, ...], list[NDArray[np.uint8]]] = {}

    def of(self, manifest: Manifest) -> list[NDArray[np.uint8]]:
        """Those for one model; taken once, as a camera would give others the next time.

        Returns:
            At least one, not to be changed: (height, width, 3) uint8 in the model's colour order,
            or the bytes that a YUV model takes.

        Raises:
            SourceError: the source cannot be read or gave no frame.
        """
        preprocess = manifest.preprocess
        key = (manifest.input_size, preprocess.color, preprocess.resize, preprocess.yuv)
        if key not in self._taken:
            if self._source is not None:
                from edge_runtime.sources.take import take_frames

                self._taken[key] = take_frames(self._source, manifest, self._count)
            else:
                drawn = self._draw(manifest)
                self._taken[key] = [as_input(picture, preprocess) for picture in drawn]
        return self._taken[key]

    def _draw(self, manifest: Manifest) -> list[NDArray[np.uint8]]:
        size = manifest.input_size
        low, high = DRAWABLE_PX
        if not all(low <= edge <= high for edge in size):
            return [np.roll(golden_frame(size), number, axis=1) for number in range(self._count)]
        from edge_runtime.street import StreetCamera, StreetOptions

        camera = StreetCamera(StreetOptions(size=size, seed=SEED))
        drawn = [camera.frame(number * STEP)[0] for number in range(self._count)]
        if manifest.preprocess.color == "RGB":
            return [np.ascontiguousarray(picture[..., ::-1]) for picture in drawn]
        return drawn
