"""Published networks as the runtime opens them, gates in their weights: the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime as ort
import pytest

from benchmarks.forms import calibrated
from edge_runtime.backends.blocked.probe import machine_block
from edge_runtime.backends.ort import open_session
from edge_runtime.backends.settings import OrtSettings
from export.to_onnx import to_onnx
from tests.export.conditioned import SIDES, assert_same, noise
from training.model.encoders.efficientnet import SqueezeExcite
from training.presets import PUBLISHED

if TYPE_CHECKING:
    from pathlib import Path


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
    assert_same(found, wanted)
