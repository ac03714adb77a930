"""Vehicles as one or two tapered boxes with painted sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from edge_runtime.street.texture import Bgr, Texture, dim, fractal, grain, vary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.street.plan import VehicleSpec

_SCALE = 56.0  # pixels a metre
_GLASS: Bgr = (62, 54, 46)
_RUBBER: Bgr = (28, 27, 27)
_CLEARANCE = 0.2
Image = tuple["NDArray[np.uint8]", "NDArray[np.uint8]"]


class Part(NamedTuple):
    """A box that tapers upwards; metres, `rear` and `front` along the vehicle from its tail."""

    rear: float
    front: float
    bottom: float
    top: float
    taper_rear: float
    taper_front: float
    taper_side: float
    side: Texture
    """Seen from its left or right, tail at the left edge."""
    tail: Texture
    nose: Texture
    deck: Bgr
    """Colour of the upper face."""


def make_vehicle(rng: np.random.Generator, spec: VehicleSpec, *, dusk: float) -> list[Part]:
    """The parts of a vehicle, those below first; lamps shine once `dusk` (0..1) is deep."""
    lamps = dusk > 0.35
    if spec.kind == "bus":
        return [_bus(rng, spec, lamps=lamps)]
    if spec.kind == "truck":
        return _truck(rng, spec, lamps=lamps)
    belt = spec.height * {"car": 0.6, "suv": 0.58, "van": 0.55}[spec.kind]
    body = _body(rng, spec, belt, lamps=lamps)
    return [body, _cabin(rng, spec, belt)]


def _blank(rng: np.random.Generator, wide: float, high: float, paint: Bgr) -> Image:
    """A sheet of painted metal: lighter at the shoulder, darker at the sill, a little uneven."""
    rows, columns = max(round(high * _SCALE), 8), max(round(wide * _SCALE), 8)
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = np.array(paint, np.uint8)
    down = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    sheen = 0.30 * np.exp(-(((down - 0.16) / 0.10) ** 2)) + 0.10 - 0.42 * down**1.6
    uneven = fractal(rng, rows, columns, 60.0, 2) * 0.035
    return grain(image, sheen + uneven, 1.0), np.full((rows, columns), 255, np.uint8)


def _rect(image: NDArray[np.uint8], box: tuple[float, float, float, float], colour: Bgr) -> None:
    """Fill a box given as shares (left, top, right, foot) of the picture."""
    rows, columns = image.shape[:2]
    left, right = round(box[0] * columns), round(box[2] * columns)
    cv2.rectangle(image, (left, round(box[1] * rows)), (right, round(box[3] * rows)), colour, -1)


def _glass(image: NDArray[np.uint8], corners: list[tuple[float, float]]) -> None:
    """A window with the bright sky mirrored in its upper part; corners are shares."""
    rows, columns = image.shape[:2]
    pane = (np.array(corners) * (columns, rows)).round().astype(np.int32)
    cv2.fillConvexPoly(image, pane, _GLASS, cv2.LINE_AA)
    upper = np.array(corners)
    middle = upper[:, 1].mean()
    upper[:, 1] = np.minimum(upper[:, 1], middle)
    sky = (upper * (columns, rows)).round().astype(np.int32)
    cv2.fillConvexPoly(image, sky, (118, 108, 96), cv2.LINE_AA)


def _wheels(sheet: Image, places: list[float], radius: float) -> None:
    """Cut the clearance below the sill, then set wheels at shares of the length."""
    image, mask = sheet
    rows, columns = mask.shape
    mask[rows - round(_CLEARANCE * _SCALE) :] = 0
    size = round(radius * _SCALE)
    for place in places:
        centre = (round(place * columns), rows - size)
        cv2.circle(image, centre, round(size * 1.16), (18, 18, 18), -1, cv2.LINE_AA)
        cv2.circle(image, centre, size, _RUBBER, -1, cv2.LINE_AA)
        cv2.circle(image, centre, round(size * 0.64), (150, 150, 152), -1, cv2.LINE_AA)
        cv2.circle(image, centre, round(size * 0.5), (96, 96, 98), -1, cv2.LINE_AA)
        cv2.circle(image, centre, max(size // 6, 1), (170, 170, 170), -1, cv2.LINE_AA)
        cv2.circle(mask, centre, size, 255, -1)


def _end(
    rng: np.random.Generator, spec: VehicleSpec, high: float, *, nose: bool, lamps: bool
) -> Texture:
    """The lower part of a tail or nose: lamps, plate, bumper, tyres."""
    image, mask = _blank(rng, spec.width, high, spec.paint)
    dark = (42, 42, 44)
    _rect(image, (0, 0.72, 1, 1), dark if rng.random() < 0.5 else vary(rng, spec.paint, 6))
    _rect(image, (0.03, 0.86, 0.97, 1), (30, 30, 30))
    if nose:
        _rect(image, (0.27, 0.36, 0.73, 0.62), (35, 35, 36))
        for share in (0.42, 0.5, 0.58):
            _rect(image, (0.27, share, 0.73, share + 0.02), (110, 110, 112))
        lamp: Bgr = (235, 250, 255) if lamps else (205, 210, 212)
        deep: Bgr = (255, 255, 255) if lamps else (150, 152, 155)
    else:
        lamp = (60, 50, 235) if lamps else (45, 38, 165)
        deep = (70, 70, 255) if lamps else (35, 30, 125)
        _rect(image, (0.02, 0.66, 0.98, 0.685), dim(spec.paint, 0.5))
    for left in (0.03, 0.78):
        _rect(image, (left, 0.3, left + 0.19, 0.5), lamp)
        _rect(image, (left + 0.05, 0.34, left + 0.13, 0.46), deep)
    _rect(image, (0.38, 0.66, 0.62, 0.78), (215, 222, 222))
    _rect(image, (0.41, 0.70, 0.59, 0.74), (70, 70, 70))
    rows = mask.shape[0]
    cut = round(_CLEARANCE * _SCALE)
    mask[rows - cut :] = 0
    for left in (0.05, 0.82):
        _rect(image, (left, (rows - cut) / rows, left + 0.13, 1), _RUBBER)
        _rect(mask[..., None], (left, (rows - cut) / rows, left + 0.13, 1), (255, 0, 0))
    return Texture(image, mask)


def _body(rng: np.random.Generator, spec: VehicleSpec, belt: float, *, lamps: bool) -> Part:
    sheet = _blank(rng, spec.length, belt, spec.paint)
    image = sheet[0]
    _rect(image, (0, 0.8, 1, 1), dim(spec.paint, 0.42))
    for share in (0.30, 0.50, 0.70):
        _rect(image, (share, 0.05, share + 0.006, 0.8), dim(spec.paint, 0.5))
    for share in (0.33, 0.53):
        _rect(image, (share, 0.22, share + 0.04, 0.27), (60, 60, 62))
    _rect(image, (0, 0.28, 0.035, 0.5), (45, 38, 175))
    _rect(image, (0.96, 0.3, 1, 0.5), (215, 220, 220))
    _wheels(sheet, [0.19, 0.81], 0.33 if spec.kind == "car" else 0.37)
    deck = dim(spec.paint, 1.12, 12)
    tail = _end(rng, spec, belt, nose=False, lamps=lamps)
    nose = _end(rng, spec, belt, nose=True, lamps=lamps)
    return Part(0, spec.length, 0, belt, 0.02, 0.1, 0.02, Texture(*sheet), tail, nose, deck)


def _cabin(rng: np.random.Generator, spec: VehicleSpec, belt: float) -> Part:
    length, high = spec.length, spec.height - belt
    saloon = spec.kind == "car" and rng.random() < 0.5
    rear = (0.14 if saloon else 0.02) * length
    front = length * (0.88 if spec.kind == "van" else float(rng.uniform(0.72, 0.78)))
    slope_rear, slope_front = (
        (0.1, 0.55) if spec.kind == "van" else (0.4, float(rng.uniform(0.8, 1.1)))
    )
    if saloon:
        slope_rear = float(rng.uniform(0.55, 0.8))
    elif spec.kind == "car":
        slope_rear = float(rng.uniform(0.2, 0.65))
    side, mask = _blank(rng, front - rear, high, spec.paint)
    if spec.kind == "van" and rng.random() < 0.6:
        panes = [(0.68, 0.95)]
    else:
        panes = [(0.05, 0.30), (0.34, 0.62), (0.66, 0.96)]
    for left, right in panes:
        _glass(side, [(left, 0.95), (left + 0.01, 0.16), (right - 0.01, 0.16), (right, 0.95)])
    wide = spec.width - 0.04
    ends = []
    for margin in (0.1, 0.06):
        end, shape = _blank(rng, wide, high, spec.paint)
        _glass(
            end, [(margin, 0.96), (margin + 0.03, 0.14), (0.97 - margin, 0.14), (1 - margin, 0.96)]
        )
        ends.append(Texture(end, shape))
    taper = 0.08 if spec.kind == "van" else 0.2
    deck = dim(spec.paint, 1.1, 8)
    return Part(
        rear, front, belt - 0.02, spec.height, slope_rear, slope_front, taper, Texture(side, mask),
        ends[0], ends[1], deck,
    )  # fmt: skip


def _tall_end(
    rng: np.random.Generator, spec: VehicleSpec, high: float, *, nose: bool, lamps: bool
) -> Texture:
    """The whole tail or nose of a bus or lorry."""
    image, mask = _blank(rng, spec.width, high, spec.paint)
    if nose:
        _glass(image, [(0.05, 0.58), (0.06, 0.12), (0.94, 0.12), (0.95, 0.58)])
        _rect(image, (0.2, 0.02, 0.8, 0.09), (30, 30, 32))
        _rect(image, (0.3, 0.035, 0.7, 0.075), (60, 190, 240))
    elif spec.kind == "bus":
        _glass(image, [(0.12, 0.42), (0.12, 0.14), (0.88, 0.14), (0.88, 0.42)])
        _rect(image, (0.2, 0.55, 0.8, 0.75), dim(spec.paint, 0.6))
    _rect(image, (0, 0.86, 1, 1), (40, 40, 42))
    lamp: Bgr = (225, 240, 245) if nose else ((60, 55, 240) if lamps else (45, 40, 175))
    for left in (0.04, 0.84):
        _rect(image, (left, 0.76, left + 0.12, 0.83), lamp)
    _rect(image, (0.4, 0.88, 0.6, 0.92), (210, 215, 215))
    rows, columns = mask.shape
    cut = round(1.5 * _CLEARANCE * _SCALE)
    mask[rows - cut :] = 0
    for left in (0.05, 0.77):
        span = slice(round(left * columns), round((left + 0.18) * columns))
        mask[rows - cut :, span] = 255
        image[rows - cut :, span] = np.array(_RUBBER, np.uint8)
    return Texture(image, mask)


def _bus(rng: np.random.Generator, spec: VehicleSpec, *, lamps: bool) -> Part:
    sheet = _blank(rng, spec.length, spec.height, spec.paint)
    image = sheet[0]
    stripe = vary(rng, (90, 120, 150), 50)
    _rect(image, (0, 0.6, 1, 0.7), stripe)
    for left in np.arange(0.02, 0.95, 0.12):
        right = min(left + 0.105, 0.985)
        _glass(image, [(left, 0.5), (left, 0.15), (right, 0.15), (right, 0.5)])
    for left in (0.86, 0.42):
        _rect(image, (left, 0.18, left + 0.09, 0.88), (70, 66, 62))
        _rect(image, (left + 0.043, 0.18, left + 0.047, 0.88), (150, 150, 150))
    _wheels(sheet, [0.22, 0.76], 0.48)
    tail = _tall_end(rng, spec, spec.height, nose=False, lamps=lamps)
    nose = _tall_end(rng, spec, spec.height, nose=True, lamps=lamps)
    deck = dim(spec.paint, 0.9)
    return Part(
        0, spec.length, 0, spec.height, 0.05, 0.15, 0.06, Texture(*sheet), tail, nose, deck
    )  # fmt: skip


def _truck(rng: np.random.Generator, spec: VehicleSpec, *, lamps: bool) -> list[Part]:
    split = spec.length - 1.9
    box_paint: Bgr = (215, 215, 215) if rng.random() < 0.5 else vary(rng, (130, 130, 130), 60)
    blue, green, red = (int(channel) for channel in box_paint)
    cargo_spec = spec._replace(paint=(blue, green, red))
    cargo = _blank(rng, split - 0.15, spec.height, cargo_spec.paint)
    logo = dim(rng.integers(30, 220, 3), 1.0)
    _rect(cargo[0], (0.2, 0.25, 0.75, 0.5), logo)
    _rect(cargo[0], (0, 0.78, 1, 1), (45, 45, 47))
    _wheels(cargo, [0.2, 0.36], 0.46)
    tail = _tall_end(rng, cargo_spec, spec.height, nose=False, lamps=lamps)
    high = spec.height * 0.82
    cab = _blank(rng, 1.9, high, spec.paint)
    _glass(cab[0], [(0.3, 0.5), (0.3, 0.16), (0.82, 0.16), (0.92, 0.5)])
    _rect(cab[0], (0.26, 0.1, 0.28, 0.85), dim(spec.paint, 0.55))
    _wheels(cab, [0.55], 0.46)
    nose = _tall_end(rng, spec, high, nose=True, lamps=lamps)
    back = Texture(*_blank(rng, spec.width, high, spec.paint))
    paint = dim(spec.paint, 1.0)
    return [
        Part(split, spec.length, 0, high, 0, 0.2, 0.05, Texture(*cab), back, nose, paint),
        Part(0, split - 0.15, 0, spec.height, 0, 0, 0, Texture(*cargo), tail, tail, box_paint),
    ]
