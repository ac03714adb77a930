"""The pictures and the card of a run: kept up to date, and never the end of it."""

from __future__ import annotations

import json
import sys

import pytest

from training.checkpoint import save_checkpoint
from training.evaluation.evaluate import confusion
from training.evaluation.observers import Worst
from training.model.hyperseg import HyperSeg
from training.presets import preset
from training.reports.run_report import RunReport


@pytest.fixture
def run(tmp_path):
    """A run's folder after its validation at step 3."""
    val = {"kind": "val", "step": 3, "miou": 0.5, "iou": {}, "accuracy": 0.6, "images": 2}
    (tmp_path / "log.jsonl").write_text(json.dumps(val) + "\n")
    options = {"size": [64, 64], "step": 3, "steps": 3, "batch": 1, "seed": 0}
    net = HyperSeg(preset("street-n"))
    save_checkpoint(tmp_path / "checkpoint.safetensors", net, name="net", options=options)
    return tmp_path


@pytest.fixture
def validation(toy):
    """A data set and its worst images."""

    class Red:
        labels = toy.LABELS

        def predict(self, image):
            return image[:, :, 0] * 0

    dataset, worst = toy.ToyDataset("val", 3), Worst(2)
    confusion(Red(), dataset, observers=[worst])
    return dataset, worst.ranked


def test_validation_draws_and_the_end_writes_the_card(run, validation):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")
    said = []
    report = RunReport(run, said.append)

    report.validated(*validation)
    report.finished()

    assert said == []
    for name in ("report.html", "curve.png", "worst.png", "checkpoint.safetensors.md"):
        assert (run / name).stat().st_size > 500
    assert "| **mIoU** | 50.0 |" in (run / "checkpoint.safetensors.md").read_text()


def test_without_matplotlib_the_rest_is_drawn_and_it_is_said_once(run, validation, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    said = []
    report = RunReport(run, said.append)

    report.validated(*validation)
    report.validated(*validation)

    assert said == [
        "curve.png is not written: pip install 'hyperseg-edge[reports]' brings what draws it"
    ]
    assert (run / "worst.png").is_file()
    assert (run / "report.html").is_file()


def test_a_place_that_cannot_be_written_does_not_end_the_run(run, validation, tmp_path):
    said = []
    report = RunReport(tmp_path / "gone", said.append)

    report.validated(*validation)
    report.finished()

    assert len(said) == 4
    assert all("\n" not in line for line in said)
