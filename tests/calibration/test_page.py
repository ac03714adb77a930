"""The report as a page: whole, of one file, and saying what the JSON says."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.charts import histogram, settling
from calibration.graph import GraphView
from calibration.histogram import TensorStatistics
from calibration.html import render
from edge_runtime import cli
from export.half import make_half
from tests.calibration.graphs import deploy_graph, labelled_folder, write_model
from tests.html_page import Page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a search for a mixed graph, with the FP16 model beside."""
    folder = tmp_path_factory.mktemp("page")
    data, model = labelled_folder(folder / "data"), write_model(folder)
    fp16 = folder / "fp16.onnx"
    make_half(model, fp16)
    arguments = (
        "calibrate", model, "--frames", f"folder:{data}", "--samples", 4, "--data",
        f"folder:{data}", "--method", "minmax", "--rounding", "nearest", "--mixed", "--gate", 2.5,
        "--fp16", fp16, "-o", folder / "int8.onnx", "--report", folder / "r.json",
    )  # fmt: skip
    assert cli.main([str(argument) for argument in arguments]) == 0
    return folder / "r.json"


def test_page_has_every_figure_of_the_json(made):
    facts = json.loads(made.read_text())
    texts = Page(made.with_suffix(".html").read_text()).texts
    # all four forms, per class
    assert facts["float_blocks"]
    for form in ("fp32", "fp16", "int8, all", "int8, mixed"):
        assert form in texts
    mixed = facts["accuracy"]["int8"]
    values = [mixed["miou"], *(value for value in mixed["iou"].values() if value is not None)]
    values.append(facts["accuracy_all_int8"]["int8"]["miou"])
    values.append(facts["accuracy_fp16"]["scores"]["miou"])
    for value in values:
        assert f"{100 * value:.2f}" in texts
    # and where it was measured, what was kept float, what was sensitive, and all ranges
    whole = " ".join(texts)
    assert f"measured with {facts['measured_with']}" in whole
    for name in (*facts["float_blocks"], *facts["operators_float"], *facts["ranges"]):
        assert name in whole
    assert [t for t in texts if t in {e["block"] for e in facts["sensitivity"]}][:2] == [
        effect["block"] for effect in facts["sensitivity"]
    ][:2]
    assert "not measured" not in whole


def test_page_needs_nothing_beside_it_and_shows_the_worst_frames(made):
    facts = json.loads(made.read_text())
    page = Page(made.with_suffix(".html").read_text())
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    # image, labels, three masks, and where they differ; of four frames
    assert len(page.addresses) == 6 * 4
    for frame in facts["accuracy"]["worst_frames"][:4]:
        assert any(text.startswith(frame["frame"]) for text in page.texts)
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8), 1)
        for address in page.addresses
    ]
    assert {picture.shape[1] for picture in pictures} == {320}
    # the float model's mask is the labels here, and the INT8 model's is not
    _, labels, fp32, _, int8, different = pictures[:6]
    np.testing.assert_array_equal(labels, fp32)
    marked = (different == (0, 0, 220)).all(-1)
    np.testing.assert_array_equal(marked, (fp32 != int8).any(-1))
    assert marked.any()


def test_histograms_hold_every_value(made):
    facts = json.loads(made.read_text())
    view = GraphView(deploy_graph())
    assert facts["ranges"]
    for name, found in facts["ranges"].items():
        # one value a pixel and channel of 4 frames
        assert sum(found["histogram"]) == 4 * np.prod(view.shape(name)), name
        assert len(found["histogram"]) == 64


def test_what_was_not_measured_is_not_shown_as_a_figure(tmp_path):
    # given a calibration without labels
    report = tmp_path / "r.json"
    arguments = (
        "calibrate", write_model(tmp_path), "--frames", "street:", "--samples", 3, "--method",
        "mse", "-o", tmp_path / "x.onnx", "--report", report, "--sensitivity",
    )  # fmt: skip
    assert cli.main([str(argument) for argument in arguments]) == 0
    # then
    texts = Page((tmp_path / "r.html").read_text()).texts
    assert "accuracy not measured: no labelled data was given" in texts
    assert "Accuracy" not in texts
    assert json.loads(report.read_text())["sensitivity"]


def test_names_cannot_break_the_page(made):
    # given names that are markup
    facts = json.loads(made.read_text())
    evil = "</code><script>alert(1)</script>&"
    facts["model"]["name"] = facts["accuracy"]["data"] = evil
    facts["operators_float"] = {evil: evil}
    facts["ranges"] = {evil: next(iter(facts["ranges"].values()))}
    facts["float_blocks"], facts["remarks"] = [evil], [evil]
    # when
    text = render(facts)
    # then they are text
    assert "<script" not in text
    assert evil in Page(text).texts


@pytest.mark.parametrize("arguments", [["--fp16", "x.onnx"], ["--report", "r.html"]])
def test_impossible_wishes_are_refused(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    model = str(write_model(tmp_path))
    assert cli.main(["calibrate", model, "--frames", "street:", "-o", "x.onnx", *arguments]) == 2
    assert "--report" in capsys.readouterr().err


def test_charts_of_nothing_and_of_extremes():
    assert 'd=""' in histogram([0, 0], 0.0, 1.0)
    assert histogram([1, 5], 2.0, 4.0).count("M") == 3
    assert settling({}) == []
    moves = settling({"1": {"a": 1.0, "z": 0.0}, "2": {"a": 2.0, "z": 0.0}})
    assert moves == [(1, 0.5), (2, 0.0)]
    assert TensorStatistics().coarse(4) == [0, 0, 0, 0]
