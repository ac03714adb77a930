"""Flat pictures that always face the camera: trees, bushes and walking people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.street.texture import Bgr, Texture, dim, fractal, grain, vary

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 8
"""Pictures in one walking cycle."""
_GREENS: tuple[Bgr, ...] = (
    (45, 110, 80), (40, 95, 60), (55, 125, 105), (50, 90, 70), (60, 140, 125), (40, 80, 55),
)  # fmt: skip
_AUTUMN: tuple[Bgr, ...] = ((55, 110, 140), (45, 75, 125))
_COATS: tuple[Bgr, ...] = (
    (40, 40, 42), (90, 70, 55), (120, 80, 45), (70, 85, 120), (60, 55, 150), (185, 190, 195),
    (75, 100, 80), (110, 165, 190), (150, 120, 140), (60, 60, 65), (170, 130, 85),
)  # fmt: skip
_SKIN: tuple[Bgr, ...] = ((150, 180, 225), (110, 145, 195), (60, 85, 125), (40, 55, 85))


def make_tree(rng: np.random.Generator) -> Texture:
    """A tree that fills its picture: trunk from the bottom edge, crown to the top."""
    rows, columns = 224, 192
    kind = rng.random()
    if kind < 0.2:  # conifer: a cone of branches
        heights = np.linspace(0.05, 0.8, 26)
        reach = 0.06 + 0.36 * heights
        across = 0.5 + rng.uniform(-1, 1, 26) * reach * 0.8
        blobs = np.stack([across, heights, 0.05 + 0.10 * heights], axis=1)
    else:
        angle, radius = rng.uniform(0, 2 * np.pi, 24), np.sqrt(rng.uniform(0, 1, 24))
        flat = float(rng.uniform(0.24, 0.31))
        blobs = np.stack(
            [0.5 + 0.33 * radius * np.cos(angle), 0.36 + flat * radius * np.sin(angle),
             rng.uniform(0.09, 0.17, 24)], axis=1,
        )  # fmt: skip
    crown, light = _foliage(rng, rows, columns, blobs)
    trunk = np.zeros((rows, columns), np.uint8)
    half, middle = int(rng.integers(4, 9)), columns // 2
    lean = int(rng.integers(-8, 9))
    stem = np.array(
        [(middle - half, rows), (middle + half, rows), (middle + lean + half // 2, rows // 3),
         (middle + lean - half // 2, rows // 3)], np.int32,
    )  # fmt: skip
    cv2.fillConvexPoly(trunk, stem, 255)
    for side in (-1, 1):
        fork = (middle + lean // 2 + side * int(rng.integers(15, 45)), int(rows * 0.35))
        cv2.line(trunk, (middle + lean // 2, int(rows * 0.62)), fork, 255, half)
    bark = vary(rng, (55, 70, 85), 12)
    image = _leaves(rng, light)
    wood = (trunk > 0) & (crown == 0)
    image[wood] = np.array(bark, np.uint8)
    ridge = rng.standard_normal((1, columns), np.float32) * np.ones((rows, 1), np.float32)
    image[wood] = grain(image, ridge, 0.18)[wood]
    return Texture(image, np.maximum(crown, trunk))


def make_bush(rng: np.random.Generator) -> Texture:
    """A bush or a piece of hedge, without a trunk."""
    rows, columns = 96, 192
    if rng.random() < 0.4:  # a trimmed hedge
        xs, ys = np.meshgrid(np.linspace(0.1, 0.9, 12), (0.25, 0.55, 0.85))
        blobs = np.stack([xs.ravel(), ys.ravel(), np.full(xs.size, 0.13)], axis=1)
    else:
        across = rng.uniform(0.18, 0.82, 18)
        tall = 0.28 + 0.6 * np.abs(across - 0.5)
        blobs = np.stack([across, rng.uniform(tall, 0.95), rng.uniform(0.1, 0.18, 18)], axis=1)
    crown, light = _foliage(rng, rows, columns, blobs)
    crown[rows - 6 :][:, columns // 5 : -columns // 5] = 255
    return Texture(_leaves(rng, light), crown)


def _foliage(
    rng: np.random.Generator, rows: int, columns: int, blobs: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Shape (0 or 255) and brightness of a heap of leaf clumps (x, y, radius) in 0..1."""
    x = (np.arange(columns, dtype=np.float32) + 0.5) / columns
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows
    stretch = rows / columns
    inside = np.full((rows, columns), -9.0, np.float32)
    light = np.full((rows, columns), 0.35, np.float32)
    for across, down, radius in blobs.astype(np.float32):
        dx, dy = (x - across) / radius, (y - down) / radius * stretch
        depth = 1.0 - dx * dx - dy * dy
        nearer = depth > inside
        np.copyto(light, 0.56 - 0.24 * dy - 0.09 * dx + 0.22 * (0.5 - down), where=nearer)
        np.maximum(inside, depth, out=inside)
    ragged = inside + fractal(rng, rows, columns, 26.0, 5) * 0.5
    crown = _largest(np.where(ragged > 0.1, 255, 0).astype(np.uint8))
    # Leaves thin out and brighten towards the edge of the crown.
    light += np.where(ragged < 0.4, np.float32(0.05), np.float32(0))
    return crown, np.asarray(cv2.blur(light, (9, 9)), np.float32)


def _largest(shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest connected piece of a shape of 0 and 255: no leaves float in the air."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(shape)
    if len(stats) < 2:
        return shape
    biggest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return np.where(pieces == biggest, 255, 0).astype(np.uint8)


def _leaves(rng: np.random.Generator, light: NDArray[np.float32]) -> NDArray[np.uint8]:
    rows, columns = light.shape
    choices = _AUTUMN if rng.random() < 0.06 else _GREENS
    colour = np.array(vary(rng, choices[int(rng.integers(len(choices)))], 9))
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = colour.astype(np.uint8)
    clumps = fractal(rng, rows, columns, 12.0, 2) * 0.20
    leaves = cv2.blur(rng.standard_normal((rows, columns), np.float32), (2, 2)) * 0.5
    return grain(image, light * 1.6 + clumps + leaves - 1.0, 1.0)


def make_person(rng: np.random.Generator) -> list[Texture]:
    """The pictures of one person's walking cycle, seen from the side, walking to the right."""
    skin = vary(rng, _SKIN[int(rng.integers(len(_SKIN)))], 6)
    coat = vary(rng, _COATS[int(rng.integers(len(_COATS)))], 12)
    legs = vary(rng, ((95, 60, 40), (45, 45, 45), (80, 100, 120))[int(rng.integers(3))], 10)
    hair = vary(rng, ((25, 30, 40), (40, 65, 100), (120, 160, 190))[int(rng.integers(3))], 8)
    bag = bool(rng.random() < 0.35)
    broad = int(rng.integers(15, 21))
    noise = fractal(rng, 192, 96, 24.0, 4)
    return [
        _stride(step / STEPS, (skin, coat, legs, hair), broad, bag, noise) for step in range(STEPS)
    ]


def _stride(
    phase: float,
    colours: tuple[Bgr, Bgr, Bgr, Bgr],
    broad: int,
    bag: bool,
    noise: NDArray[np.float32],
) -> Texture:
    skin, coat, legs, hair = colours
    image = np.empty((192, 96, 3), np.uint8)
    image[:] = np.array(coat, np.uint8)
    mask = np.zeros((192, 96), np.uint8)

    def limb(points: list[tuple[float, float]], thickness: int, colour: Bgr, shade: float) -> None:
        path = np.array(points, np.float64).round().astype(np.int32)
        cv2.polylines(image, [path], False, dim(colour, shade), thickness)
        cv2.polylines(mask, [path], False, 255, thickness)

    swing = float(np.sin(2 * np.pi * phase))
    hip, shoulder = (48.0, 104.0), (48.0, 46.0)
    for side, shade in ((-1, 0.72), (1, 1.0)):  # far side first
        stride = side * swing
        knee = (48 + 12 * stride + 4, 142.0)
        lift = max(0.0, -stride) * 5
        foot = (48 + 22 * stride, 183.0 - lift)
        limb([hip, knee, foot], 14, legs, shade)
        limb([foot, (foot[0] + 8, foot[1] + 3)], 9, (30, 30, 35), shade)
        hand = (48 - 18 * stride + 4, 103.0)
        elbow = (48 - 11 * stride - 3, 78.0)
        if side < 0:
            limb([shoulder, elbow, hand], 9, coat, shade)
    body = np.array(
        [(48 - broad + 4, 44), (48 + broad - 4, 44), (48 + broad, 62), (48 + broad - 3, 112),
         (48 - broad + 3, 112), (48 - broad, 62)], np.int32,
    )  # fmt: skip
    cv2.fillConvexPoly(image, body, coat)
    cv2.fillConvexPoly(mask, body, 255)
    if bag:
        cv2.ellipse(image, (48 - broad, 70), (9, 18), 0, 0, 360, dim(coat, 0.5), -1)
        cv2.ellipse(mask, (48 - broad, 70), (9, 18), 0, 0, 360, 255, -1)
    limb([shoulder, (48 + 11 * swing - 3, 78), (48 + 18 * swing + 4, 103)], 9, coat, 0.85)
    limb([(48, 44), (48, 34)], 9, skin, 0.85)
    cv2.ellipse(image, (49, 22), (11, 14), 0, 0, 360, skin, -1)
    cv2.ellipse(mask, (49, 21), (12, 16), 0, 0, 360, 255, -1)
    cv2.ellipse(image, (47, 17), (12, 12), 0, 150, 380, hair, -1)
    relief = noise * 0.09 + np.linspace(0.12, -0.2, 96, dtype=np.float32)
    return Texture(grain(image, relief, 1.0), mask)
