"""From a shot to what a browser shows or a user keeps."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from edge_runtime.web.tap import Shot

SHOWN_WIDTH = 960
"""Pixels; wider pictures are scaled down for the page, and whole in a snapshot."""
QUALITY = 80
ALPHA = 0.5
"""Weight of the colours against the picture where the viewer cannot choose."""
_BLOCK = 16
"""Rows that a JPEG codes together, with colours at half the resolution."""
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def pair(shot: Shot, labels: LabelSet) -> bytes:
    """A JPEG of the picture in its upper half and its coloured mask in the lower one.

    One image, because a mask must never be laid over another picture than its own. Each half has
    the rows of `shown_size`, and some more so that it begins with a block of the JPEG: else the
    colours of one would run into the other.
    """
    height, width = shown_size(shot)
    rows = height + -height % _BLOCK
    canvas = np.empty((2 * rows, width, 3), np.uint8)
    _show(shot, labels, canvas[:height], canvas[rows : rows + height])
    for top in (0, rows):
        canvas[top + height : top + rows] = canvas[top + height - 1]
    return _encode(".jpg", canvas, _JPEG)


def shown_size(shot: Shot) -> tuple[int, int]:
    """(height, width) of what the page shows."""
    height, width = shot.picture.shape[:2]
    if width <= SHOWN_WIDTH:
        return height, width
    return max(round(height * SHOWN_WIDTH / width), 1), SHOWN_WIDTH


def overlay(shot: Shot, labels: LabelSet) -> bytes:
    """A JPEG of the picture with the mask in colours over it."""
    picture, colours = np.empty((2, *shown_size(shot), 3), np.uint8)
    _show(shot, labels, picture, colours)
    return _encode(".jpg", _blend(picture, colours), _JPEG)


def ratios(shot: Shot, labels: LabelSet) -> list[float]:
    """Share of the picture that each class has, 0..1, in the order of the label set."""
    top, left, height, width = shot.geometry.content
    inner = shot.mask[top : top + height, left : left + width]
    counts = cv2.calcHist([inner], [0], None, [256], [0, 256]).ravel()
    return [round(float(count) / inner.size, 5) for count in counts[: len(labels)]]


def snapshot(shot: Shot, labels: LabelSet) -> bytes:
    """A ZIP of one frame: picture, mask of train ids and overlay as PNG, and what is known of it.

    All at the size of the frame, without loss.
    """
    mask = shot.geometry.mask_to_frame(shot.mask)
    colours = np.asarray(
        cv2.applyColorMap(mask, labels.lookup_table(bgr=True)[:, None, :]), np.uint8
    )
    files = {
        "frame.png": _encode(".png", shot.picture, _PNG),
        "mask.png": _encode(".png", mask, _PNG),
        "overlay.png": _encode(".png", _blend(shot.picture, colours), _PNG),
        "frame.json": _facts(shot, labels),
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def _facts(shot: Shot, labels: LabelSet) -> bytes:
    classes = [
        {"id": number, "name": name, "rgb": colour, "ratio": ratio}
        for number, (name, colour, ratio) in enumerate(
            zip(labels.names, labels.palette, ratios(shot, labels), strict=True)
        )
    ]
    facts = {
        "index": shot.index,
        "pts_ns": shot.pts_ns,
        "capture_ns": shot.capture_ns,
        "publish_ns": shot.publish_ns,
        "timestamp_source": shot.timestamp_source,
        "late": shot.late,
        "model": shot.model,
        "labels": labels.name,
        "classes": classes,
    }
    return (json.dumps(facts, indent=2) + "\n").encode()


def _show(
    shot: Shot, labels: LabelSet, picture: NDArray[np.uint8], colours: NDArray[np.uint8]
) -> None:
    """Fill `picture` and `colours`, (height, width, 3) uint8 BGR of `shown_size`.

    By OpenCV alone, which lets other threads of the interpreter go on meanwhile.
    """
    height, width = picture.shape[:2]
    if shot.picture.shape == picture.shape:
        np.copyto(picture, shot.picture)
    else:
        cv2.resize(shot.picture, (width, height), dst=picture, interpolation=cv2.INTER_AREA)
    top, left, inner_height, inner_width = shot.geometry.content
    inner = shot.mask[top : top + inner_height, left : left + inner_width]
    mask = cv2.resize(inner, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    cv2.applyColorMap(mask, labels.lookup_table(bgr=True)[:, None, :], dst=colours)


def _blend(picture: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.addWeighted(picture, 1 - ALPHA, colours, ALPHA, 0), np.uint8)


def _encode(kind: str, picture: NDArray[np.uint8], options: list[int]) -> bytes:
    done, data = cv2.imencode(kind, picture, options)
    assert done, f"a picture of {picture.shape} does not become {kind}"
    return bytes(data.data)
