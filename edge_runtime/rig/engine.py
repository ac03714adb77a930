"""The network that all cameras of a run share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.decode import mask_decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend


class Engine:
    """One backend with one set of buffers: from a picture to its mask, one at a time.

    Args:
        backend: already entered.
        manifest: of the backend's model.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.size = manifest.input_size
        """(height, width) of the pictures."""
        self.resize = manifest.preprocess.resize
        self.stamps = EngineStamps()
        """Of the latest inference."""
        self._backend = backend
        self._feed = backend.feeds[manifest.inputs[0].name][0]
        self._decode = mask_decoder(backend, manifest)

    def load(self, image: NDArray[np.uint8]) -> None:
        """Take the next picture, (height, width, 3) uint8 in the manifest's colour order."""
        np.copyto(self._feed, image)

    def infer(self) -> NDArray[np.uint8]:
        """The mask of the picture, (height, width) uint8 train ids, overwritten by the next one.

        Raises:
            BackendError: the engine failed.
        """
        self._backend.infer(self.stamps)
        return self._decode()
