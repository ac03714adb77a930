"""A sheet of the worst images: picture, label, prediction and errors, one row each.

Drawn with PIL, which reading data needs anyway; charts with axes are `training.evaluation.charts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_runtime.artifacts import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from training.data.datasets import Dataset
    from training.evaluation.observers import Ranked

WRONG = (255, 40, 40)
"""Colour of wrong pixels in an error map."""
_PANELS = ("image", "label (black: not scored)", "prediction", "errors (red)")
_WIDTH = 400
"""Widest panel in pixels; larger pictures are scaled down."""
_GAP, _LINE, _TEXT = 6, 24, 15
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


def draw_worst(path: Path, dataset: Dataset, ranked: Sequence[Ranked]) -> None:
    """Write the sheet as a PNG, complete or not at all.

    Args:
        path: where.
        dataset: of which the images are read again.
        ranked: the images with their predictions, in the order of the rows.

    Raises:
        OptionError: the place cannot be written.
        SourceError: an image cannot be read.
    """
    rows = [_row(dataset, image, number) for number, image in enumerate(ranked, 1)]
    width = max([row.width for row in rows], default=len(_PANELS) * _WIDTH)
    parts = [_header(width), *rows, _legend(dataset.labels, width)]
    sheet = Image.new("RGB", (width, sum(part.height for part in parts)), _PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    with atomic_file(path) as aside:
        sheet.save(aside, format="PNG")


def error_map(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    ignore_index: int,
) -> NDArray[np.uint8]:
    """Where a prediction is wrong.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids.
        prediction: (H, W) uint8 train ids.
        ignore_index: the id that is not scored.

    Returns:
        (H, W, 3) uint8 RGB: wrong pixels `WRONG`, unscored ones black, right ones a dim grey image.
    """
    dim = (image.mean(axis=2) * 0.6).astype(np.uint8)
    errors = np.repeat(dim[:, :, None], 3, axis=2)
    errors[labels != prediction] = WRONG
    errors[labels == ignore_index] = 0
    return errors


def _row(dataset: Dataset, ranked: Ranked, number: int) -> Image.Image:
    """The four panels of one image under its name and IoU."""
    image, labels = dataset.read(0, ranked.index)
    colours = dataset.labels.lookup_table()  # (256, 3); ids without a class are black
    errors = error_map(image, labels, ranked.prediction, dataset.labels.ignore_index)
    height, width = labels.shape
    size = (min(width, _WIDTH), max(round(height * min(width, _WIDTH) / width), 1))
    row = Image.new("RGB", (len(_PANELS) * (_WIDTH + _GAP), _LINE + size[1] + _GAP), _PAPER)
    _write(row, (0, 2), f"{number}. {ranked.name}   IoU {100 * ranked.iou:.1f} %")
    panels = (image, colours[labels], colours[ranked.prediction], errors)
    for place, panel in enumerate(panels):
        # Means of colours would show classes that are not there.
        method = Image.Resampling.LANCZOS if place == 0 else Image.Resampling.NEAREST
        shown = Image.fromarray(np.ascontiguousarray(panel)).resize(size, method)
        row.paste(shown, (place * (_WIDTH + _GAP), _LINE))
    return row


def _header(width: int) -> Image.Image:
    header = Image.new("RGB", (width, _LINE), _PAPER)
    for place, text in enumerate(_PANELS):
        _write(header, (place * (_WIDTH + _GAP), 2), text)
    return header


def _legend(labels: LabelSet, width: int) -> Image.Image:
    """Class names beside their colours, in as many lines as they take."""
    places, left, top = [], 0, _GAP
    for name in labels.names:
        length = _LINE + int(_font().getlength(name)) + 2 * _GAP
        if left > 0 and left + length > width:
            left, top = 0, top + _LINE
        places.append((left, top))
        left += length
    legend = Image.new("RGB", (width, top + _LINE + _GAP), _PAPER)
    pen = ImageDraw.Draw(legend)
    for name, colour, (left, top) in zip(labels.names, labels.palette, places, strict=True):
        pen.rectangle((left, top + 2, left + 18, top + 18), fill=colour, outline=_INK)
        _write(legend, (left + _LINE, top), name)
    return legend


def _write(picture: Image.Image, place: tuple[int, int], text: str) -> None:
    ImageDraw.Draw(picture).text(place, text, fill=_INK, font=_font())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
