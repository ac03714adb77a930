"""The learning curve: read from a log that a kill may have cut short, drawn whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ArtifactError, OptionError
from training.reports.curve import draw_curve, read_curve


def write_log(folder, records, tail=""):
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + tail)
    return folder


@pytest.fixture
def run(tmp_path):
    records = [{"kind": "start", "step": 0, "options": {}}]
    for step in range(10, 101, 10):
        records.append({"kind": "train", "step": step, "loss": 30 / step, "lr": 1e-3 / step})
        if step % 50 == 0:
            records.append({"kind": "val", "step": step, "miou": step / 200})
    return write_log(tmp_path / "run", records, tail='{"kind": "train", "st')


def test_curve_is_what_the_log_says(run):
    curve = read_curve(run)

    assert curve.train_steps == list(range(10, 101, 10))
    assert curve.loss[0] == 3.0
    assert curve.lr[-1] == 1e-5
    assert (curve.val_steps, curve.miou) == ([50, 100], [0.25, 0.5])
    assert curve.best == (100, 0.5)


def test_of_equals_the_first_is_the_best_as_it_was_kept(tmp_path):
    values = ((1, 0.5), (2, 0.6), (3, 0.6))
    run = write_log(tmp_path, [{"kind": "val", "step": s, "miou": m} for s, m in values])

    assert read_curve(run).best == (2, 0.6)


def test_no_log_is_said(tmp_path):
    with pytest.raises(ArtifactError, match="expected the folder of a training run"):
        read_curve(tmp_path)


def drawn(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def test_lines_and_the_best_point_are_drawn(run):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")

    pixels = drawn(draw_curve(run))

    blue = (pixels[..., 2] - pixels[..., 0] > 100).sum()
    red = (pixels[..., 0] - pixels[..., 2] > 100).sum()
    assert blue > 500
    assert red > 20
    assert list(run.glob(".*")) == []


def test_a_run_without_validation_or_steps_has_a_curve_too(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")
    run = write_log(tmp_path, [{"kind": "start", "step": 0}])

    pixels = drawn(draw_curve(run))

    assert (pixels[..., 0] - pixels[..., 2] > 100).sum() == 0


def test_no_step_is_the_best_on_images_that_were_trained_on(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")
    start = {"kind": "start", "step": 0, "options": {"train_split": "trainval"}}
    run = write_log(tmp_path, [start, {"kind": "val", "step": 5, "miou": 0.9}])

    pixels = drawn(draw_curve(run))

    assert read_curve(run).val_seen
    assert (pixels[..., 0] - pixels[..., 2] > 100).sum() == 0


def test_an_old_picture_stays_when_a_new_one_cannot_be_written(run, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure", reason="the extra 'reports' is not installed")
    before = draw_curve(run).read_bytes()

    def fail(self, place, **settings):
        place.write_bytes(before[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure.Figure, "savefig", fail)

    with pytest.raises(OptionError, match="No space left on device"):
        draw_curve(run)
    assert (run / "curve.png").read_bytes() == before
    assert list(run.glob(".*")) == []
