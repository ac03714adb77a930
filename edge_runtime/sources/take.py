"""The first frames of a source, for what needs a few pictures and no stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError
from edge_runtime.redact import redact
from edge_runtime.video import SourceRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest

READ_TIMEOUT_S = 10.0
"""How long one frame of a source may take."""


def take_frames(source: str, manifest: Manifest, count: int) -> list[NDArray[np.uint8]]:
    """The first frames of a source, as a model takes them.

    Args:
        source: any source of `run`.
        manifest: of the model; says size, colour order and how pictures are resized.
        count: how many; a source may have fewer.

    Returns:
        At least one frame of uint8: (height, width, 3) in the model's colour order, or the bytes
        that a YUV model takes (`edge_runtime.pixels.YuvFormat.rows`).

    Raises:
        SourceError: the source cannot be read or gave no frame.
    """
    from edge_runtime.sources import open_source

    preprocess = manifest.preprocess
    request = SourceRequest(
        manifest.input_size, preprocess.resize, preprocess.color, preprocess.yuv, latest=False
    )
    frames: list[NDArray[np.uint8]] = []
    with open_source(source, request) as video:
        while len(frames) < count and not video.ended:
            frame = video.read(READ_TIMEOUT_S)
            if frame is None:
                break
            frames.append(frame.image.copy())
    if not frames:
        raise SourceError(f"{redact(source)} gave no frame; give another one")
    return frames
