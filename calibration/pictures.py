"""The frames on which an INT8 model does worst, as pictures for a report."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibration.samples import network_frame
from edge_runtime.geometry import FrameGeometry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from calibration.judge import Runner, WorstFrame
    from calibration.labelled import Labelled
    from edge_runtime.artifacts import Manifest
    from edge_runtime.labels import LabelSet

WIDTH = 320
"""Of a picture in a report, in pixels."""
SHOWN = 4
"""Frames with pictures."""


@dataclass(frozen=True)
class FramePictures:
    """One frame seen by several models."""

    name: str
    agreement: float
    """Share of the pixels, 0..1, that INT8 and float models give the same class."""
    panels: dict[str, str]
    """Caption -> ``data:`` address of a PNG."""


def picture_frames(
    models: Mapping[str, Runner], data: Labelled, manifest: Manifest, worst: Sequence[WorstFrame]
) -> list[FramePictures]:
    """The first of the worst frames: image, labels, every model's mask, where the outer two differ.

    Args:
        models: by caption; the float model first, the INT8 model last.
        data: what was judged on.
        manifest: of the float model.
        worst: frames of `data`.
    """
    found = []
    for frame in worst[:SHOWN]:
        name, image, labels = data.read(frame.index)
        height, width = labels.shape
        geometry = FrameGeometry((height, width), manifest.input_size, manifest.preprocess.resize)
        pixels = network_frame(image, manifest)
        masks = {
            caption: geometry.mask_to_frame(runner.mask(pixels))
            for caption, runner in models.items()
        }
        first, *_, last = masks.values()
        panels = {"image": image, "labels": _coloured(labels, data.labels)}
        panels |= {caption: _coloured(mask, data.labels) for caption, mask in masks.items()}
        panels["different"] = _marked(image, first != last)
        found.append(
            FramePictures(
                name, frame.agreement, {caption: _png(one) for caption, one in panels.items()}
            )
        )
    return found


def _coloured(mask: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.uint8]:
    return np.asarray(labels.lookup_table(bgr=True)[mask], np.uint8)


def _marked(image: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image, pale, with red (BGR) where two masks differ."""
    marked = (image // 3 + 150).astype(np.uint8)
    marked[where] = (0, 0, 220)
    return marked


def _png(image: NDArray[np.uint8]) -> str:
    import cv2

    height = max(round(image.shape[0] * WIDTH / image.shape[1]), 1)
    small = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_NEAREST)
    _, content = cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(content.tobytes()).decode()
