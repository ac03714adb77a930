"""What kind of street a seed stands for: widths, density, building stock, fleet, weather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

VehicleKind = Literal["car", "suv", "van", "truck", "bus"]
_STOREY = 3.1
_BAY = 2.9


class FacadeSpec(NamedTuple):
    """One kind of building front."""

    storeys: int
    bays: int
    pitched: bool
    """Whether it carries a tiled roof instead of a flat one."""
    shop: bool

    @property
    def width(self) -> float:
        """Along the road, metres."""
        return self.bays * _BAY

    @property
    def height(self) -> float:
        """Without the pitched roof, metres."""
        return self.storeys * _STOREY + 0.6


class VehicleSpec(NamedTuple):
    """One kind of vehicle; sizes in metres, paint as BGR."""

    kind: VehicleKind
    length: float
    width: float
    height: float
    paint: tuple[int, int, int]


class SideStreet(NamedTuple):
    """Where a side street opens within every block, metres from the block's start."""

    side: int
    near: float
    far: float


class Weather(NamedTuple):
    """How the light behaves. Shares are 0..1."""

    sun: float
    """Mean share of direct sun: 1 clear, 0 overcast."""
    dusk: float
    """Mean share of dusk."""
    haze: float
    """Extinction per metre."""
    sun_side: int
    """-1 sun from the left, +1 from the right."""
    swing: float
    """How far sun and dusk swing around their means."""
    warmth: float
    """Mean white balance error: positive is yellowish."""


@dataclass(frozen=True)
class StreetPlan:
    """The choices that make one street differ from another. Lengths in metres."""

    lanes: int
    """Lanes in each direction."""
    lane_width: float
    ego_lane: int
    parking: bool
    verge: float
    """Grass between kerb and sidewalk."""
    sidewalk: float
    """Width; 0 has no sidewalk."""
    yard: float
    """Front gardens between sidewalk and buildings."""
    yard_green: bool
    wall_jitter: float
    built_up: float
    gap: float
    gap_share: float
    tree_share: float
    tree_spacing: float
    bush_share: float
    parked_share: float
    traffic: float
    lead_gap: float | None
    lead_style: int
    crossing: float | None
    """Place of the zebra crossing within every block."""
    side_street: SideStreet | None
    centre_line: Literal["dashed", "double", "solid", "none"]
    facades: tuple[FacadeSpec, ...]
    fleet: tuple[VehicleSpec, ...]
    plants: int
    people: int
    weather: Weather
    speed: float
    """Ego speed, metres a second."""
    camera_height: float
    phase: float

    @property
    def kerb(self) -> float:
        """Distance of the kerb from the centre line."""
        return self.lanes * self.lane_width + (2.3 if self.parking else 0.5)

    @property
    def walk_inner(self) -> float:
        """Where the sidewalk begins, kerb side."""
        return self.kerb + self.verge

    @property
    def walk_width(self) -> float:
        """Width people walk on; grass where there is no sidewalk."""
        return max(self.sidewalk, 1.2)

    @property
    def walk_outer(self) -> float:
        """Where the sidewalk ends, house side."""
        return self.walk_inner + self.sidewalk

    @property
    def wall(self) -> float:
        """Where buildings may begin."""
        return self.walk_outer + self.yard + 0.3

    @property
    def tree_line(self) -> float:
        """Where street trees stand."""
        if self.verge >= 1.0:
            return self.kerb + self.verge / 2
        return self.walk_outer + min(1.2, self.yard / 2) if self.yard > 1.0 else self.kerb + 0.6

    @property
    def ego_x(self) -> float:
        """The camera's place across the road."""
        return self.lane_width * (self.ego_lane + 0.5)


def make_plan(seed: int) -> StreetPlan:
    """The street of a seed: a suburb, a town or a city at some hour in some weather."""
    rng = np.random.default_rng([seed, 0])
    density = int(rng.integers(3))  # 0 suburb, 1 town, 2 city
    lanes = int(rng.choice((1, 1, 2) if density < 2 else (1, 2, 2)))
    fleet = _make_fleet(rng)
    yard = float((rng.uniform(2.5, 6.5), rng.uniform(0, 2.5), 0.0)[density])
    verge = float(rng.choice((0.0, rng.uniform(1.0, 2.4)), p=(0.5, 0.5)))
    return StreetPlan(
        lanes=lanes,
        lane_width=float(rng.uniform(2.9, 3.6)),
        ego_lane=int(rng.integers(lanes)),
        parking=bool(rng.random() < 0.6),
        verge=verge,
        sidewalk=float(rng.uniform(1.8, 4.5)) if density or rng.random() < 0.8 else 0.0,
        yard=yard,
        yard_green=bool(rng.random() < (0.95, 0.6, 0.2)[density]),
        wall_jitter=float((2.5, 0.8, 0.15)[density]),
        built_up=float((rng.uniform(0.55, 0.85), rng.uniform(0.75, 0.97), 0.97)[density]),
        gap=float((7.0, 4.0, 3.0)[density]),
        gap_share=float((0.9, 0.35, 0.15)[density]),
        tree_share=float(rng.uniform(0.15, 0.9)) * (1.0, 0.9, 0.7)[density],
        tree_spacing=float(rng.uniform(7, 15)),
        bush_share=float(rng.uniform(0.1, 0.7)),
        parked_share=float(rng.uniform(0.3, 0.9)),
        traffic=float(rng.uniform(0.25, 0.8)),
        lead_gap=float(rng.uniform(13, 42)) if rng.random() < 0.6 else None,
        lead_style=int(rng.integers(len(fleet))),
        crossing=float(rng.uniform(20, 76)) if rng.random() < 0.55 else None,
        side_street=_make_side_street(rng),
        centre_line=rng.choice(("dashed", "dashed", "double", "solid", "none")),
        facades=tuple(_make_facade(rng, density) for _ in range(9)),
        fleet=fleet,
        plants=5,
        people=6,
        weather=_make_weather(rng),
        speed=float(rng.uniform(6, 13)),
        camera_height=float(rng.uniform(1.2, 1.9)),
        phase=float(rng.uniform(0, 6.28)),
    )


def _make_side_street(rng: np.random.Generator) -> SideStreet | None:
    if rng.random() < 0.45:
        return None
    near = float(rng.uniform(10, 70))
    return SideStreet(int(rng.choice((-1, 1))), near, near + float(rng.uniform(6.5, 10)))


def _make_facade(rng: np.random.Generator, density: int) -> FacadeSpec:
    low, high = ((1, 3), (2, 6), (4, 11))[density]
    storeys = int(rng.integers(low, high))
    pitched = bool(rng.random() < (0.85, 0.45, 0.05)[density])
    bays = int(rng.integers(3, 6) if density == 0 else rng.integers(3, 9))
    shop = bool(rng.random() < (0.05, 0.5, 0.7)[density])
    return FacadeSpec(storeys, bays, pitched, shop)


def _make_weather(rng: np.random.Generator) -> Weather:
    hazy = rng.random() < 0.25
    return Weather(
        sun=float(rng.uniform(0, 1)),
        dusk=float(rng.choice((0.0, rng.uniform(0.1, 0.8)), p=(0.65, 0.35))),
        haze=float(rng.uniform(0.008, 0.02) if hazy else rng.uniform(0.001, 0.006)),
        sun_side=int(rng.choice((-1, 1))),
        swing=float(rng.uniform(0.15, 0.5)),
        warmth=float(rng.normal(0, 0.04)),
    )


_PAINTS = (
    (225, 225, 225), (190, 192, 195), (120, 122, 125), (70, 72, 75), (38, 38, 40), (45, 40, 150),
    (40, 35, 175), (130, 70, 35), (165, 100, 50), (90, 60, 40), (60, 95, 60), (60, 150, 185),
    (45, 170, 220), (95, 120, 150), (200, 215, 225), (60, 50, 100),
)  # fmt: skip


_FLEET: tuple[VehicleKind, ...] = (
    "car", "car", "car", "car", "car", "suv", "suv", "van", "truck", "bus",
)  # fmt: skip


def _make_fleet(rng: np.random.Generator) -> tuple[VehicleSpec, ...]:
    return tuple(_make_vehicle(rng, kind) for kind in _FLEET)


def _make_vehicle(rng: np.random.Generator, kind: VehicleKind) -> VehicleSpec:
    length, width, height = {
        "car": (rng.uniform(3.8, 4.8), rng.uniform(1.7, 1.85), rng.uniform(1.4, 1.52)),
        "suv": (rng.uniform(4.3, 4.9), rng.uniform(1.8, 1.95), rng.uniform(1.62, 1.8)),
        "van": (rng.uniform(4.8, 5.8), rng.uniform(1.9, 2.05), rng.uniform(2.0, 2.5)),
        "truck": (rng.uniform(6.5, 9.0), rng.uniform(2.2, 2.45), rng.uniform(2.9, 3.5)),
        "bus": (rng.uniform(9.5, 12.0), 2.5, rng.uniform(2.9, 3.3)),
    }[kind]
    paint = _PAINTS[int(rng.integers(len(_PAINTS)))]
    jitter = rng.integers(-12, 13, 3)
    blue, green, red = (int(np.clip(p + j, 15, 245)) for p, j in zip(paint, jitter, strict=True))
    return VehicleSpec(kind, float(length), float(width), float(height), (blue, green, red))
