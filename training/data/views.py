"""What training sees of a picture in an epoch: here alone a random view is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.data.augment import augment, paste_classes, sample_generator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from training.data.augment_options import AugmentOptions
    from training.data.datasets import Dataset

    View = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Views:
    """Random views of a data set's pictures, each a pure function of seed, epoch and index."""

    dataset: Dataset
    options: AugmentOptions
    seed: int
    frequencies: NDArray[np.float64] | None = None
    """(C,) share of each class, for rare crops."""

    def of(self, epoch: int, index: int) -> View:
        """The view of one picture: (h, w, 3) uint8 RGB and (h, w) uint8 train ids.

        Raises:
            SourceError: the picture, or the one mixed with it, cannot be read.
        """
        rng = sample_generator(self.seed, epoch, index)
        view = self._alone(epoch, index, rng)
        if self.options.class_mix > 0 and rng.random() < self.options.class_mix:
            other = int(rng.integers(len(self.dataset)))
            view = paste_classes(view, self._alone(epoch, other, rng), rng)
        return view

    def _alone(self, epoch: int, index: int, rng: np.random.Generator) -> View:
        sample = self.dataset.read(epoch, index)
        return augment(sample.image, sample.labels, self.options, rng, self.frequencies)
