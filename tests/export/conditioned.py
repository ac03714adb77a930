"""Random networks on frames whose roundings they do not amplify, and what equal means for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.presets import PRESETS

if TYPE_CHECKING:
    from training.model.hyperseg import HyperSeg

SIDES = dict.fromkeys(PRESETS, 128) | {"voc-l": 256}
"""At 128 the coarsest map of voc-l is one pixel, and batch norms calibrated on two values amplify
every rounding."""
TIE = 1e-4
"""Two logits that are nearer than this, by the largest one, may change places by rounding."""


def noise(net: HyperSeg, side: int) -> np.ndarray:
    """A frame of the noise that the batch norms are calibrated with.

    What differs from it is amplified by random weights, and with it every rounding: on uniform
    noise the plain graph itself is up to 30 % away from float64.
    """
    values = np.random.default_rng(1).standard_normal((1, side, side, 3))
    mean, std = np.array(net.config.mean), np.array(net.config.std)
    return (255 * (mean + std * values)).round().clip(0, 255).astype(np.uint8)


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """Logits (1, C, H, W) differ by rounding, and classes only where two are tied."""
    scale = abs(wanted).max()
    assert abs(found - wanted).max() < TIE / 2 * scale
    best = np.sort(wanted, axis=1)
    clear = best[:, -1] - best[:, -2] > TIE * scale
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found.argmax(1)[clear], wanted.argmax(1)[clear])
