"""The mIoU that stands beside a latency: that of new images, if anybody measured it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.models import miou_of, miou_of_card
from edge_runtime.artifacts import Metric
from edge_runtime.zoo import list_models
from tests.scripted import scripted_manifest

CARD = """# a model

| class | val, IoU % | test, IoU % |
| --- | --- | --- |
| Sky | 94.9 | 92.1 |
| **mIoU** | 89.0 | 70.7 |
| pixel accuracy | 97.7 | 92.2 |
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CARD, {"val": 0.89, "test": 0.707}),
        ("| class | test, IoU % |\n| **mIoU** | 50.0 |", {"test": 0.5}),
        ("# a card without figures", {}),
    ],
)
def test_a_card_is_read(text, expected):
    assert miou_of_card(text) == pytest.approx(expected)


def test_test_images_come_before_what_the_manifest_says(tmp_path):
    path = tmp_path / "m.onnx"
    manifest = replace(
        scripted_manifest(), metrics=(Metric("miou", 0.9, "scripted val, trained on"),)
    )

    assert miou_of(path, manifest) == {"scripted val, trained on": 0.9}
    (tmp_path / "m.md").write_text(CARD, encoding="utf-8")
    assert miou_of(path, manifest) == pytest.approx({"scripted test": 0.707})


def test_every_shipped_model_has_an_miou():
    for model in list_models():
        assert miou_of(model.path, model.manifest), model.name
