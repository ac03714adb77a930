"""A camera that drives along a procedural street and delivers frames with exact labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.errors import OptionError
from edge_runtime.street.backdrop import Backdrop
from edge_runtime.street.canvas import Canvas
from edge_runtime.street.ground import Ground
from edge_runtime.street.lens import Lens
from edge_runtime.street.painter import Light, Painter
from edge_runtime.street.terrain import Terrain
from edge_runtime.street.view import View
from edge_runtime.street.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StreetOptions:
    """Which street is seen, and how.

    Raises:
        OptionError: a value outside of what its description allows.
    """

    size: tuple[int, int] = (384, 512)
    """(height, width) of the frames in pixels, each 32 to 4096."""
    seed: int = 0
    """Which street, at what hour and in what weather; 0 or more."""
    fps: float = 30.0
    """Frames a second: how far the camera moves from one index to the next."""
    nuisance: float = 1.0
    """Strength of exposure and white balance errors, sensor noise and blur, 0..2; 0 turns them
    off. It changes the image only, never the labels."""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(32 <= edge <= 4096 for edge in self.size):
            raise OptionError(
                f"street size {self.size} cannot be drawn; give (height, width) of 32 to 4096 each"
            )
        if self.seed < 0:
            raise OptionError(f"street seed {self.seed} is negative; give 0 or more")
        if not (isfinite(self.fps) and self.fps > 0):
            raise OptionError(
                f"street fps {self.fps} is no frame rate; give more than 0, such as 30"
            )
        if not 0 <= self.nuisance <= 2:
            raise OptionError(f"street nuisance {self.nuisance} is outside 0..2; 1 is usual")


class StreetCamera:
    """A drive along one street. `frame` may be called with any index in any order."""

    def __init__(self, options: StreetOptions = StreetOptions()) -> None:
        self.options = options
        height, width = options.size
        rng = np.random.default_rng([options.seed, 3])
        self._world = World(options.seed)
        plan = self._world.plan
        self._weather = plan.weather
        self._focal = float(rng.uniform(0.75, 1.05)) * max(width, 0.85 * height)
        self._horizon = float(rng.uniform(0.40, 0.52)) * height
        self._phases = rng.uniform(0, 2 * np.pi, 6)
        rows = int(self._horizon + 0.12 * height)
        horizon = int(self._horizon + 0.04 * height)
        self._backdrop = Backdrop(rng, rows, width, horizon, plan.weather.sun_side)
        self._painter = Painter(plan, rng)
        self._terrain = Terrain(Ground(plan, rng), height, width)
        self._canvas = Canvas(height, width)
        self._lens = Lens(rng, options.size, plan.weather, options.nuisance)

    def frame(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Frame `index` of the drive; a pure function of the options and the index.

        Args:
            index: 0 or more; need not follow the previous call's.

        Returns:
            The image (H, W, 3) uint8 BGR, and its labels (H, W) uint8, train ids of `STREET_8`.
            Both belong to the caller.

        Raises:
            OptionError: the index is negative.
        """
        if index < 0:
            raise OptionError(f"street frame {index} does not exist; frames count from 0")
        time_s = index / self.options.fps
        world, canvas = self._world, self._canvas
        dusk, sun = self._daylight(time_s)
        view = self._view(time_s)
        light = Light(
            ambient=1.0 - 0.5 * dusk,
            sun=sun * (1.0 - dusk),
            sun_side=self._weather.sun_side,
            haze=self._weather.haze,
        )
        items = world.items(time_s)
        self._draw_sky(view, dusk, sun)
        self._terrain.draw(canvas, view, light, items)
        self._painter.draw(canvas, view, light, items)
        image = self._lens.expose(canvas.image, index, time_s, dusk)
        return image, canvas.labels.copy()

    def _daylight(self, time_s: float) -> tuple[float, float]:
        """Shares of dusk and of direct sun, each 0..1; they change within tens of seconds."""
        weather, phases = self._weather, self._phases
        swing = weather.swing
        sun = weather.sun + swing * sin(0.11 * time_s + phases[0])
        dusk = weather.dusk + 0.6 * swing * sin(0.05 * time_s + phases[1]) if weather.dusk else 0.0
        return min(max(dusk, 0.0), 1.0), min(max(sun, 0.0), 1.0)

    def _view(self, time_s: float) -> View:
        world, plan, phases = self._world, self._world.plan, self._phases
        height = self.options.size[0]
        bob = 0.6 * sin(1.9 * time_s + phases[2]) + 0.4 * sin(7.3 * time_s + phases[3])
        return View(
            world,
            size=self.options.size,
            focal=self._focal,
            horizon=self._horizon + 0.006 * height * bob,
            eye=world.ego(time_s),
            x=plan.ego_x + 0.12 * sin(0.37 * time_s + phases[4]),
            height=plan.camera_height + 0.015 * sin(5.1 * time_s + phases[5]),
        )

    def _draw_sky(self, view: View, dusk: float, sun: float) -> None:
        """Blend the three skies by the light of the moment and copy what is in view."""
        backdrop, canvas = self._backdrop, self._canvas
        height, width = canvas.size
        top = backdrop.horizon - round(view.horizon)
        rows = min(backdrop.labels.shape[0] - top, height)
        turn = view.heading * view.focal
        left = round(turn) % (2 * width)
        place = (slice(top, top + rows), slice(left, left + width))
        weights = (sun * (1 - dusk), (1 - sun) * (1 - dusk), dusk)
        clear, grey, late = (sky.image[place] for sky in backdrop.skies)
        drawn = canvas.image[:rows]
        cv2.addWeighted(clear, weights[0], grey, weights[1], 0.0, drawn)
        if dusk > 0:
            cv2.addWeighted(drawn, 1.0, late, dusk, 0.0, drawn)
        canvas.labels[:rows] = backdrop.labels[place]
        tones = np.array([sky.horizon for sky in backdrop.skies])
        blue, green, red = (float(channel) for channel in weights @ tones)
        canvas.begin((blue, green, red))
