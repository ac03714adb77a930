"""The built-in test camera: a drive along a procedural street, delivered live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class StreetPictures:
    """Frames of `edge_runtime.street` at a camera's pace; frame n always shows the same picture."""

    def __init__(
        self, size: tuple[int, int], *, fps: float, seed: int, frames: int | None = None
    ) -> None:
        """Set up the camera.

        Args:
            size: (height, width) in pixels.
            fps: frames a second.
            seed: which street.
            frames: after how many frames it ends; None never ends.

        Raises:
            OptionError: a value the street cannot be drawn with.
        """
        from edge_runtime.street import StreetCamera, StreetOptions

        self.fps: float | None = fps
        self._frames = frames
        self._camera = StreetCamera(StreetOptions(size=size, seed=seed, fps=fps))

    def picture(self, index: int) -> NDArray[np.uint8] | None:
        """Frame `index`, (H, W, 3) uint8 BGR, or None behind the last one."""
        if self._frames is not None and index >= self._frames:
            return None
        return self._camera.frame(index)[0]
