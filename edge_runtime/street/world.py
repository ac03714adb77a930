"""What stands and moves along an endless street, as numbers: no pixels, no textures.

Positions are metres in road coordinates: `s` along the centre line, `x` to the right of it, height
above the road. Traffic keeps to the right. Everything is a pure function of (seed, time): static
things are drawn block by block from a generator seeded with (seed, block), moving things are
members of endless streams whose n-th member is seeded with (seed, stream, n).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, pi, sin
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.street.block import BLOCK, Block, Item, vehicle_item
from edge_runtime.street.plan import StreetPlan, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

VIEW_FAR = 150.0
"""Objects farther ahead than this are not drawn, metres."""
_CACHED_BLOCKS = 32
_CACHED_MEMBERS = 4096


@dataclass(frozen=True)
class _Stream:
    """An endless row of things that move alike along the road."""

    tag: int
    x: float
    speed: float
    """Metres a second along the road; negative comes towards the camera."""
    spacing: float
    density: float
    """Share of the places in the row that are taken."""


class World:
    """The street of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.plan: StreetPlan = make_plan(seed)
        self._blocks: dict[int, list[Item]] = {}
        self._members: dict[tuple[int, int], tuple[float, float, float, float]] = {}
        rng = np.random.default_rng([seed, 1])
        self._traffic = self._make_traffic(rng)
        self._walkers = self._make_walkers(rng)
        self._bends = [
            (float(rng.uniform(0.2, 1.0) / 340.0 / (2 * pi / w) ** 2), 2 * pi / w, p)
            for w, p in zip(rng.uniform(170, 520, 3), rng.uniform(0, 2 * pi, 3), strict=True)
        ]

    def centre(self, s: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Sideways position of the centre line at `s` in a fixed frame, metres."""
        (a, k, p), *others = self._bends
        total = a * np.sin(k * s + p)
        for a, k, p in others:
            total = total + a * np.sin(k * s + p)
        return np.asarray(total, np.float64)

    def heading(self, s: float) -> float:
        """Slope of the centre line at `s`: metres sideways per metre forward."""
        return float(sum(a * k * np.cos(k * s + p) for a, k, p in self._bends))

    def ego(self, time_s: float) -> float:
        """Where the camera is along the road after `time_s` seconds, metres."""
        plan = self.plan
        return plan.speed * time_s + 0.12 * plan.speed * sin(0.5 * time_s + plan.phase)

    def items(self, time_s: float) -> list[Item]:
        """Everything in view at `time_s`, far to near."""
        eye = self.ego(time_s)
        found = [item for item in self._static(eye) if eye + 0.5 < item.far]
        found.extend(self._moving_vehicles(time_s, eye))
        found.extend(self._people(time_s, eye))
        found = [item for item in found if item.near < eye + VIEW_FAR]
        # A building hides what lies behind its far end, never what stands before its front.
        found.sort(key=lambda item: -item.far if item.kind == "building" else -item.near)
        return found

    def _static(self, eye: float) -> Iterator[Item]:
        for number in range(floor((eye - 30.0) / BLOCK), ceil((eye + VIEW_FAR) / BLOCK)):
            if number not in self._blocks:
                if len(self._blocks) >= _CACHED_BLOCKS:
                    self._blocks.clear()
                rng = np.random.default_rng([self.seed, 2, number + (1 << 20)])
                self._blocks[number] = Block(self.plan, number * BLOCK, rng).items
            yield from self._blocks[number]

    def _make_traffic(self, rng: np.random.Generator) -> list[_Stream]:
        plan = self.plan
        streams = []
        for lane in range(plan.lanes):
            x = plan.lane_width * (lane + 0.5)
            oncoming = -float(rng.uniform(6, 13))
            streams.append(
                _Stream(10 + lane, -x, oncoming, float(rng.uniform(14, 45)), plan.traffic)
            )
            if lane != plan.ego_lane:
                beside = plan.speed + float(rng.uniform(-3, 2.5))
                streams.append(
                    _Stream(20 + lane, x, beside, float(rng.uniform(14, 40)), plan.traffic)
                )
        return streams

    def _make_walkers(self, rng: np.random.Generator) -> list[_Stream]:
        plan = self.plan
        streams = []
        for number, side in enumerate((-1, 1, -1, 1)):
            speed = float(rng.uniform(0.9, 1.6)) * (1 if number < 2 else -1)
            share = float(rng.uniform(0.3, 0.85)) * (1.0 if plan.sidewalk else 0.2)
            spacing = float(rng.uniform(4, 12))
            x = side * (plan.walk_inner + (0.3 if number < 2 else 0.7) * plan.walk_width)
            streams.append(_Stream(30 + number, x, speed, spacing, share))
        return streams

    def _member(self, stream: _Stream, number: int) -> tuple[float, float, float, float]:
        """Four uniform numbers in [0, 1) that belong to the n-th member of a stream."""
        key = (stream.tag, number)
        if key not in self._members:
            if len(self._members) >= _CACHED_MEMBERS:
                self._members.clear()
            draws = np.random.default_rng([self.seed, stream.tag, number + (1 << 40)]).random(4)
            self._members[key] = (
                float(draws[0]), float(draws[1]), float(draws[2]), float(draws[3])
            )  # fmt: skip
        return self._members[key]

    def _present(
        self, stream: _Stream, time_s: float, eye: float
    ) -> Iterator[tuple[float, tuple[float, float, float, float]]]:
        """(place along the road, draws) of the members of a stream that may be in view."""
        shift = stream.speed * time_s
        first = floor((eye - 20.0 - shift) / stream.spacing)
        last = ceil((eye + VIEW_FAR - shift) / stream.spacing)
        for number in range(first, last):
            draws = self._member(stream, number)
            if draws[0] < stream.density:
                yield (number + 0.3 * draws[1]) * stream.spacing + shift, draws

    def _moving_vehicles(self, time_s: float, eye: float) -> Iterator[Item]:
        plan = self.plan
        for stream in self._traffic:
            for s, draws in self._present(stream, time_s, eye):
                style = int(draws[2] * len(plan.fleet))
                x = stream.x + 0.4 * (draws[3] - 0.5)
                facing = 1 if stream.speed > 0 else -1
                yield vehicle_item(plan.fleet[style], style, s, x, facing)
        if plan.lead_gap is not None:
            gap = plan.lead_gap * (1 + 0.35 * sin(0.21 * time_s + 2 * plan.phase))
            x = plan.ego_x + 0.15 * sin(0.3 * time_s)
            yield vehicle_item(plan.fleet[plan.lead_style], plan.lead_style, eye + gap, x, 1)

    def _people(self, time_s: float, eye: float) -> Iterator[Item]:
        for stream in self._walkers:
            for s, draws in self._present(stream, time_s, eye):
                x = stream.x + 0.8 * (draws[3] - 0.5)
                yield self._person(draws[2], s, x, time_s * 0.9 + draws[1], 1)
        if self.plan.crossing is None:
            return
        for number in range(floor(eye / BLOCK), ceil((eye + VIEW_FAR) / BLOCK)):
            yield from self._crossing(number, time_s)

    def _crossing(self, number: int, time_s: float) -> Iterator[Item]:
        """People who cross while the camera comes near, and are across before it arrives."""
        plan = self.plan
        assert plan.crossing is not None
        s = number * BLOCK + plan.crossing
        stream = _Stream(40, 0.0, 1.35, 1.0, 0.8)
        for place in range(3):
            draws = self._member(stream, number * 3 + place)
            if draws[0] > stream.density:
                continue
            direction = 1 if draws[1] < 0.5 else -1
            span = plan.kerb + 1.0
            arrival = s / plan.speed - 0.8 - 2.5 * draws[2]
            walked = np.clip((time_s - arrival) * stream.speed + 2 * span, 0.0, 2 * span)
            moving = 0.0 < walked < 2 * span
            x = direction * (float(walked) - span)
            phase = time_s * 0.95 + draws[2] if moving else 0.0
            yield self._person(draws[3], s + place * 0.9 - 0.9, x, phase, direction)

    def _person(self, draw: float, s: float, x: float, phase: float, facing: int) -> Item:
        people = self.plan.people
        style = int(draw * people)
        height = 1.5 + 0.4 * ((draw * people) % 1.0)
        half = height / 4
        return Item("person", s, s, x - half, x + half, height, style, facing, phase % 1.0)
