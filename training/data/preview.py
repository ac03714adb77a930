"""What training sees of a data set: stored images beside random views of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.data.class_balance import class_frequencies
from training.data.datasets import open_dataset
from training.data.sheets import Tile, compose, draw_labels
from training.data.views import Views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.pairs import Split
    from training.options import AugmentOptions


def preview_sheet(
    spec: str, split: Split, options: AugmentOptions, *, count: int, epochs: int, seed: int
) -> NDArray[np.uint8]:
    """A row for each of `count` evenly picked images: itself and its views in epochs 0, 1, ...

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        OptionError: the specification is not understood.
        SourceError: an image cannot be read.
    """
    dataset = open_dataset(spec, split)
    frequencies = class_frequencies(dataset) if options.rare_crops > 0 else None
    views = Views(dataset, options, seed, frequencies)
    tiles = []
    picked = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
    for index in picked.tolist():
        sample = dataset.read(0, index)
        drawn = draw_labels(sample.image, sample.labels, dataset.labels)
        tiles.append(Tile(f"{split} {index}", drawn))
        for epoch in range(epochs):
            drawn = draw_labels(*views.of(epoch, index), dataset.labels)
            tiles.append(Tile(f"epoch {epoch}", drawn))
    return compose(tiles, dataset.labels, columns=1 + epochs)
