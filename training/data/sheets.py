"""Sheets of labelled pictures: the labels in class colours over the image, and a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from edge_runtime.artifacts import atomic_file
from edge_runtime.labels import IGNORE_INDEX
from training.data.label_map import read_rgb
from training.data.pairs import parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from training.data.check_report import CheckReport
    from training.data.layouts import Pair
    from training.data.pairs import StoredData

_TILE = (240, 320)
"""(height, width) into which a picture is fitted, in pixels."""
_CAPTION, _MARGIN, _ROW = 18, 6, 20
_ALPHA = 0.55
"""Weight of the colours against the picture."""
_UNKNOWN = (255, 0, 255)
"""BGR of what has an unknown id; no built-in label set has it."""
_NOT_SHOWN = ("unreadable file", "unusable label format", "size mismatch", "turned image")
"""Problems of pairs that cannot be drawn."""
_FONT, _TEXT, _PAPER = cv2.FONT_HERSHEY_SIMPLEX, (235, 235, 235), (32, 32, 32)


class Tile(NamedTuple):
    """One picture of a sheet."""

    caption: str
    picture: NDArray[np.uint8]
    """(H, W, 3) uint8 BGR of any size."""


def draw_labels(
    image: NDArray[np.uint8],
    train_ids: NDArray[np.uint8],
    labels: LabelSet,
    unknown: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The image under its labels; ignored pixels are dark, unknown ones magenta.

    Args:
        image: (H, W, 3) uint8 RGB.
        train_ids: (H, W) uint8; 255 is ignored.
        labels: the classes.
        unknown: (H, W) bool; where the stored id has no meaning.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    colours = labels.lookup_table(bgr=True)[train_ids]
    picture = np.ascontiguousarray(image[..., ::-1])
    drawn = np.asarray(cv2.addWeighted(picture, 1 - _ALPHA, colours, _ALPHA, 0), np.uint8)
    drawn[train_ids == IGNORE_INDEX] //= 2
    if unknown is not None:
        drawn[unknown] = _UNKNOWN
    return drawn


def compose(tiles: Sequence[Tile], labels: LabelSet, columns: int = 4) -> NDArray[np.uint8]:
    """All tiles in rows with their captions, and the legend below; (H, W, 3) uint8 BGR."""
    columns = max(min(columns, len(tiles)), 1)
    rows = -(-len(tiles) // columns)
    step = _TILE[0] + _CAPTION + _MARGIN, _TILE[1] + _MARGIN
    width = columns * step[1] + _MARGIN
    legend = _legend(labels, width)
    canvas = np.full((rows * step[0] + _MARGIN, width, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = _MARGIN + row * step[0], _MARGIN + column * step[1]
        fitted = _fit(tile.picture)
        height, breadth = fitted.shape[:2]
        canvas[top + _CAPTION : top + _CAPTION + height, left : left + breadth] = fitted
        _write(canvas, _shortened(tile.caption), (left, top + _CAPTION - 5))
    return np.concatenate([canvas, legend])


def _fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = min(_TILE[0] / height, _TILE[1] / width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def _shortened(text: str) -> str:
    """As much of the end of a name as fits over a tile."""
    while text and cv2.getTextSize(text, _FONT, 0.4, 1)[0][0] > _TILE[1]:
        text = text[1:]
    return text


def _write(canvas: NDArray[np.uint8], text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, _FONT, 0.4, _TEXT, 1, cv2.LINE_AA)


def _legend(labels: LabelSet, width: int) -> NDArray[np.uint8]:
    """Square and name of each class, in as many rows as it takes; (h, width, 3) uint8 BGR."""
    table = labels.lookup_table(bgr=True)
    entries = [(name, tuple(map(int, table[i]))) for i, name in enumerate(labels.names)]
    entries += [("unknown id", _UNKNOWN)]
    places, left, row = [], _MARGIN, 0
    for name, colour in entries:
        length = cv2.getTextSize(name, _FONT, 0.4, 1)[0][0] + 34
        if left + length > width and left > _MARGIN:
            left, row = _MARGIN, row + 1
        places.append((name, colour, left, row))
        left += length
    canvas = np.full(((row + 1) * _ROW + _MARGIN, width, 3), _PAPER, np.uint8)
    for name, colour, left, line in places:
        top = line * _ROW + 3
        cv2.rectangle(canvas, (left, top), (left + 14, top + 14), colour, cv2.FILLED)
        _write(canvas, name, (left + 20, top + 12))
    return canvas


def check_sheet(data: StoredData, report: CheckReport, count: int = 24) -> NDArray[np.uint8]:
    """A sheet of a checked data set: pairs with problems first, then evenly picked ones.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        SourceError: a file has changed since the check.
    """
    tiles = []
    for split, pair in _picked(data, report, count):
        train_ids, unknown = data.label_map.show(pair.label)
        picture = draw_labels(read_rgb(pair.image), train_ids, data.labels, unknown)
        tiles.append(Tile(f"{split}: {pair.image.stem}", picture))
    return compose(tiles, data.labels)


def _picked(data: StoredData, report: CheckReport, count: int) -> list[tuple[str, Pair]]:
    unseen = {problem.file for problem in report.problems if problem.kind in _NOT_SHOWN}
    bad = {problem.file for problem in report.problems if problem.file}
    pairs = [
        (split, pair)
        for split in report.splits
        for part in parts_of(split)  # type: ignore[arg-type]  # the report's keys are splits
        for pair in data.layout.listing(part).pairs
        if not {str(pair.image), str(pair.label)} & unseen
    ]
    first = [entry for entry in pairs if {str(entry[1].image), str(entry[1].label)} & bad]
    rest = [entry for entry in pairs if entry not in set(first)]
    chosen = first[: count // 2] if rest else first[:count]
    room = min(count - len(chosen), len(rest))
    return chosen + [rest[i] for i in np.linspace(0, len(rest) - 1, room).astype(int)]


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a (H, W, 3) uint8 BGR sheet as PNG, completely or not at all.

    Raises:
        OptionError: the place cannot be written.
    """
    with atomic_file(path) as part:
        part.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
