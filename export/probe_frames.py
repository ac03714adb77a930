"""Frames to compare two forms of a network on: from a seed alone, or from the user's source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.yuv import as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest

Triple = tuple[float, float, float]

NOISE_CELL = 16
"""Edge in pixels of a patch of one colour in the noise frames."""


def probe_frames(
    size: tuple[int, int],
    count: int,
    mean: Triple,
    std: Triple,
    *,
    bgr: bool = False,
    seed: int = 0,
) -> list[NDArray[np.uint8]]:
    """Smooth noise and street scenes by turns.

    The noise has the mean and deviation that the network's normalisation takes out, so that even
    a network that never saw a picture meets values of unit scale.

    Args:
        size: (height, width).
        count: how many.
        mean: of the network's colours in 0..1.
        std: of the same.
        bgr: give the street's colours in BGR order.
        seed: of the first frame; the others follow.

    Returns:
        (height, width, 3) uint8 frames.
    """
    from edge_runtime.street import StreetCamera, StreetOptions

    drawable = all(32 <= edge <= 4096 for edge in size)
    frames: list[NDArray[np.uint8]] = []
    for number in range(count):
        if number % 2 and drawable:
            scene, _ = StreetCamera(StreetOptions(size=size, seed=seed + number)).frame(0)
            frames.append(np.ascontiguousarray(scene if bgr else scene[..., ::-1]))
        else:
            frames.append(_noise(size, seed + number, mean, std))
    return frames


def frames_for(
    manifest: Manifest, source: str | None, count: int, seed: int = 0
) -> list[NDArray[np.uint8]]:
    """Frames as a model takes them, from a source or drawn.

    Args:
        manifest: of the model; says size, colour order and how pictures are resized.
        source: any source of `run`; None draws them.
        count: how many; a source may have fewer.
        seed: of the drawn ones.

    Returns:
        At least one frame of uint8: (height, width, 3) in the model's colour order, or the bytes
        that a YUV model takes.

    Raises:
        SourceError: the source cannot be read or gave no frame.
    """
    preprocess = manifest.preprocess
    if source is None:
        bgr = preprocess.color == "BGR"
        pictures = probe_frames(
            manifest.input_size, count, preprocess.mean, preprocess.std, bgr=bgr, seed=seed
        )
        return [as_input(picture, preprocess) for picture in pictures]
    from edge_runtime.sources.take import take_frames

    return take_frames(source, manifest, count)


def _noise(size: tuple[int, int], seed: int, mean: Triple, std: Triple) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    cells = tuple(-(-edge // NOISE_CELL) for edge in size)
    coarse = rng.standard_normal((*cells, 3)).repeat(NOISE_CELL, 0).repeat(NOISE_CELL, 1)
    blobs = coarse[: size[0], : size[1]] + 0.3 * rng.standard_normal((*size, 3))
    value: NDArray[np.float64] = 255.0 * (np.array(mean) + np.array(std) * blobs)
    return np.clip(value, 0, 255).astype(np.uint8)
