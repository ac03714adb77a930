"""The ground of a street seen from above: road, markings, sidewalks and grass, with its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.street.block import BLOCK
from edge_runtime.street.texture import Bgr, dim, fractal, vary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.street.plan import StreetPlan

ROAD, MARKING, SIDEWALK, VEGETATION = 2, 3, 4, 5
HALF_WIDTH = 20.0
"""The pattern reaches this far to both sides of the centre line, metres."""
TEXEL_X = 0.03125
TEXEL_S = 0.0625
_COLUMNS = int(2 * HALF_WIDTH / TEXEL_X)
_ROWS = int(BLOCK / TEXEL_S)
MIPS = ((1, 1), (4, 1), (16, 2), (64, 4))
"""(along, across) reduction of each level; along shrinks first because the view is grazing."""


class Ground:
    """The pattern of one block, repeated along the road.

    Attributes:
        levels: (bgr, labels) per entry of `MIPS`; each has one more row, equal to its first.
    """

    def __init__(self, plan: StreetPlan, rng: np.random.Generator) -> None:
        self._plan = plan
        self._rng = rng
        self.labels = np.full((_ROWS, _COLUMNS), VEGETATION, np.uint8)
        self.image = np.zeros((_ROWS, _COLUMNS, 3), np.uint8)
        self._paint_surfaces()
        self._wear()
        self._paint_markings()
        self._paint_kerbs()
        self._texture()
        self.levels = [self._level(along, across) for along, across in MIPS]

    def _rect(
        self, x: tuple[float, float], s: tuple[float, float], colour: Bgr, label: int | None
    ) -> None:
        columns = [round((min(max(e, -HALF_WIDTH), HALF_WIDTH) + HALF_WIDTH) / TEXEL_X) for e in x]
        rows = [round(min(max(e, 0.0), BLOCK) / TEXEL_S) for e in s]
        place = (slice(min(rows), max(rows)), slice(min(columns), max(columns)))
        self.image[place] = np.array(colour, np.uint8)
        if label is not None:
            self.labels[place] = label

    def _both(self, near: float, far: float, colour: Bgr, label: int) -> None:
        """A strip along the whole block on both sides, from `near` to `far` off the centre."""
        for side in (-1, 1):
            self._rect((side * near, side * far), (0, BLOCK), colour, label)

    def _paint_surfaces(self) -> None:
        plan, rng = self._plan, self._rng
        grey = float(rng.uniform(72, 118))
        self._asphalt = vary(rng, (grey + 2, grey, grey - 1), 3)
        self._grass = vary(rng, (45, 105, 85), 10)
        paving = float(rng.uniform(125, 175))
        self._paving = vary(rng, (paving - 8, paving, paving + 4), 8)
        self._rect((-HALF_WIDTH, HALF_WIDTH), (0, BLOCK), self._grass, VEGETATION)
        if not plan.yard_green:
            yard = vary(rng, self._paving, 14)
            self._both(plan.walk_outer, HALF_WIDTH, yard, SIDEWALK)
        if plan.sidewalk:
            self._both(plan.walk_inner, plan.walk_outer, self._paving, SIDEWALK)
            self._tiles(plan.walk_inner, plan.walk_outer)
        self._rect((-plan.kerb, plan.kerb), (0, BLOCK), self._asphalt, ROAD)
        if plan.yard > 2.4:
            self._driveways()
        if plan.side_street is not None:
            mouth = plan.side_street
            outer = mouth.side * HALF_WIDTH
            self._rect((0, outer), (mouth.near, mouth.far), self._asphalt, ROAD)

    def _tiles(self, near: float, far: float) -> None:
        """Joints between the slabs of the sidewalk."""
        step = float(self._rng.uniform(0.6, 1.5))
        joint = dim(self._paving, 0.82)
        for side in (-1, 1):
            for s in np.arange(0, BLOCK, step):
                self._rect((side * near, side * far), (s, s + TEXEL_S), joint, None)
            for x in np.arange(near, far, step):
                self._rect((side * x, side * x + TEXEL_X), (0, BLOCK), joint, None)

    def _driveways(self) -> None:
        plan, rng = self._plan, self._rng
        for side in (-1, 1):
            for s in np.arange(4, BLOCK - 6, 13.0):
                if rng.random() < 0.5:
                    near = float(s + rng.uniform(0, 5))
                    shade = vary(rng, self._paving, 12)
                    across = (side * plan.kerb, side * (plan.wall + 1))
                    self._rect(across, (near, near + 3.2), shade, SIDEWALK)

    def _wear(self) -> None:
        """Patches, manholes, cracks and wheel tracks: colour only, it all stays road."""
        plan, rng = self._plan, self._rng
        for _ in range(int(rng.integers(4, 16))):
            x, s = float(rng.uniform(-plan.kerb, plan.kerb - 1)), float(rng.uniform(0, BLOCK))
            size = rng.uniform((0.4, 0.6), (min(2.5, plan.kerb - x), 9.0))
            shade = vary(rng, self._asphalt, 9)
            self._rect((x, x + float(size[0])), (s, s + float(size[1])), shade, None)
        for _ in range(int(rng.integers(2, 7))):
            centre = self._texel(float(rng.uniform(-plan.kerb, plan.kerb)), rng.uniform(1, BLOCK))
            dark = dim(self._asphalt, 0.6)
            cv2.ellipse(self.image, centre, (10, 5), 0, 0, 360, dark, -1)
            cv2.ellipse(self.image, centre, (10, 5), 0, 0, 360, dim(dark, 1.25), 1)
        for _ in range(int(rng.integers(0, 14))):
            x, s = rng.uniform(-plan.kerb, plan.kerb), rng.uniform(0, BLOCK)
            steps = np.cumsum(rng.normal((0, 0.3), (0.12, 0.15), (14, 2)), axis=0)
            steps = np.clip(
                steps + np.array((x, s)), (-plan.kerb + 0.3, 0), (plan.kerb - 0.3, BLOCK)
            )
            points = np.array([self._texel(*step) for step in steps], np.int32)
            cv2.polylines(self.image, [points], False, dim(self._asphalt, 0.62), 1)

    def _texel(self, x: float, s: float) -> tuple[int, int]:
        return round((x + HALF_WIDTH) / TEXEL_X), round(s / TEXEL_S)

    def _line(
        self, x: float, *, on: float = 0.0, period: float = 0.0, yellow: bool = False
    ) -> None:
        """A line along the road: `on` metres painted in every `period`; 0 is unbroken."""
        half = self._line_width / 2
        colour: Bgr = (70, 175, 215) if yellow else self._white
        starts = np.arange(0, BLOCK, period) if period else (0.0,)
        for s in starts:
            self._rect((x - half, x + half), (s, s + on if period else BLOCK), colour, MARKING)

    def _paint_markings(self) -> None:
        plan, rng = self._plan, self._rng
        self._line_width = float(rng.uniform(0.11, 0.18))
        white = float(rng.uniform(185, 235))
        self._white: Bgr = (white, white, white)
        period = float(rng.choice((6.0, 8.0, 12.0)))
        yellow = bool(rng.random() < 0.25)
        if plan.centre_line == "dashed":
            self._line(0.0, on=period * 0.4, period=period, yellow=yellow)
        elif plan.centre_line == "double":
            self._line(-0.14, yellow=yellow)
            self._line(0.14, yellow=yellow)
        elif plan.centre_line == "solid":
            self._line(0.0, yellow=yellow)
        edge = plan.lanes * plan.lane_width
        for side in (-1, 1):
            for lane in range(1, plan.lanes):
                self._line(side * lane * plan.lane_width, on=period * 0.4, period=period)
            if plan.lanes > 1 or plan.centre_line != "none":
                self._line(side * (edge + 0.05))
        if plan.side_street is not None:
            self._clear_mouth()
        if plan.crossing is not None:
            self._zebra(plan.crossing)

    def _clear_mouth(self) -> None:
        """No edge line across the side street, a give-way line instead."""
        plan, mouth = self._plan, self._plan.side_street
        assert mouth is not None
        edge = mouth.side * (plan.lanes * plan.lane_width + 0.05)
        half = self._line_width / 2
        self._rect((edge - half, edge + half), (mouth.near, mouth.far), self._asphalt, ROAD)
        outer = mouth.side * (plan.kerb + 0.3)
        middle = (mouth.near + mouth.far) / 2
        for s in np.arange(mouth.near + 0.4, middle, 0.9):
            across = (outer, outer + mouth.side * 0.35)
            self._rect(across, (s, s + 0.5), self._white, MARKING)

    def _zebra(self, middle: float) -> None:
        plan, half = self._plan, float(self._rng.uniform(1.3, 2.0))
        self._rect((-plan.kerb, plan.kerb), (middle - half, middle + half), self._asphalt, ROAD)
        stripe = float(self._rng.uniform(0.4, 0.6))
        for x in np.arange(-plan.kerb + 0.2, plan.kerb - stripe, 2 * stripe):
            self._rect((x, x + stripe), (middle - half, middle + half), self._white, MARKING)
        edge = plan.lanes * plan.lane_width
        for side in (-1, 1):
            stop = middle - side * (half + 1.2)
            self._rect((side * 0.2, side * edge), (stop - 0.17, stop + 0.17), self._white, MARKING)

    def _paint_kerbs(self) -> None:
        plan, mouth = self._plan, self._plan.side_street
        if not plan.sidewalk and not plan.verge:
            return
        stone = dim(self._paving, 1.12)
        gutter = dim(self._asphalt, 0.72)
        for side in (-1, 1):
            spans = [(0.0, BLOCK)]
            if mouth is not None and mouth.side == side:
                spans = [(0.0, mouth.near), (mouth.far, BLOCK)]
            for span in spans:
                kerb = side * plan.kerb
                self._rect((kerb, kerb + side * 0.16), span, stone, SIDEWALK)
                self._rect((kerb, kerb - side * 0.12), span, gutter, ROAD)

    def _texture(self) -> None:
        """Noise whose strength depends on the material, seamless along the road."""
        half = _ROWS // 2
        fine = self._rng.standard_normal((half, _COLUMNS), np.float32)
        broad = fractal(self._rng, half, _COLUMNS, 160.0, 4)
        strength = np.zeros((256, 2), np.float32)
        strength[[ROAD, MARKING, SIDEWALK, VEGETATION]] = (
            (0.055, 0.06), (0.05, 0.09), (0.05, 0.05), (0.13, 0.13),
        )  # fmt: skip
        tracks = self._tracks()
        for rows, order in ((slice(0, half), 1), (slice(half, _ROWS), -1)):
            labels = self.labels[rows]
            noise = fine[::order] * strength[:, 0][labels] + broad[::order] * strength[:, 1][labels]
            noise += np.where(labels <= MARKING, tracks, 0)
            factor = cv2.merge([1.0 + noise] * 3)
            self.image[rows] = cv2.multiply(self.image[rows], factor, dtype=cv2.CV_8U)

    def _tracks(self) -> NDArray[np.float32]:
        """Polished wheel tracks and the dark stripe between them, (1, columns)."""
        plan = self._plan
        x = (np.arange(_COLUMNS, dtype=np.float32) + 0.5) * TEXEL_X - HALF_WIDTH
        wave = np.cos(x / plan.lane_width * 4 * np.pi) * 0.035
        on_lanes = np.abs(x) < plan.lanes * plan.lane_width
        return np.where(on_lanes, wave, -0.06).astype(np.float32)[None, :]

    def _level(self, along: int, across: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One mip level: mean colours, and the label that holds most of each cell."""
        size = (_COLUMNS // across, _ROWS // along)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        labels = self.labels[along // 2 :: along, across // 2 :: across].copy()
        if along > 1:
            painted = (self.labels == MARKING).astype(np.float32)
            share = cv2.resize(painted, size, interpolation=cv2.INTER_AREA)
            labels[(share < 0.45) & (labels == MARKING)] = ROAD
            labels[share >= 0.45] = MARKING
        return np.vstack([image, image[:1]]), np.vstack([labels, labels[:1]])
