"""The worst images of an evaluation, as pictures within a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.page.pictures import panels, photo, png, swatches
from training.evaluation.pictures import error_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from training.data.datasets import Dataset
    from training.evaluation.observers import Ranked

SHOWN = 4
"""Worst images on a page."""


def worst_frames(dataset: Dataset, ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    """The first of the worst images with their pictures, as plain values.

    Args:
        dataset: of which the images are read again.
        ranked: worst first.

    Raises:
        SourceError: an image cannot be read.
    """
    return [
        {"name": one.name, "iou": one.iou, "panels": _panels(dataset, one)}
        for one in ranked[:SHOWN]
    ]


def frames_part(frames: Iterable[Mapping[str, Any]], colours: Mapping[str, str]) -> str:
    """What `worst_frames` gave, under a legend of the classes, as HTML; nothing for none."""
    shown = "".join(
        panels(f"{frame['name']}: IoU {100 * frame['iou']:.1f} %", frame["panels"])
        for frame in frames
    )
    return swatches(colours) + shown if shown else ""


def _panels(dataset: Dataset, ranked: Ranked) -> dict[str, str]:
    image, labels = dataset.read(0, ranked.index)
    colours = dataset.labels.lookup_table(bgr=True)
    errors = error_map(image, labels, ranked.prediction, dataset.labels.ignore_index)
    return {
        "image": photo(_bgr(image)),
        "label (black: not scored)": png(colours[labels]),
        "prediction": png(colours[ranked.prediction]),
        "errors (red)": photo(_bgr(errors)),
    }


def _bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[..., ::-1])
