"""Published networks as the runtime opens them, gates in their weights: the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import pytest

from benchmarks.forms import calibrated
from edge_runtime.backends.blocked.probe import machine_block
from edge_runtime.backends.ort import open_session
from edge_runtime.backends.settings import OrtSettings
from export.to_onnx import to_onnx
from training.model.encoders.efficientnet import SqueezeExcite
from training.presets import PUBLISHED

if TYPE_CHECKING:
    from pathlib import Path

    from training.model.hyperseg import HyperSeg

SIDES = dict.fromkeys(PUBLISHED, 128) | {"voc-l": 256}
"""At 128 the coarsest map of voc-l is one pixel, and batch norms calibrated on two values amplify
every rounding."""
TIE = 4e-5
"""Two logits that are nearer than this, by the largest one, may change places by rounding."""


def noise(net: HyperSeg, side: int) -> np.ndarray:
    """A frame of the noise that the batch norms are calibrated with: what differs from it is
    amplified by random weights, and with it every rounding."""
    values = np.random.default_rng(1).standard_normal((1, side, side, 3))
    mean, std = np.array(net.config.mean), np.array(net.config.std)
    return (255 * (mean + std * values)).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        name if name == "camvid-s" else pytest.param(name, marks=pytest.mark.slow)
        for name in PUBLISHED
    ],
)
def test_presets_are_the_same(name: str, tmp_path: Path) -> None:
    if machine_block() is None:
        pytest.skip("onnxruntime has no blocked convolution on this machine")
    side = SIDES[name]
    net = calibrated(name, side)
    path = tmp_path / "net.onnx"
    path.write_bytes(to_onnx(net, (side, side), "logits").SerializeToString())
    plain, _ = open_session(ort, path, OrtSettings(1, blocked=False))

    session, prepared = open_session(ort, path, OrtSettings(1))

    assert prepared.gates == sum(isinstance(module, SqueezeExcite) for module in net.modules())
    feed = {"frame": noise(net, side)}
    (wanted,), (found,) = plain.run(None, feed), session.run(None, feed)
    scale = abs(wanted).max()
    assert abs(found - wanted).max() < TIE / 2 * scale
    best = np.sort(wanted, axis=1)
    clear = best[:, -1] - best[:, -2] > TIE * scale
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found.argmax(1)[clear], wanted.argmax(1)[clear])
