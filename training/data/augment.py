"""Joint random views of an image and its labels.

Crop first: the source region of the crop is cut out and resized once, which costs a third of
resizing the whole image and then cropping. All randomness comes from the generator passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.options import AugmentOptions


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one sample: depends on nothing but its place in the run.

    So an interrupted run, or one with another number of workers, draws the same numbers.
    """
    return np.random.default_rng([seed, epoch, index])


def augment(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    options: AugmentOptions,
    rng: np.random.Generator,
    frequencies: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One random view.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids.
        options: what to vary and by how much.
        rng: the sample's own generator.
        frequencies: (C,) share of each class in the data set, for ``options.rare_crops``.

    Returns:
        ``(h, w, 3)`` uint8 RGB and ``(h, w)`` uint8 train ids with ``(h, w) == options.crop``;
        outside the source image the picture is black and the labels are 255 (ignored).
    """
    if options.rotate > 0:
        image, labels = _rotate(image, labels, float(rng.uniform(-1, 1)) * options.rotate)
    centre = None
    if options.rare_crops > 0 and frequencies is not None and rng.random() < options.rare_crops:
        centre = draw_rare_pixel(labels, frequencies, rng)
    region = draw_region(labels.shape[:2], options, rng, centre)
    height, width = options.crop
    image = cut(image, region, (0, 0, 0))
    labels = cut(labels, region, IGNORE_INDEX)
    smooth = cv2.INTER_AREA if region.height > height else cv2.INTER_LINEAR
    image = _resize(image, width, height, smooth)
    labels = _resize(labels, width, height, cv2.INTER_NEAREST_EXACT)
    if rng.random() < options.flip:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return photometric(np.ascontiguousarray(image), options, rng), labels


def _resize(array: NDArray[np.uint8], width: int, height: int, method: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(array, (width, height), interpolation=method), np.uint8)


@dataclass(frozen=True)
class Region:
    """A rectangle in source pixels; it may reach beyond the image."""

    top: int
    left: int
    height: int
    width: int


def draw_region(
    size: tuple[int, ...],
    options: AugmentOptions,
    rng: np.random.Generator,
    centre: tuple[int, int] | None = None,
) -> Region:
    """The part of a (height, width) image that fills the crop at a random zoom.

    It lies anywhere, or around `centre` (row, column) as far as the image reaches.
    """
    zoom = _draw_zoom(options, rng)
    height, width = (max(round(side / zoom), 1) for side in options.crop)
    if centre is not None:
        top, left = (
            _start_around(size[0], height, centre[0]),
            _start_around(size[1], width, centre[1]),
        )
        return Region(top, left, height, width)
    return Region(
        _draw_start(size[0], height, rng), _draw_start(size[1], width, rng), height, width
    )


def _draw_zoom(options: AugmentOptions, rng: np.random.Generator) -> float:
    if options.scale_probability < 1 and rng.random() >= options.scale_probability:
        return 1.0
    if options.scale_law == "uniform":
        return float(rng.uniform(*options.scale))
    low, high = np.log(options.scale)
    return float(np.exp(rng.uniform(low, high)))


def _draw_start(whole: int, part: int, rng: np.random.Generator) -> int:
    """First row or column of `part` in `whole`; negative where the part is the larger."""
    room = whole - part
    return int(rng.integers(min(room, 0), max(room, 0) + 1))


def _start_around(whole: int, part: int, centre: int) -> int:
    """As `_draw_start`, with `centre` in the middle of the part or as near to it as can be."""
    room = whole - part
    return min(max(centre - part // 2, min(room, 0)), max(room, 0))


def draw_rare_pixel(
    labels: NDArray[np.uint8], frequencies: NDArray[np.float64], rng: np.random.Generator
) -> tuple[int, int] | None:
    """A random pixel of a class of this picture, drawn by inverse frequency in the data set.

    Args:
        labels: (H, W) uint8 train ids.
        frequencies: (C,) share of each class.
        rng: the sample's own generator.

    Returns:
        (row, column); None if nothing is labelled.
    """
    counts = np.bincount(labels.ravel(), minlength=256)[: len(frequencies)]
    present = np.flatnonzero(counts)
    if len(present) == 0:
        return None
    # A class that the sampled frequencies missed is at most as rare as the rarest known one.
    rarity = 1 / np.maximum(frequencies[present], frequencies[frequencies > 0].min())
    chosen = present[np.searchsorted(np.cumsum(rarity / rarity.sum()), rng.random())]
    places = np.flatnonzero(labels.ravel() == chosen)
    row, column = divmod(int(places[rng.integers(len(places))]), labels.shape[1])
    return row, column


def _rotate(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], degrees: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both about the middle of the picture; what comes in from outside is black and ignored."""
    height, width = labels.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    turned = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR)
    ids = cv2.warpAffine(
        labels, turn, (width, height), flags=cv2.INTER_NEAREST, borderValue=IGNORE_INDEX
    )
    return np.asarray(turned, np.uint8), np.asarray(ids, np.uint8)


def cut(
    array: NDArray[np.uint8], region: Region, fill: int | tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The region of an (H, W[, 3]) array; `fill` where it lies outside."""
    bottom, right = region.top + region.height, region.left + region.width
    inner = array[max(region.top, 0) : bottom, max(region.left, 0) : right]
    margins = (
        max(-region.top, 0),
        max(bottom - array.shape[0], 0),
        max(-region.left, 0),
        max(right - array.shape[1], 0),
    )
    if not any(margins):
        return inner
    padded = cv2.copyMakeBorder(inner, *margins, cv2.BORDER_CONSTANT, value=fill)
    return np.asarray(padded, np.uint8)


def photometric(
    image: NDArray[np.uint8], options: AugmentOptions, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Random colours, blur and noise of an (H, W, 3) uint8 RGB image; labels are untouched."""
    if options.jitter > 0:
        image = _jitter(image, options.jitter, rng)
    if options.hue > 0:
        image = _turn_hue(image, float(rng.uniform(-options.hue, options.hue)))
    if rng.random() < options.blur:
        blurred = cv2.GaussianBlur(image, (0, 0), sigmaX=float(rng.uniform(0.3, 1.2)))
        image = np.asarray(blurred, np.uint8)
    if rng.random() < options.noise:
        sigma = rng.uniform(1.0, 8.0)
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def _jitter(
    image: NDArray[np.uint8], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Contrast, brightness and tint as one lookup table; saturation as a blend with grey."""
    contrast, saturation = rng.uniform(1 - strength, 1 + strength, 2)
    brightness = rng.uniform(-strength, strength) * 128
    tint = rng.uniform(1 - strength / 4, 1 + strength / 4, 3)  # per RGB channel: light colour
    ramp = np.arange(256, dtype=np.float64)[:, None]  # (256, 1)
    table = ((ramp - 128) * contrast + 128 + brightness) * tint  # (256, 3)
    coloured = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])  # (1, 256, 3)
    grey = cv2.cvtColor(cv2.cvtColor(coloured, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(coloured, saturation, grey, 1 - saturation, 0), np.uint8)


def _turn_hue(image: NDArray[np.uint8], turn: float) -> NDArray[np.uint8]:
    """An RGB image with its hues moved by `turn` of the colour circle."""
    table = (np.arange(256) + round(turn * 256)) % 256
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)  # hue in 256 steps
    hsv[:, :, 0] = table.astype(np.uint8)[hsv[:, :, 0]]
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def paste_classes(
    below: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    above: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Half of the classes of one view, drawn at random, pasted where they are over another.

    ClassMix (V. Olsson et al., WACV 2021, section 3.2), here with true labels on both sides.

    Args:
        below: (h, w, 3) uint8 RGB and (h, w) uint8 train ids.
        above: another pair of the same size.
        rng: the sample's own generator.
    """
    present = np.flatnonzero(np.bincount(above[1].ravel(), minlength=256)[:IGNORE_INDEX])
    table = np.zeros(256, bool)
    table[rng.permutation(present)[: (len(present) + 1) // 2]] = True
    pasted = table[above[1]]
    return (
        np.where(pasted[..., None], above[0], below[0]),
        np.where(pasted, above[1], below[1]),
    )
