"""From RGB to the bytes a YUV model takes, and back: ITU-R BT.601 and BT.709, 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Preprocess
    from edge_runtime.pixels import Matrix, Range, YuvFormat

LUMA: dict[Matrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Shares of red and of blue in luma; the rest is green."""
SPANS: dict[Range, tuple[float, float, float]] = {
    "limited": (16.0, 219.0, 224.0),
    "full": (0.0, 255.0, 255.0),
}
"""Luma of black, span of luma, span of chroma."""
GREY = 128.0
"""U and V without colour."""


def to_rgb_matrix(yuv: YuvFormat) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The conversion to RGB as ``rgb = matrix @ ((y, u, v) - offset)``, all on 0 to 255.

    Returns:
        matrix: (3, 3), rows R, G, B; columns Y, U, V.
        offset: (3,).
    """
    red, blue = LUMA[yuv.matrix]
    green = 1.0 - red - blue
    black, luma, chroma = SPANS[yuv.range]
    of_v, of_u = 2.0 * (1.0 - red), 2.0 * (1.0 - blue)
    matrix = np.array([
        [1.0, 0.0, of_v],
        [1.0, -of_u * blue / green, -of_v * red / green],
        [1.0, of_u, 0.0],
    ])  # fmt: skip
    return matrix * (255.0 / np.array([luma, chroma, chroma])), np.array([black, GREY, GREY])


def planes(rows: NDArray[Any], yuv: YuvFormat) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Views of Y (H, W), U and V of a frame's bytes.

    Args:
        rows: as `YuvFormat.rows` says.
        yuv: what they mean.

    Returns:
        Y, U, V; chroma is (H/2, W/2) of ``nv12`` and (H, W/2) of ``yuy2``.
    """
    if yuv.pixels == "yuy2":
        return rows[:, ::2], rows[:, 1::4], rows[:, 3::4]
    height = rows.shape[0] * 2 // 3
    return rows[:height], rows[height:, ::2], rows[height:, 1::2]


def black_frame(yuv: YuvFormat, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame of (height, width) black pixels, as `YuvFormat.rows` says."""
    rows = np.full(yuv.rows(size), int(GREY), np.uint8)
    planes(rows, yuv)[0][...] = int(SPANS[yuv.range][0])
    return rows


def from_rgb(picture: NDArray[np.uint8], yuv: YuvFormat) -> NDArray[np.uint8]:
    """A picture as a camera with this pixel format would deliver it.

    Chroma is the mean over the pixels that share it; all values are rounded to the nearest.

    Args:
        picture: (H, W, 3) uint8 RGB, H and W even.
        yuv: the format.

    Returns:
        uint8, as `YuvFormat.rows` says.
    """
    matrix, offset = to_rgb_matrix(yuv)
    full = picture.astype(np.float64) @ np.linalg.inv(matrix).T + offset
    height, width, _ = full.shape
    down = 2 if yuv.pixels == "nv12" else 1
    chroma = full[..., 1:].reshape(height // down, down, width // 2, 2, 2).mean((1, 3))
    rows = np.empty(yuv.rows((height, width)), np.uint8)
    for place, values in zip(
        planes(rows, yuv), (full[..., 0], chroma[..., 0], chroma[..., 1]), strict=True
    ):
        place[...] = np.clip(np.rint(values), 0, 255)
    return rows


def to_rgb(rows: NDArray[np.uint8], yuv: YuvFormat) -> NDArray[np.float64]:
    """The colours that a YUV model sees: each pixel has the chroma it shares; nothing is clipped.

    Args:
        rows: as `YuvFormat.rows` says.
        yuv: what they mean.

    Returns:
        (H, W, 3) float64 RGB. Bytes that stand for no colour lie outside 0 to 255.
    """
    luma, *chroma = planes(rows, yuv)
    down = 2 if yuv.pixels == "nv12" else 1
    parts = [luma, *(plane.repeat(down, 0).repeat(2, 1) for plane in chroma)]
    matrix, offset = to_rgb_matrix(yuv)
    colours: NDArray[np.float64] = (np.stack(parts, -1).astype(np.float64) - offset) @ matrix.T
    return colours


def as_input(picture: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """A picture as the model takes it: as it is, or as the bytes of its pixel format.

    Args:
        picture: (H, W, 3) uint8 of the input's size, in the colour order of `preprocess`.
        preprocess: of the model.

    Returns:
        (H, W, 3) uint8, or as `YuvFormat.rows` says.
    """
    return picture if preprocess.yuv is None else from_rgb(picture, preprocess.yuv)
