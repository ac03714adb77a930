"""The page of a run: what its log and its validations say, whatever became of the run."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest

from edge_runtime.cli import main
from edge_runtime.errors import ArtifactError
from edge_runtime.street import write_dataset
from tests.html_page import Page
from training.evaluation.evaluate import confusion
from training.evaluation.observers import Worst
from training.reports.account import MOST_POINTS, account, thinned
from training.reports.kept import read_kept, write_kept
from training.reports.page import render, write_run_page
from training.reports.run_report import RunReport

SCORES = {"iou": {"red": 0.5, "<green>": None, "blue": 0.25}, "accuracy": 0.75, "images": 3}


def validation(step, miou, **more):
    return {"kind": "val", "step": step, "miou": miou, **SCORES, **more}


def write_log(folder, *records, options=None):
    start = {"kind": "start", "step": 0, "options": {"steps": 40, **(options or {})}}
    lines = [json.dumps(record) for record in (start, *records)]
    (folder / "log.jsonl").write_text("\n".join([*lines, '{"kind": "tr']))
    return folder


def trained(step):
    return {"kind": "train", "step": step, "loss": 8 / step, "lr": 1e-3, "images_per_s": 4.0}


@pytest.fixture
def run(tmp_path):
    """A run that was best at step 20 and is not finished."""
    records = [trained(10), validation(10, 0.25), trained(20), validation(20, 0.375)]
    return write_log(tmp_path, *records, trained(30), validation(30, 0.3125))


@pytest.fixture
def validated(toy):
    """A data set, the confusion matrix of a network that sees red everywhere, its worst images."""

    class Red:
        labels = toy.LABELS

        def predict(self, image):
            return image[:, :, 0] * 0

    dataset, worst = toy.ToyDataset("val", 3), Worst(8)
    return dataset, confusion(Red(), dataset, observers=[worst]), worst.ranked


def test_page_says_what_the_log_says(run):
    page = Page(write_run_page(run).read_text(encoding="utf-8"))

    assert page.loaded == []
    assert page.report == account(run)[0]
    shown = set(page.texts)
    assert {"37.50 %", "mIoU at step 20, best on val", "75.00 %", "of 40 steps"} <= shown
    assert {"30", "not finished", "kept, step 20", "last, step 30", "Best 37.50 % at step 20."} <= (
        shown
    )
    assert {"50.00", "25.00", "absent", "-6.25"} <= shown
    assert page.source.count('<circle class="dot"') == 3 + 3 + 3
    assert "What is taken for what" not in shown, "nothing was kept of that validation"


def test_pictures_and_matrix_are_those_of_the_kept_weights(run, validated):
    dataset, matrix, worst = validated
    write_kept(run, 20, dataset, matrix, worst)

    page = Page(write_run_page(run).read_text(encoding="utf-8"))

    # labelled green and blue, 100 of them predicted red
    assert page.report["confusion"] == matrix.counts.tolist()
    assert page.report["dataset"] == "toy val"
    assert len(re.findall(r'<td class="c h[ r]*" style="--s:1.00">100</td>', page.source)) == 3
    assert page.loaded == []
    assert len(page.addresses) == 3 * 4
    for frame in worst:
        assert f"{frame.name}: IoU {100 * frame.iou:.1f} %" in page.texts
    _, label, prediction, _ = (
        cv2.imdecode(np.frombuffer(base64.b64decode(a.partition(",")[2]), np.uint8), 1)
        for a in page.addresses[:4]
    )
    # BGR, as OpenCV has it
    assert {tuple(colour) for colour in prediction.reshape(-1, 3)} == {(0, 0, 255)}
    assert (0, 255, 0) in {tuple(colour) for colour in label.reshape(-1, 3)}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"step": 20}', '{"step": 10}'])
def test_what_is_not_of_the_kept_weights_is_not_shown(run, content):
    (run / "kept.json").write_text(content)

    assert read_kept(run, 20) is None
    assert "confusion" not in account(run)[0]


def test_a_run_that_goes_on_has_its_whole_course(run):
    before = (run / "log.jsonl").read_text().rpartition("\n")[0]
    again = {"kind": "start", "step": 30, "options": {"steps": 40}}
    more = [json.dumps(record) for record in (again, trained(40), validation(40, 0.5))]
    (run / "log.jsonl").write_text("\n".join([before, *more]))

    page = Page(write_run_page(run).read_text(encoding="utf-8"))

    assert page.report["train"]["step"] == [10, 20, 30, 40]
    assert page.report["finished"]
    assert {"finished", "Resumed 1 time.", "mIoU at step 40, best on val"} <= set(page.texts)


def test_validation_and_end_keep_the_page_up_to_date(run, validated):
    dataset, matrix, worst = validated
    report = RunReport(run, print)

    report.validated(dataset, worst, (20, matrix))
    first = (run / "report.html").read_text()
    # when another validation was not better, what is kept stays
    report.validated(dataset, worst[:1])
    second = (run / "report.html").read_text()

    assert Page(first).report["confusion"] == Page(second).report["confusion"]
    assert first.count("<img") == second.count("<img") == 12
    assert list(run.glob(".*")) == []


def test_a_val_split_that_was_trained_on_has_no_best(tmp_path):
    run = write_log(
        tmp_path, validation(1, 0.9), validation(2, 0.5), options={"train_split": "trainval"}
    )

    page = Page(write_run_page(run).read_text(encoding="utf-8"))

    assert {"50.00 %", "mIoU at step 2, val was trained on"} <= set(page.texts)
    assert "best" not in page.text.lower()


def test_a_run_that_just_began_has_a_page_and_none_is_said(tmp_path):
    assert "of 40 steps" in Page(render(*account(write_log(tmp_path)))).texts
    with pytest.raises(ArtifactError, match="expected the folder of a training run"):
        account(tmp_path / "none")


def test_names_stay_text_and_folders_stay_here(tmp_path, validated):
    evil = "</script><script>alert(1)</script>"
    dataset, matrix, worst = validated
    dataset.name = evil
    options = {"data": "camvid:/home/someone/camvid", "augment": {"note": evil}, "list": [evil, 2]}
    run = write_log(tmp_path, validation(20, 0.5), options=options)
    write_kept(run, 20, dataset, matrix, worst)

    page = Page(write_run_page(run).read_text(encoding="utf-8"))

    assert len(page.scripts) == 1
    assert page.loaded == []
    assert evil in page.texts
    assert f"{evil} 2" in page.texts
    assert "camvid:camvid" in page.texts
    assert "someone" not in page.source


def test_long_curves_are_thinned_to_means():
    assert thinned([1.0, None, 3.0]) == [1.0, None, 3.0]
    assert thinned([]) == []
    long = thinned([float(value) for value in range(2 * MOST_POINTS)])
    assert len(long) == MOST_POINTS
    assert long[:2] == [0.5, 2.5]
    assert thinned([1.0, None, 5.0, 7.0], most=2) == [None, 6.0]


@pytest.mark.slow
def test_a_real_run_and_its_evaluation_leave_pages(tmp_path, capsys):
    folder, run = tmp_path / "data", tmp_path / "run"
    write_dataset(folder, seeds=range(4), frames_per_seed=2, size=(60, 90))
    arguments = ["--preset", "street-n", "--data", f"folder:{folder}", "--run", str(run),
                 "--steps", "2", "--batch", "2", "--crop", "64x64", "--threads", "1",
                 "--validate-every", "1", "--log-every", "1", "--device", "cpu"]  # fmt: skip
    assert main(["train", *arguments]) == 0

    # then the page is that of the files beside it
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    best = max((one for one in log if one["kind"] == "val"), key=lambda one: one["miou"])
    assert f"{100 * best['miou']:.2f} %" in page.texts
    for value in best["iou"].values():
        assert (f"{100 * value:.2f}" if value is not None else "absent") in page.texts
    assert page.report["train"]["loss"] == [one["loss"] for one in log if one["kind"] == "train"]
    manifest = json.loads((run / "checkpoint.safetensors.json").read_text())
    assert manifest["sha256"] in page.texts
    assert {"finished", "street-8 val"} <= set(page.texts)
    assert len(page.addresses) == 2 * 4
    assert str(tmp_path) not in page.source

    # and when the kept weights are evaluated, the figures are the same
    html, plain = tmp_path / "eval.html", tmp_path / "eval.json"
    evaluate = ["eval", str(run / "checkpoint.safetensors"), "--data", f"folder:{folder}",
                "--split", "val", "--group-by", "prefix", "--threads", "1"]  # fmt: skip
    assert main([*evaluate, "--report", str(html)]) == 0
    assert main([*evaluate, "--report", str(plain), "--against", str(plain)]) == 2
    assert main([*evaluate, "--report", str(plain)]) == 0
    shown, scores = Page(html.read_text(encoding="utf-8")), json.loads(plain.read_text())
    assert shown.report["confusion"] == scores["confusion"] == page.report["confusion"]
    for key in ("miou", "accuracy", "mean_accuracy", "frequency_weighted"):
        assert f"{100 * scores[key]:.2f} %" in shown.texts
    assert shown.loaded == []
    assert len(shown.addresses) == 2 * 4
    assert set(scores["groups"]["scores"]) <= set(shown.texts)
    assert scores["model_sha256"] in shown.texts
    assert str(tmp_path) not in shown.source

    # and the pages can be made again from what was kept
    html.unlink()
    assert main(["report", str(plain)]) == 0
    assert Page((tmp_path / "eval.html").read_text(encoding="utf-8")).report == scores

    # also from what a version wrote that named no schema and left nothing out
    earlier = {name: value for name, value in scores.items() if name not in ("schema", "left_out")}
    plain.write_text(json.dumps(earlier))
    assert main(["report", str(plain)]) == 0
    assert Page((tmp_path / "eval.html").read_text(encoding="utf-8")).report == earlier
    capsys.readouterr()


@pytest.mark.parametrize(
    ("report", "lacks"),
    [
        ({"schema": "hyperseg-edge.bench/1"}, "it lacks 'models'"),
        ({"schema": "hyperseg-edge.latency/1"}, "it lacks 'model'"),
        ({"schema": "hyperseg-edge.cameras/1"}, "it lacks '"),
        ({"schema": "hyperseg-edge.soak/1"}, "it lacks '"),
        ({"schema": "hyperseg-edge.evaluation/1"}, "it lacks 'miou'"),
        ({"confusion": [[1]]}, "it lacks 'miou'"),
        ({"schema": "hyperseg-edge.train/1"}, "it lacks 'kept'"),
        ({"schema": "hyperseg-edge.bench/1", "models": 3}, "is no complete report of ours"),
        ({"schema": ["x"]}, "has no page"),
    ],
)
def test_no_page_is_made_of_an_incomplete_report(report, lacks, tmp_path, capsys):
    place = tmp_path / "f.json"
    place.write_text(json.dumps(report))

    assert main(["report", str(place)]) == 2

    said = capsys.readouterr().err
    assert lacks in said
    assert said.count("\n") == 1
    assert not place.with_suffix(".html").exists()
