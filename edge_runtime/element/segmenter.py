"""A network for pictures of any size and channel order, without GStreamer.

Geometry and scaling are those of `edge_runtime.sources`: bilinear with two taps, pixel centres at
one half, and the same rectangle of the network's input; so masks equal those of ``hyperseg run``
but for roundings of the scaler.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import EngineStamps
from edge_runtime.decode import mask_decoder, mask_size
from edge_runtime.geometry import FrameGeometry
from edge_runtime.pixels import require_rgb
from edge_runtime.serving import serve
from edge_runtime.zoo import is_non_commercial, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.options import RunOptions

WARM_UP = 2
"""Inferences before the first frame; the last one is timed."""

_CONVERSIONS = {
    (3, False): cv2.COLOR_BGR2RGB,
    (4, True): cv2.COLOR_BGRA2BGR,
    (4, False): cv2.COLOR_BGRA2RGB,
}
"""By the picture's channels and whether its order is the network's; OpenCV's codes only swap."""


@dataclass(frozen=True)
class Picture:
    """Format of the pictures of a stream."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    channels: int
    """3, or 4 of which the last means nothing."""
    order: str
    """``RGB`` or ``BGR``."""
    pixel_aspect_ratio: tuple[int, int] = (1, 1)
    """(numerator, denominator): width of one pixel over its height."""


class Segmenter:
    """Runs an entered backend on pictures. For one thread at a time.

    Args:
        backend: already entered.
        manifest: of the backend's model.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.manifest = manifest
        self._backend = backend
        self._feed: NDArray[np.uint8] = backend.feeds[manifest.inputs[0].name][0]
        self._decode = mask_decoder(backend, manifest)
        self._stamps = EngineStamps()
        self._picture: Picture | None = None
        self._content = (0, 0, *manifest.input_size)
        self._scratch = np.zeros((0, 0, 3), np.uint8)

    def expect(self, picture: Picture) -> None:
        """Prepare for pictures of this format."""
        height, width = picture.size
        across, down = picture.pixel_aspect_ratio
        square = height, max(round(width * across / down), 1)
        resize = self.manifest.preprocess.resize
        self._content = FrameGeometry(square, self.manifest.input_size, resize).content
        self._scratch = np.zeros((*self._content[2:], picture.channels), np.uint8)
        self._feed.fill(0)
        self._picture = picture

    def warm_up(self) -> int:
        """Infer black pictures; the duration of the last one in nanoseconds."""
        duration_ns = 0
        for _ in range(WARM_UP):
            start = time.monotonic_ns()
            self._backend.infer(self._stamps)
            self._decode()
            duration_ns = time.monotonic_ns() - start
        return duration_ns

    def segment(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask of a picture.

        Args:
            pixels: as `expect` has announced, (height, width, channels) uint8; rows may be padded.

        Returns:
            (h, w) uint8 train ids at the network's scale, covering the whole picture; overwritten
            by the next call.

        Raises:
            BackendError: the engine failed.
        """
        assert self._picture is not None
        top, left, height, width = self._content
        inside = self._feed[top : top + height, left : left + width]
        self._lay(pixels, inside, self._picture)
        self._backend.infer(self._stamps)
        return self._decode()[top : top + height, left : left + width]

    def _lay(self, pixels: NDArray[np.uint8], inside: NDArray[np.uint8], picture: Picture) -> None:
        same_order = picture.order == self.manifest.preprocess.color
        code = _CONVERSIONS.get((picture.channels, same_order))
        height, width = inside.shape[:2]
        target = inside if code is None else self._scratch
        if pixels.shape[:2] != (height, width):
            cv2.resize(pixels, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
            pixels = target
        if code is not None:
            cv2.cvtColor(pixels, code, dst=inside)
        elif pixels is not target:
            np.copyto(inside, pixels)


@contextmanager
def open_segmenter(
    model: str, options: RunOptions, say: Callable[[str], None]
) -> Iterator[Segmenter]:
    """Open a model as ``hyperseg run`` does.

    Args:
        model: a file with its manifest, or the name of a shipped model.
        options: `threads`, `rebuild`, `store`.
        say: takes lines about terms and engines, also from another thread.

    Raises:
        HypersegError: no such model, one that takes YUV, or nothing here runs it.
    """
    path = resolve_model(model)
    manifest = read_manifest(path)
    require_rgb(manifest)
    mask_size(manifest)
    if is_non_commercial(manifest.license):
        say(f"{manifest.name}: {manifest.license}")
    with serve(path, manifest, options, say) as served:
        yield Segmenter(served.backend, served.manifest)
