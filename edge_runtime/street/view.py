"""The pinhole camera: from road coordinates to pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge_runtime.street.world import World

NEAREST = 0.9
"""Nothing closer to the camera than this is drawn, metres."""
Point = tuple[float, float]
_BEND_STEP = 1.0
_BEND_BACK = 40.0
_BEND_AHEAD = 240.0


class View:
    """Where the camera is and where it looks at one moment.

    Args:
        world: gives the course of the road.
        size: (height, width) of the picture in pixels.
        focal: focal length in pixels.
        horizon: row of the horizon.
        eye: place along the road, metres.
        x: place across the road, metres.
        height: above the road, metres.
    """

    def __init__(
        self,
        world: World,
        *,
        size: tuple[int, int],
        focal: float,
        horizon: float,
        eye: float,
        x: float,
        height: float,
    ) -> None:
        self.size = size
        self.focal = focal
        self.horizon = horizon
        self.eye = eye
        self.x = x
        self.height = height
        self.heading = world.heading(eye)
        self._world = world
        # Points come one by one and by the hundred: a table in plain Python is what is fast.
        ahead = np.arange(-_BEND_BACK, _BEND_AHEAD + 2, _BEND_STEP)
        self._bends: list[float] = self.bend(eye + ahead).tolist()

    def bend(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sideways distance of the centre line at `s` from its tangent at the camera, metres."""
        away = s - self.eye
        here = self._world.centre(self.eye)
        return np.asarray(self._world.centre(s) - here - self.heading * away, np.float64)

    def point(self, x: float, up: float, s: float) -> Point:
        """Pixel (across, down) of one point in road coordinates."""
        ahead = s - self.eye
        place = (min(max(ahead, -_BEND_BACK), _BEND_AHEAD) + _BEND_BACK) / _BEND_STEP
        cell = int(place)
        before, after = self._bends[cell : cell + 2]
        bend = before + (place - cell) * (after - before)
        scale = self.focal / max(ahead, NEAREST)
        return (
            self.size[1] / 2 + (x + bend - self.x) * scale,
            self.horizon - (up - self.height) * scale,
        )

    def on_ground(self, outline: Iterable[Point]) -> list[Point]:
        """Pixels of points (x, s) on the ground."""
        return [self.point(x, 0.0, s) for x, s in outline]

    def depth(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance at which the ground appears in pixel rows below the horizon, metres."""
        return self.focal * self.height / np.maximum(rows + 0.5 - self.horizon, 1e-3)
