"""The frames on which an INT8 model does worst, as pictures for a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibration.samples import network_frame
from edge_runtime.geometry import FrameGeometry
from edge_runtime.page.pictures import marked, png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from calibration.judge import Runner, WorstFrame
    from calibration.labelled import Labelled
    from edge_runtime.artifacts import Manifest
    from edge_runtime.labels import LabelSet

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
        coloured = {"labels": labels, **masks}
        panels = {"image": png(image)}
        panels |= {caption: png(_coloured(mask, data.labels)) for caption, mask in coloured.items()}
        panels["different"] = marked(image, first != last)
        found.append(FramePictures(name, frame.agreement, panels))
    return found


def _coloured(mask: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.uint8]:
    return np.asarray(labels.lookup_table(bgr=True)[mask], np.uint8)
