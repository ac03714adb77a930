"""Draws the ground in perspective, with the shadows that lie on it."""

from __future__ import annotations

from math import cos, pi, sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.street.block import BLOCK
from edge_runtime.street.ground import HALF_WIDTH, MIPS, TEXEL_S, TEXEL_X

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_runtime.street.block import Item
    from edge_runtime.street.canvas import Canvas
    from edge_runtime.street.ground import Ground
    from edge_runtime.street.painter import Light
    from edge_runtime.street.view import View

_FINEST = (3.0, 12.0, 48.0)
"""Texels along the road per pixel row up to which each mip level is used."""
_SHADE = 0.5
"""Resolution of the shadow mask against the picture."""
_UNIT = 200.0
"""Value of the shadow mask that stands for an unchanged brightness."""
_FAR_OUTSIDE = 2.0e4
Outline = list[tuple[float, float]]


class Terrain:
    """Draws one street's ground; buffers are reused from frame to frame."""

    def __init__(self, ground: Ground, height: int, width: int) -> None:
        self._ground = ground
        self._columns = np.arange(width, dtype=np.float32) + 0.5 - width / 2
        self._map_x = np.empty((height, width), np.float32)
        self._map_y = np.empty((height, width), np.float32)

    def draw(self, canvas: Canvas, view: View, light: Light, items: list[Item]) -> None:
        """Draw the ground below the horizon, and the shadows of `items` on it."""
        height = canvas.size[0]
        top = max(int(np.floor(view.horizon)) + 1, 0)
        rows = np.arange(top, height, dtype=np.float64)
        if not rows.size:
            return
        depth = np.minimum(view.depth(rows), 600.0)
        texels = depth**2 / (view.focal * view.height) / TEXEL_S
        ends = [top + int(np.count_nonzero(texels > limit)) for limit in _FINEST]
        starts = [*ends, top]
        stops = [height, *ends]
        for level, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            if start < stop:
                self._band(canvas, view, depth[start - top : stop - top], (start, stop), level)
        self._light(canvas, view, light, items, np.exp(-light.haze * depth))

    def _band(
        self,
        canvas: Canvas,
        view: View,
        depth: NDArray[np.float64],
        span: tuple[int, int],
        level: int,
    ) -> None:
        """The rows `span` at distances `depth`, from one mip level."""
        along, across = MIPS[level]
        image, labels = self._ground.levels[level]
        count = span[1] - span[0]
        s = view.eye + depth
        offset = (view.x - view.bend(s) + HALF_WIDTH) / (TEXEL_X * across) - 0.5
        scale = depth / view.focal / (TEXEL_X * across)
        map_x, map_y = self._map_x[:count], self._map_y[:count]
        np.multiply(scale.astype(np.float32)[:, None], self._columns, out=map_x)
        map_x += offset.astype(np.float32)[:, None]
        row = np.mod(s, BLOCK) / (TEXEL_S * along)
        map_y[:] = row.astype(np.float32)[:, None]
        drawn = canvas.image[span[0] : span[1]]
        cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, drawn, cv2.BORDER_REPLICATE)
        marked = canvas.labels[span[0] : span[1]]
        cv2.remap(labels, map_x, map_y, cv2.INTER_NEAREST, marked, cv2.BORDER_REPLICATE)

    def _light(
        self,
        canvas: Canvas,
        view: View,
        light: Light,
        items: list[Item],
        clear: NDArray[np.float64],
    ) -> None:
        """Multiply the ground by light and shadow, and fade it by `clear`, one share per row."""
        height, width = canvas.size
        count = len(clear)
        top = height - count
        rows, columns = max(int(count * _SHADE), 1), max(int(width * _SHADE), 1)
        lit = light.ambient * (0.9 + 0.14 * light.sun) * _UNIT
        mask = np.full((rows, columns), lit, np.uint8)
        stretch = (columns / width, rows / count)
        for outline, share in _shadows(items, light):
            points = (np.array(view.on_ground(outline)) - (0, top)) * stretch
            if np.abs(points).max() < _FAR_OUTSIDE:
                cv2.fillConvexPoly(mask, points.round().astype(np.int32), lit * share)
        mask = (cv2.blur(mask, (3, 3)) * clear[_rows(count, rows)][:, None]).astype(np.uint8)
        factor = cv2.resize(mask, (width, count), interpolation=cv2.INTER_LINEAR)
        drawn = canvas.image[top:]
        cv2.multiply(drawn, cv2.cvtColor(factor, cv2.COLOR_GRAY2BGR), drawn, 1.0 / _UNIT)
        fog = (1.0 - clear)[:, None, None] * np.array(canvas.haze)
        far = int(np.count_nonzero(clear < 0.99))
        if far:
            veil = cv2.resize(
                fog[:far].astype(np.uint8), (width, far), interpolation=cv2.INTER_NEAREST
            )
            cv2.add(drawn[:far], veil, drawn[:far])


def _rows(count: int, rows: int) -> NDArray[np.int64]:
    """Which of `count` rows stands for each of `rows` rows."""
    return np.minimum((np.arange(rows) + 0.5) * count / rows, count - 1).astype(np.int64)


def _shadows(items: list[Item], light: Light) -> Iterator[tuple[Outline, float]]:
    """Outlines of (x, s) on the ground and the brightness they leave, 0..1, darkest last."""
    if light.sun > 0.15:
        soft = 1.0 - 0.45 * light.sun
        for item in items:
            shift = -light.sun_side * item.height * 0.9
            base = item.left if shift < 0 else item.right
            if item.kind == "building":
                yield _rectangle(base, base + 0.8 * shift, item.near, item.far), soft
            elif item.kind == "vehicle":
                yield _rectangle(base, base + shift, item.near, item.far), soft
            elif item.kind == "tree":
                middle = (item.left + item.right) / 2 + 0.7 * shift
                yield _oval(middle, item.near, item.height * 0.38), soft
    for item in items:
        middle = (item.left + item.right) / 2
        if item.kind == "vehicle":
            yield _rectangle(item.left, item.right, item.near, item.far), 0.38
        elif item.kind != "building":
            yield _oval(middle, item.near, 0.3 if item.kind == "person" else 0.7), 0.5


def _rectangle(left: float, right: float, near: float, far: float) -> Outline:
    return [(left, near), (left, far), (right, far), (right, near)]


_CIRCLE = [(cos(turn * pi / 5), sin(turn * pi / 5)) for turn in range(10)]


def _oval(x: float, s: float, radius: float) -> Outline:
    return [(x + radius * across, s + radius * along) for across, along in _CIRCLE]
