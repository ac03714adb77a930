"""Labelled pictures as frames, and what each form scores on them at the labels' own size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.metrics import ConfusionMatrix
from edge_runtime.yuv import as_input
from training.data.datasets import open_dataset
from training.evaluation.placing import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from training.data.pairs import Split

    Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Accuracy:
    """What one form scores."""

    scores: dict[str, Any]
    """As `edge_runtime.metrics.Scores.as_json` has them."""
    confusion: list[list[int]]
    """(C, C) pixels, ``[label][prediction]``."""


class Labelled:
    """Pictures of a data set, evenly spread over it.

    Args:
        spec: such as ``camvid:DIR``.
        split: which part of it.
        count: how many; a split may have fewer.
        manifest: of the network.

    Raises:
        OptionError: its classes are not the network's.
        SourceError: the data cannot be read.
    """

    def __init__(self, spec: str, split: Split, count: int, manifest: Manifest) -> None:
        dataset = open_dataset(spec, split)
        if dataset.labels.names != manifest.labels.names:
            raise OptionError(
                f"{dataset.name} is labelled with {dataset.labels.name} "
                f"({len(dataset.labels)} classes), {manifest.name} has {manifest.labels.name} "
                f"({len(manifest.labels)}); choose data with the network's classes"
            )
        self.name = dataset.name
        self.frames: list[NDArray[np.uint8]] = []
        """As the network takes them."""
        self._labels: list[Mask] = []
        self._geometries: list[FrameGeometry] = []
        self._matrices: dict[str, ConfusionMatrix] = {}
        self._classes = manifest.labels
        for index in np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)):
            sample = dataset.read(0, int(index))
            self._add(sample.image, sample.labels, manifest)

    def _add(self, image: NDArray[np.uint8], labels: Mask, manifest: Manifest) -> None:
        preprocess = manifest.preprocess
        size = (image.shape[0], image.shape[1])
        geometry = FrameGeometry(
            size, manifest.input_size, preprocess.resize, even=preprocess.yuv is not None
        )
        rgb = place(image, geometry)
        ordered = rgb if preprocess.color == "RGB" else rgb[..., ::-1]
        self.frames.append(np.ascontiguousarray(as_input(ordered, preprocess)))
        self._labels.append(labels)
        self._geometries.append(geometry)

    def score(self, number: int, masks: Mapping[str, Mask]) -> None:
        """Count the masks of a frame.

        Args:
            number: of the frame.
            masks: by form, (H, W) uint8 in the network's size.

        Raises:
            OptionError: a mask holds an id that is no class.
        """
        for name, mask in masks.items():
            matrix = self._matrices.setdefault(name, ConfusionMatrix(self._classes))
            matrix.update(self._labels[number], self._geometries[number].mask_to_frame(mask))

    @property
    def accuracy(self) -> dict[str, Accuracy]:
        """By form, the reference's first.

        Raises:
            OptionError: no pixel of the pictures is labelled.
        """
        return {
            name: Accuracy(matrix.scores().as_json(), matrix.counts.tolist())
            for name, matrix in self._matrices.items()
        }
