"""Draws the objects of a street, far to near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_runtime.street.facade import make_facade
from edge_runtime.street.sprites import STEPS, make_bush, make_person, make_tree
from edge_runtime.street.vehicle import make_vehicle
from edge_runtime.street.view import NEAREST

if TYPE_CHECKING:
    from edge_runtime.street.block import Item
    from edge_runtime.street.canvas import Canvas
    from edge_runtime.street.plan import StreetPlan
    from edge_runtime.street.texture import Bgr, Texture
    from edge_runtime.street.view import Point, View

BUILDING, VEGETATION, VEHICLE, PEDESTRIAN = 1, 5, 6, 7
_ROOF_HEIGHT = 2.6


@dataclass(frozen=True)
class Light:
    """How the scene is lit at one moment."""

    ambient: float
    """Brightness of everything but the sky."""
    sun: float
    """Share of direct sun, 0..1."""
    sun_side: int
    haze: float
    """Extinction per metre."""

    def on(self, side: int) -> float:
        """Brightness of a face that looks to the left (-1), the right (1) or the camera (0)."""
        towards = side * self.sun_side
        return self.ambient * (1.0 + self.sun * (0.22, -0.08, -0.26)[1 - towards])


class _Box(NamedTuple):
    """A box in road coordinates whose upper face may be smaller than its foot, metres."""

    near: float
    far: float
    left: float
    right: float
    bottom: float
    top: float
    taper_near: float = 0.0
    taper_far: float = 0.0
    taper_side: float = 0.0


class _Look(NamedTuple):
    """How a box is painted."""

    side: Texture
    end: Texture
    """What faces the camera at the near end."""
    label: int
    clear: float
    """Share of the own colour that haze leaves, 0..1."""
    bright: float = 1.0
    ahead: bool = True
    """Whether the side's left edge is at the near end."""
    deck: Bgr | None = None
    """Colour of the upper face, which is drawn when seen from above; None has none."""


class Painter:
    """Owns the textures of one street."""

    def __init__(self, plan: StreetPlan, rng: np.random.Generator) -> None:
        dusk = plan.weather.dusk
        self._facades = [make_facade(rng, spec, dusk=dusk) for spec in plan.facades]
        self._fleet = [make_vehicle(rng, spec, dusk=dusk) for spec in plan.fleet]
        self._trees = [make_tree(rng) for _ in range(plan.plants)]
        self._bushes = [make_bush(rng) for _ in range(plan.plants)]
        self._people = [make_person(rng) for _ in range(plan.people)]

    def draw(self, canvas: Canvas, view: View, light: Light, items: list[Item]) -> None:
        """Draw `items`, which are sorted far to near, onto the canvas."""
        for item in items:
            distance = max(item.near - view.eye, NEAREST)
            if item.height * view.focal < 3.0 * distance:
                continue
            clear = float(np.exp(-light.haze * distance))
            if item.kind == "building":
                self._building(canvas, view, light, item, clear)
            elif item.kind == "vehicle":
                self._vehicle(canvas, view, light, item, clear)
            else:
                self._sprite(canvas, view, light, item, clear)

    def _building(self, canvas: Canvas, view: View, light: Light, item: Item, clear: float) -> None:
        facade = self._facades[item.style]
        box = _Box(item.near, item.far, item.left, item.right, 0.0, item.height)
        look = _Look(facade.front, facade.end, BUILDING, clear, 0.85 + 0.3 * item.phase)
        _draw_box(canvas, view, light, box, look)
        if facade.roof is None:
            return
        roof = _Box(
            item.near - 0.2, item.far + 0.2, item.left - 0.3, item.right + 0.3,
            item.height, item.height + _ROOF_HEIGHT, 0.4, 0.4, (item.right - item.left) / 2 - 0.1,
        )  # fmt: skip
        _draw_box(canvas, view, light, roof, look._replace(side=facade.roof, end=facade.roof))

    def _vehicle(self, canvas: Canvas, view: View, light: Light, item: Item, clear: float) -> None:
        parts = self._fleet[item.style]
        ahead = item.facing > 0
        # Below first; of parts one behind the other (a lorry's cab and box) the farther first.
        for part in parts if ahead or parts[-1].bottom > 0 else parts[::-1]:
            near, far = item.near + part.rear, item.near + part.front
            tapers = (part.taper_rear, part.taper_front)
            if not ahead:
                near, far = item.near + item.far - far, item.near + item.far - near
                tapers = tapers[::-1]
            box = _Box(
                near, far, item.left, item.right, part.bottom, part.top, *tapers, part.taper_side
            )
            end = part.tail if ahead else part.nose
            look = _Look(part.side, end, VEHICLE, clear, ahead=ahead, deck=part.deck)
            _draw_box(canvas, view, light, box, look)

    def _sprite(self, canvas: Canvas, view: View, light: Light, item: Item, clear: float) -> None:
        if item.near - view.eye < NEAREST + 0.6:
            return
        if item.kind == "person":
            texture = self._people[item.style][int(item.phase * STEPS) % STEPS]
            label, bright = PEDESTRIAN, 1.0
        else:
            plants = self._trees if item.kind == "tree" else self._bushes
            texture = plants[item.style]
            label, bright = VEGETATION, 0.8 + 0.4 * item.phase
        left, top = view.point(item.left, item.height, item.near)
        right, foot = view.point(item.right, 0.0, item.near)
        corners = ((left, top), (right, top), (right, foot), (left, foot))
        span = (0.0, 1.0) if item.facing > 0 else (1.0, 0.0)
        gain = light.ambient * (0.92 + 0.14 * light.sun) * bright
        canvas.quad(texture, corners, label, span=span, light=gain, clear=clear)


def _draw_box(canvas: Canvas, view: View, light: Light, box: _Box, look: _Look) -> None:
    """Draw the faces of a box that the camera sees: a side, the near end, perhaps the top."""
    for side in (-1, 1):
        _draw_side(canvas, view, light, box, look, side)
    if box.near <= view.eye + NEAREST:
        return
    left, right = box.left + box.taper_side, box.right - box.taper_side
    near, far = box.near + box.taper_near, box.far - box.taper_far
    upper = [view.point(left, box.top, near), view.point(right, box.top, near)]
    lower = [
        view.point(box.right, box.bottom, box.near), view.point(box.left, box.bottom, box.near)
    ]  # fmt: skip
    gain = light.on(0) * look.bright
    canvas.quad(look.end, upper + lower, look.label, light=gain, clear=look.clear)
    if look.deck is not None and view.height > box.top:
        back = [view.point(right, box.top, far), view.point(left, box.top, far)]
        gain = light.ambient * (0.95 + 0.15 * light.sun)
        canvas.fill(look.deck, upper + back, look.label, light=gain, clear=look.clear)


def _draw_side(canvas: Canvas, view: View, light: Light, box: _Box, look: _Look, side: int) -> None:
    """Draw the left (-1) or right (+1) side if it faces the camera."""
    limit = view.eye + NEAREST
    if box.far <= limit:
        return
    foot = box.left if side < 0 else box.right
    head = foot - side * box.taper_side
    upper, lower = (box.near + box.taper_near, box.far - box.taper_far), (box.near, box.far)
    cut = max((limit - near) / (far - near) for near, far in (upper, lower))
    cut = min(max(cut, 0.0), 0.98)
    top_near, foot_near = (near + cut * (far - near) for near, far in (upper, lower))
    corners = [
        view.point(head, box.top, top_near), view.point(head, box.top, upper[1]),
        view.point(foot, box.bottom, lower[1]), view.point(foot, box.bottom, foot_near),
    ]  # fmt: skip
    span = (cut, 1.0) if look.ahead else (1.0 - cut, 0.0)
    if side < 0:  # seen from outside, the left side runs from far to near
        corners = [corners[1], corners[0], corners[3], corners[2]]
        span = span[::-1]
    if _faces_camera(corners):
        gain = light.on(side) * look.bright
        canvas.quad(look.side, corners, look.label, span=span, light=gain, clear=look.clear)


def _faces_camera(corners: list[Point]) -> bool:
    """Whether top left, top right, bottom right, bottom left run clockwise on the screen."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    return (cx - ax) * (dy - by) - (cy - ay) * (dx - bx) > 0.0
