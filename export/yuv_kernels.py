"""The first convolution on YUV instead of RGB: colour conversion, normalisation and it are one map.

The network normalises RGB, and zero is what its convolution pads with. Conversion and normalisation
are affine, so ``normalised = A @ (yuv - grey)``, where `grey` is the YUV value of the mean colour:
a frame less `grey` is padded with zeros too, and ``W @ A`` takes it, without a bias and exact up to
the border. Pixels that share a chroma value share its weight: where the convolution steps by two
pixels and padding ends at a pair of pixels, that is a smaller convolution over the chroma map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.yuv import to_rgb_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Preprocess
    from edge_runtime.pixels import YuvFormat

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kernel:
    """A convolution without bias."""

    weight: Array
    """(outputs, inputs, kh, kw)."""
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    """Zeros at (top, left, bottom, right)."""


@dataclass(frozen=True)
class YuvKernels:
    """The first convolution in parts whose results are added."""

    parts: tuple[Kernel, ...]
    """``nv12``: on Y (1, 1, H, W) and on U, V (1, 2, H/2, W/2); ``yuy2``: on Y, U, Y, V
    (1, 4, H, W/2)."""
    grey: Array
    """(3,) Y, U, V of the mean colour, to be taken off first."""


def fold(rgb: Kernel, preprocess: Preprocess, yuv: YuvFormat) -> YuvKernels:
    """The same convolution for YUV frames.

    Args:
        rgb: on normalised images (1, 3, H, W), H and W even, with strides of 2.
        preprocess: mean and standard deviation that its images are normalised with.
        yuv: the frames.
    """
    matrix, offset = to_rgb_matrix(yuv)
    mean, std = np.array(preprocess.mean), np.array(preprocess.std)
    grey = offset + np.linalg.solve(matrix, 255.0 * mean)
    weight = np.einsum("ochw,cy->oyhw", rgb.weight, matrix / (255.0 * std)[:, None])
    top, left, bottom, right = rgb.pads
    if yuv.pixels == "nv12":
        luma = Kernel(weight[:, :1], rgb.strides, rgb.pads)
        rows, above, below = _paired(weight[:, 1:], 2, top, bottom)
        both, before, behind = _paired(rows, 3, left, right)
        chroma = Kernel(both, (1, 1), (above, before, below, behind))
        return YuvKernels((luma, chroma), grey)
    pairs, before, behind = _paired(weight, 3, left, right)
    even, odd = (_paired(_of_parity(weight, left, half), 3, left, right)[0] for half in (0, 1))
    packed = np.stack([even[:, 0], pairs[:, 1], odd[:, 0], pairs[:, 2]], 1)
    return YuvKernels((Kernel(packed, (2, 1), (top, before, bottom, behind)),), grey)


def _paired(weight: Array, axis: int, before: int, behind: int) -> tuple[Array, int, int]:
    """A convolution of step 2 along `axis` as one of step 1 over pairs of pixels.

    Args:
        weight: by pixels.
        axis: of the weight.
        before: zeros in front of the first pixel.
        behind: zeros behind the last one.

    Returns:
        The taps of each pair added up; pairs of zeros in front and behind.
    """
    count = weight.shape[axis]
    places = [(tap - before) // 2 for tap in range(count)]
    first, last = places[0], places[-1]
    shape = list(weight.shape)
    shape[axis] = last - first + 1
    out = np.moveaxis(np.zeros(shape), axis, 0)
    for tap, place in enumerate(places):
        out[place - first] += np.take(weight, tap, axis)
    # As many results as by pixels: one a pair, and so many more.
    more = (before + behind - count) // 2 + 1
    return np.moveaxis(out, 0, axis), -first, last + more


def _of_parity(weight: Array, pad: int, parity: int) -> Array:
    """The taps on even (0) or odd (1) columns; zeros elsewhere."""
    columns: Array = ((np.arange(weight.shape[3]) - pad) % 2 == parity).astype(np.float64)
    return weight * columns
