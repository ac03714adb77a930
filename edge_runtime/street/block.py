"""What stands still along one block of a street, as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.street.plan import StreetPlan, VehicleSpec

BLOCK = 96.0
"""Length of the ground pattern and of a block of static objects, metres."""
Kind = Literal["building", "tree", "bush", "vehicle", "person"]


class Item(NamedTuple):
    """One object as the painter needs it: a box in road coordinates and how it looks."""

    kind: Kind
    near: float
    far: float
    left: float
    right: float
    height: float
    style: int
    """Index into the plan's facades, plants, fleet or people."""
    facing: int
    """+1 seen from behind, -1 coming towards the camera; for plants and people: mirrored."""
    phase: float = 0.0
    """Step of a walking person, in cycles; brightness variation of a building or plant, 0..1."""


class Block:
    """The static objects from `start` on for `BLOCK` metres; the same generator, the same block.

    Attributes:
        items: buildings, plants and parked vehicles of both sides, in no particular order.
    """

    def __init__(self, plan: StreetPlan, start: float, rng: np.random.Generator) -> None:
        self._plan = plan
        self._start = start
        self._rng = rng
        self.items: list[Item] = []
        for side in (-1, 1):
            self.items += self._buildings(side)
            self.items += self._plants(side)
            self.items += self._parked(side)

    def _open_to(self, side: int, near: float, far: float) -> bool:
        """Whether [near, far] lies in the mouth of the side street."""
        mouth = self._plan.side_street
        if mouth is None or side != mouth.side:
            return False
        start = self._start
        return far > start + mouth.near - 1.0 and near < start + mouth.far + 1.0

    def _buildings(self, side: int) -> Iterator[Item]:
        plan, rng, start = self._plan, self._rng, self._start
        at = start
        while at < start + BLOCK - 6.0:
            style = int(rng.integers(len(plan.facades)))
            facade = plan.facades[style]
            far = min(at + facade.width, start + BLOCK - 0.2)
            wall = plan.wall + float(rng.uniform(0, plan.wall_jitter))
            depth = float(rng.uniform(9, 14))
            is_there = rng.random() < plan.built_up
            bright = float(rng.random())
            gap = float(rng.exponential(plan.gap)) if rng.random() < plan.gap_share else 0.0
            if is_there and not self._open_to(side, at, far):
                inner, outer = side * wall, side * (wall + depth)
                yield Item(
                    "building", at, far, min(inner, outer), max(inner, outer), facade.height, style,
                    side, bright,
                )  # fmt: skip
            elif not is_there:
                yield from self._grove(at, far, side)
            at = far + gap

    def _grove(self, near: float, far: float, side: int) -> Iterator[Item]:
        """Trees where a building could have stood."""
        for at in np.arange(near, far, 4.0):
            x = side * (self._plan.wall + float(self._rng.uniform(0.5, 9)))
            yield self._plant("tree", float(at), x, float(self._rng.uniform(5, 11)))

    def _plants(self, side: int) -> Iterator[Item]:
        plan, rng, start = self._plan, self._rng, self._start
        for at in np.arange(start + 2.0, start + BLOCK, plan.tree_spacing):
            s = float(at + rng.uniform(-1, 1))
            if rng.random() < plan.tree_share and not self._open_to(side, s - 2, s + 2):
                x = side * (plan.tree_line + float(rng.uniform(-0.2, 0.2)))
                yield self._plant("tree", s, x, float(rng.uniform(4.5, 8.5)))
        if plan.yard < 1.5:
            return
        for at in np.arange(start, start + BLOCK, 2.4):
            s = float(at + rng.uniform(-0.5, 0.5))
            if rng.random() < plan.bush_share and not self._open_to(side, s - 2, s + 2):
                x = side * (plan.walk_outer + float(rng.uniform(0.7, min(plan.yard, 2.5))))
                yield self._plant("bush", s, x, float(rng.uniform(0.7, 1.7)))

    def _plant(self, kind: Kind, s: float, x: float, height: float) -> Item:
        rng = self._rng
        wide = height * float(rng.uniform(0.7, 0.95) if kind == "tree" else rng.uniform(1.3, 2.2))
        style = int(rng.integers(self._plan.plants))
        mirrored = int(rng.choice((-1, 1)))
        bright = float(rng.random())
        return Item(kind, s, s, x - wide / 2, x + wide / 2, height, style, mirrored, bright)

    def _parked(self, side: int) -> Iterator[Item]:
        plan, rng, start = self._plan, self._rng, self._start
        if not plan.parking:
            return
        at = start
        while at < start + BLOCK - 7.0:
            style = int(rng.integers(len(plan.fleet)))
            spec = plan.fleet[style]
            gap = float(rng.uniform(0.6, 2.5))
            x = side * (plan.kerb - 1.15 + float(rng.uniform(-0.1, 0.1)))
            taken = rng.random() < plan.parked_share and spec.length < 7.0
            crossing = plan.crossing is not None and abs(at + 3 - start - plan.crossing) < 9.0
            if taken and not crossing and not self._open_to(side, at, at + spec.length):
                yield vehicle_item(spec, style, at, x, side)
            at += spec.length + gap


def vehicle_item(spec: VehicleSpec, style: int, near: float, x: float, facing: int) -> Item:
    """A vehicle whose nearer end is at `near` and whose middle is `x` off the centre line."""
    half = spec.width / 2
    return Item(
        "vehicle", near, near + spec.length, x - half, x + half, spec.height, style, facing
    )  # fmt: skip
