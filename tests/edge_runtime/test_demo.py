"""`hyperseg demo`: clip, masks, report and scores are there and fit each other."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from edge_runtime.artifacts import read_manifest
from edge_runtime.cli import main
from edge_runtime.demo import DemoOptions, demonstrate
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.zoo import list_models

pytestmark = pytest.mark.gst


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show") / "out"
    return folder, demonstrate(DemoOptions(folder, frames=24))


def test_every_frame_of_the_clip_is_answered(shown):
    _, outcome = shown
    assert outcome.report.frames.captured == 24
    assert outcome.report.frames.published == 24
    assert outcome.scores.images == 24


def test_the_model_finds_its_way_on_a_street_it_never_saw(shown):
    """Chance is far below; sky and road are most of the picture."""
    _, outcome = shown
    assert outcome.scores.miou > 0.55
    assert outcome.scores.iou["road"] > 0.85
    assert outcome.scores.iou["sky"] > 0.85


def test_what_is_written_can_be_opened(shown):
    folder, outcome = shown
    overlay = cv2.VideoCapture(str(folder / "overlay.mp4"))
    assert int(overlay.get(cv2.CAP_PROP_FRAME_COUNT)) == 24
    assert cv2.imread(str(folder / "preview.png")).shape == (540, 960, 3)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["miou"] == pytest.approx(outcome.scores.miou)
    report = json.loads((folder / "report.json").read_text())
    assert report["frames"]["published"] == 24
    assert sorted(path.name for path in folder.iterdir()) == [
        "overlay.mp4", "preview.png", "report.json", "scores.json", "street.mp4",
    ]  # fmt: skip


def test_the_overlay_differs_from_the_clip(shown):
    folder, _ = shown
    clip = cv2.VideoCapture(str(folder / "street.mp4")).read()[1]
    overlay = cv2.VideoCapture(str(folder / "overlay.mp4")).read()[1]
    assert np.abs(clip.astype(int) - overlay).mean() > 10


def test_a_model_of_other_classes_is_refused(make_model, tmp_path):
    from edge_runtime.labels import CAMVID_11

    model = make_model(labels=CAMVID_11)
    with pytest.raises(ArtifactError, match="camvid-11"):
        demonstrate(DemoOptions(tmp_path / "out", model=str(model)))
    assert not (tmp_path / "out").exists()


def test_mistakes_are_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["demo", "-o", str(tmp_path / "file" / "below")]) == 2
    assert main(["demo", "-o", str(tmp_path / "out"), "--frames", "0"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 2
    with pytest.raises(OptionError):
        DemoOptions(tmp_path, frames=0)


def test_shipped_models_are_small_whole_and_free_of_this_machine():
    models = list_models()
    assert "street-edge-n" in [model.name for model in models]
    assert sum(model.path.stat().st_size for model in models) <= 25 * 2**20
    for model in models:
        manifest = read_manifest(model.path, kind="onnx")
        assert manifest.license
        assert manifest.parity is not None
        assert manifest.parity.passed
        assert " /" not in manifest.created_by.command
