"""Building fronts: window grids, shops, cornices, brick, plaster, and tiled roofs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from edge_runtime.street.texture import Bgr, Texture, dim, fractal, grain, vary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.street.plan import FacadeSpec

_SCALE = 20.0  # pixels a metre
_WALLS: tuple[Bgr, ...] = (
    (75, 85, 150), (60, 70, 120), (150, 190, 215), (175, 205, 225), (200, 215, 220),
    (165, 170, 175), (120, 125, 130), (110, 165, 205), (150, 160, 190), (170, 150, 130),
    (90, 110, 140), (190, 190, 170), (140, 150, 200), (60, 75, 95),
)  # fmt: skip


class Facade(NamedTuple):
    """The faces of one kind of building."""

    front: Texture
    end: Texture
    """The side wall, seen along the road."""
    roof: Texture | None
    """Tiles of a pitched roof."""


class _Style(NamedTuple):
    """Choices that all windows of one front share."""

    wall: Bgr
    frame: Bgr
    glass: Bgr
    window: tuple[float, float]
    """(width, height) as share of the bay and the storey."""
    lit: float
    sills: bool
    balconies: bool


def make_facade(rng: np.random.Generator, spec: FacadeSpec, *, dusk: float) -> Facade:
    """Paint one kind of building; more windows are lit the more `dusk` (0..1) there is."""
    wall = vary(rng, _WALLS[int(rng.integers(len(_WALLS)))], 10)
    frame: Bgr = (225, 228, 230) if rng.random() < 0.6 else vary(rng, (70, 75, 80), 20)
    modern = spec.storeys > 4 and rng.random() < 0.5
    style = _Style(
        wall=wall,
        frame=frame,
        glass=vary(rng, (105, 85, 70), 16),
        window=(0.85, 0.72) if modern else (rng.uniform(0.38, 0.62), rng.uniform(0.45, 0.62)),
        lit=0.04 + 0.5 * dusk,
        sills=bool(rng.random() < 0.7),
        balconies=bool(spec.storeys > 2 and rng.random() < 0.35),
    )
    front = _wall(rng, style, spec.width, spec.height, brick=rng.random() < 0.4)
    _windows(rng, front, spec, style)
    if spec.shop:
        _shop(rng, front, spec)
    else:
        _door(rng, front, spec)
    _trim(rng, front, style)
    end = _wall(rng, style, 10.0, spec.height, brick=False)
    if rng.random() < 0.6:
        _windows(rng, end, spec._replace(bays=3), style)
    _trim(rng, end, style)
    roof = Texture(_tiles(rng, spec.width)) if spec.pitched else None
    return Facade(Texture(front), Texture(end), roof)


def _wall(
    rng: np.random.Generator, style: _Style, width: float, height: float, *, brick: bool
) -> NDArray[np.uint8]:
    rows, columns = round(height * _SCALE), round(width * _SCALE)
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = np.array(style.wall, np.uint8)
    if brick:
        image[::4] = (np.array(style.wall) * 0.8).astype(np.uint8)
        for row in range(0, rows, 8):
            image[row : row + 4, ::8] = (np.array(style.wall) * 0.84).astype(np.uint8)
            image[row + 4 : row + 8, 4::8] = (np.array(style.wall) * 0.84).astype(np.uint8)
    noise = fractal(rng, rows, columns, 90.0, 4) * 0.09
    noise += rng.standard_normal((rows, columns), np.float32) * 0.035
    # Rain washes the top and splashes the foot of a wall.
    noise -= 0.16 * np.exp(-np.arange(rows, dtype=np.float32)[::-1] / 14.0)[:, None]
    return grain(image, noise, 1.0)


def _windows(
    rng: np.random.Generator, image: NDArray[np.uint8], spec: FacadeSpec, style: _Style
) -> None:
    rows, columns = image.shape[:2]
    storey, bay = (rows - 0.6 * _SCALE) / spec.storeys, columns / spec.bays
    width, height = style.window[0] * bay, style.window[1] * storey
    for floor in range(spec.storeys):
        foot = rows - (floor + 0.26) * storey
        for number in range(spec.bays):
            left = (number + 0.5) * bay - width / 2
            _window(rng, image, (left, foot - height, left + width, foot), style)
            if style.balconies and floor and number % 2 == 0:
                box = (round(left - 4), round(foot - 4), round(left + width + 4), round(foot + 12))
                rail = dim(style.wall, 0.7)
                cv2.rectangle(image, box[:2], box[2:], rail, -1)
                cv2.line(image, box[:2], (box[2], box[1]), style.frame, 2)


def _window(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    style: _Style,
) -> None:
    left, top, right, foot = (round(edge) for edge in box)
    cv2.rectangle(image, (left - 2, top - 2), (right + 2, foot + 2), style.frame, -1)
    glass = np.array(style.glass) * rng.uniform(0.45, 1.25)
    if rng.random() < style.lit:
        glass = np.array((110, 190, 240)) * rng.uniform(0.7, 1.0)
    elif rng.random() < 0.25:  # the sky mirrored in the pane
        glass = np.array((215, 200, 180)) * rng.uniform(0.7, 1.0)
    cv2.rectangle(image, (left, top), (right, foot), glass.tolist(), -1)
    third = top + (foot - top) // 3
    cv2.rectangle(image, (left, top), (right, third), (glass * 0.72).tolist(), -1)
    if rng.random() < 0.4:  # a curtain or blind
        cloth = vary(rng, (190, 195, 200), 25)
        drop = top + round((foot - top) * rng.uniform(0.15, 0.7))
        cv2.rectangle(image, (left, top), (right, drop), cloth, -1)
    middle = (left + right) // 2
    cv2.line(image, (middle, top), (middle, foot), style.frame, 2)
    if style.sills:
        cv2.rectangle(image, (left - 4, foot + 2), (right + 4, foot + 5), (205, 208, 210), -1)
        shade = dim(style.wall, 0.6)
        cv2.rectangle(image, (left - 3, foot + 6), (right + 3, foot + 7), shade, -1)


def _shop(rng: np.random.Generator, image: NDArray[np.uint8], spec: FacadeSpec) -> None:
    rows, columns = image.shape[:2]
    storey = round(3.1 * _SCALE)
    top = rows - storey
    cv2.rectangle(image, (0, top), (columns, rows), vary(rng, (85, 85, 90), 25), -1)
    sign = dim(rng.integers(30, 225, 3), 1.0)
    left = 0
    while left < columns - 30:
        wide = int(rng.integers(50, 110))
        pane = vary(rng, (85, 80, 75), 22)
        cv2.rectangle(image, (left + 5, top + 18), (left + wide - 5, rows - 8), pane, -1)
        for _ in range(5):  # goods and reflections behind the pane
            x, y = int(rng.integers(left + 6, left + wide - 14)), int(rng.integers(top + 24, rows))
            colour = vary(rng, (120, 130, 150), 50)
            cv2.rectangle(image, (x, y), (x + int(rng.integers(4, 12)), rows - 9), colour, -1)
        cv2.rectangle(image, (left + 2, top + 3), (left + wide - 2, top + 15), sign, -1)
        for x in range(left + 10, left + wide - 12, 7):
            if rng.random() < 0.8:
                cv2.rectangle(image, (x, top + 6), (x + 4, top + 12), (235, 235, 235), -1)
        if rng.random() < 0.35:
            awning = vary(rng, sign, 15)
            cv2.rectangle(image, (left, top + 16), (left + wide, top + 27), awning, -1)
            for x in range(left, left + wide, 12):
                cv2.rectangle(image, (x, top + 16), (x + 5, top + 27), (225, 225, 225), -1)
        left += wide
        if rng.random() < 0.3:
            sign = dim(rng.integers(30, 225, 3), 1.0)


def _door(rng: np.random.Generator, image: NDArray[np.uint8], spec: FacadeSpec) -> None:
    rows, columns = image.shape[:2]
    bay = columns / spec.bays
    left = round((int(rng.integers(spec.bays)) + 0.5) * bay - 0.55 * _SCALE)
    right, top = left + round(1.1 * _SCALE), rows - round(2.2 * _SCALE)
    colour = dim(rng.integers(25, 130, 3), 1.0)
    cv2.rectangle(image, (left - 3, top - 3), (right + 3, rows), (200, 205, 205), -1)
    cv2.rectangle(image, (left, top), (right, rows), colour, -1)
    cv2.rectangle(image, (left + 4, top + 4), (right - 4, top + 14), (95, 85, 75), -1)


def _trim(rng: np.random.Generator, image: NDArray[np.uint8], style: _Style) -> None:
    """A cornice at the top and a plinth at the foot."""
    rows, columns = image.shape[:2]
    light = dim(style.wall, 1.18)
    cv2.rectangle(image, (0, 0), (columns, 6), light, -1)
    cv2.rectangle(image, (0, 7), (columns, 9), dim(style.wall, 0.55), -1)
    cv2.rectangle(image, (0, rows - 8), (columns, rows), dim(style.wall, 0.68), -1)
    if rng.random() < 0.5:
        cv2.rectangle(image, (1, 8), (3, rows), (95, 98, 100), -1)


def _tiles(rng: np.random.Generator, width: float) -> NDArray[np.uint8]:
    rows, columns = round(4.0 * _SCALE), round(width * _SCALE)
    red = ((55, 70, 135), (60, 60, 75), (80, 80, 85), (50, 85, 150))
    base = np.array(vary(rng, red[int(rng.integers(4))], 10))
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = base.astype(np.uint8)
    image[::6] = (base * 0.7).astype(np.uint8)
    image[:, ::7] = (base * 0.82).astype(np.uint8)
    noise = fractal(rng, rows, columns, 40.0, 4) * 0.12
    return grain(image, noise, 1.0)
