"""The verb `eval` from the command line to what it prints and leaves."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edge_runtime.artifacts import sha256_of
from edge_runtime.cli import main
from edge_runtime.labels import CAMVID_12, STREET_8
from training.checkpoint import save_checkpoint
from training.evaluation.report import read_report
from training.model.hyperseg import HyperSeg
from training.presets import preset, variant

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
NAMES = ("alpha_1", "alpha_2", "beta_1", "beta_2", "beta_3")


def write_data(folder, classes, meta=None):
    """Five pictures of 40 x 60 in two sequences, their labels in vertical stripes."""
    rng = np.random.default_rng(0)
    for part in ("test", "test_labels"):
        (folder / part).mkdir(parents=True)
    for name in NAMES:
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "test" / f"{name}.png")
        stripes = np.tile(np.arange(60, dtype=np.uint8) % classes, (40, 1))
        Image.fromarray(stripes).save(folder / "test_labels" / f"{name}.png")
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secret-place") / "streets"
    return f"folder:{write_data(folder, 8, {'labels': STREET_8.name})}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("secret-place") / "net.safetensors"
    save_checkpoint(path, HyperSeg(preset("street-n")), name="net", options={"size": [64, 64]})
    return path


def evaluate(*arguments):
    return main(["eval", *map(str, arguments), "--threads", "1"])


def test_report_says_all_that_is_needed_to_repeat_and_believe_it(
    data, checkpoint, tmp_path, capsys
):
    report_file = tmp_path / "scores.json"

    # when
    assert evaluate(checkpoint, "--data", data, "--json", report_file) == 0

    # then
    report = json.loads(report_file.read_text())
    counts = np.array(report["confusion"])
    assert counts.shape == (8, 8)
    assert counts.sum() == 5 * 40 * 60
    assert report["accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
    assert set(report["iou"]) == set(report["classes"]) == set(STREET_8.names)
    assert report["miou"] == pytest.approx(np.mean(list(report["iou"].values())))
    assert 0 <= report["frequency_weighted"] <= report["accuracy"] <= 1
    assert 0 <= report["mean_accuracy"] <= 1
    expected = {
        "images": 5, "protocol": "public", "split": "test", "data": "folder:streets",
        "size": [64, 64], "resize": "stretch", "scales": [1.0], "flip": False, "window": None,
        "label_sizes": [[40, 60]], "model": "net.safetensors", "limit": None,
        "model_sha256": sha256_of(checkpoint),
    }  # fmt: skip
    assert {key: report[key] for key in expected} == expected
    assert report["versions"]["hyperseg-edge"]
    assert report["versions"]["torch"]
    assert report["engine"].startswith("torch ")
    assert "secret-place" not in report_file.read_text()

    # then: the table shows every class, the mean, and at which size was scored
    printed = capsys.readouterr().out
    for name, value in report["iou"].items():
        assert re.search(rf"{name} +{100 * value:.2f}", printed)
    assert re.search(rf"mIoU +{100 * report['miou']:.2f}", printed)
    assert "5 images scored at 40x60, seen whole at 64x64 (stretch)" in " ".join(printed.split())


def test_views_groups_and_limit_reach_the_report(data, checkpoint, tmp_path, capsys):
    report_file = tmp_path / "scores.json"

    code = evaluate(
        checkpoint, "--data", data, "--scales", "1.0,2.0", "--flip", "--group-by", "prefix",
        "--limit", "3", "--json", report_file,
    )  # fmt: skip

    assert code == 0
    report = read_report(report_file)
    assert (report["scales"], report["flip"], report["limit"]) == ([1.0, 2.0], True, 3)
    groups = report["groups"]["scores"]
    assert {name: group["images"] for name, group in groups.items()} == {"alpha": 2, "beta": 1}
    assert report["accuracy"] == pytest.approx(
        (2 * groups["alpha"]["accuracy"] + groups["beta"]["accuracy"]) / 3
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 images (the first of the split)" in printed
    assert "scales 1 2, and mirrored" in printed
    assert re.search(r"alpha +2 +\d", printed)


def test_a_truncated_picture_is_left_out_on_request_and_named(tmp_path, checkpoint, capsys):
    # given
    folder = write_data(tmp_path / "streets", 8, {"labels": STREET_8.name})
    cut = folder / "test" / "alpha_2.png"
    cut.write_bytes(cut.read_bytes()[:200])
    place, page = tmp_path / "scores.json", tmp_path / "scores.html"
    arguments = (checkpoint, "--data", f"folder:{folder}", "--json", place, "--report", page)

    # when
    assert evaluate(*arguments) == 2
    (refused,) = capsys.readouterr().err.strip().splitlines()
    assert not place.exists()
    assert evaluate(*arguments, "--skip-unreadable") == 0

    # then
    assert f"cannot read {cut}" in refused
    assert "--skip-unreadable" in refused
    assert "left out, unreadable: alpha_2.png" in capsys.readouterr().out
    report = json.loads(place.read_text())
    assert (report["images"], report["left_out"]) == (4, ["alpha_2.png"])
    assert "alpha_2.png" in page.read_text()


def test_window_and_folder_groups(data, checkpoint, capsys):
    options = ("--window", "64x64", "--overlap", "0.5", "--group-by", "folder", "--limit", "1")

    assert evaluate(checkpoint, "--data", data, *options) == 0

    printed = " ".join(capsys.readouterr().out.split())
    assert "seen in windows of 64x64 that overlap by 0.5" in printed
    assert re.search(r"test +1 +\d", printed)


def test_another_report_stands_beside_it(data, checkpoint, tmp_path, capsys):
    first = tmp_path / "first.json"
    assert evaluate(checkpoint, "--data", data, "--json", first) == 0
    other = json.loads(first.read_text())
    other["miou"] += 0.05
    first.write_text(json.dumps(other))
    capsys.readouterr()

    assert evaluate(checkpoint, "--data", data, "--against", first) == 0

    assert re.search(r"mIoU +[\d.]+ +[\d.]+ +-5.00", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "camvid-authors"}, "protocol is public here and camvid-authors there"),
        ({"split": "val"}, "split is test here and val there"),
        ({"images": 4}, "images is 5 here and 4 there"),
        ({"classes": ["a"]}, "classes is"),
    ],
)
def test_what_cannot_be_compared_is_refused(data, checkpoint, tmp_path, capsys, change, message):
    first = tmp_path / "first.json"
    assert evaluate(checkpoint, "--data", data, "--json", first) == 0
    first.write_text(json.dumps({**json.loads(first.read_text()), **change}))
    capsys.readouterr()

    assert evaluate(checkpoint, "--data", data, "--against", first) == 2

    assert message in capsys.readouterr().err


def test_pictures_are_written(data, checkpoint, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")
    folder = tmp_path / "new" / "pictures"

    assert evaluate(checkpoint, "--data", data, "--pictures", folder, "--worst", "2") == 0

    assert sorted(path.name for path in folder.iterdir()) == ["confusion.png", "worst.png"]
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 50


def test_authors_protocol_is_named_wherever_its_figures_go(tmp_path, capsys):
    # given
    root = write_data(tmp_path / "camvid", 12)
    net = HyperSeg(variant(preset("street-n"), labels=CAMVID_12))
    path, report_file = tmp_path / "net.safetensors", tmp_path / "scores.json"
    save_checkpoint(path, net, name="net", labels=CAMVID_12, options={"size": [64, 64]})
    arguments = (path, "--data", f"camvid12:{root}", "--json", report_file)

    # when
    assert evaluate(*arguments) == 2
    refused = capsys.readouterr().err
    assert evaluate(*arguments, "--protocol", "camvid-authors") == 0

    # then
    assert "has Void as a class, which the public protocol does not score" in refused
    report = read_report(report_file)
    assert report["protocol"] == "camvid-authors"
    assert len(report["iou"]) == 12
    assert report["miou"] == pytest.approx(sum(report["iou"].values()) / 12)
    printed = " ".join(capsys.readouterr().out.split())
    assert "net.safetensors on camvid-12-authors test, protocol camvid-authors" in printed
    assert "not comparable with 11-class figures" in printed


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="reference tensors are not there")
def test_the_authors_own_weights_are_evaluated_by_their_protocol(tmp_path, capsys):
    # given
    place = REFERENCE / "generated_weights.py"
    spec = importlib.util.spec_from_file_location("generated_weights", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = module.state_dict(REFERENCE / "camvid_s.npz")
    weights = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    torch.save({"state_dict": weights}, tmp_path / "camvid_s.pth")
    root = write_data(tmp_path / "camvid", 12)
    arguments = (tmp_path / "camvid_s.pth", "--data", f"camvid12:{root}", "--limit", "1")

    # when
    assert evaluate(*arguments, "--protocol", "camvid-authors") == 2
    asked = capsys.readouterr().err
    assert evaluate(*arguments, "--protocol", "camvid-authors", "--size", "64x128") == 0

    # then
    assert "does not say its input size; give --size HxW, such as 576x768" in asked
    assert "Void" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "limit is 0; expected 1 or more images"),
        (["--scales", "x"], "scales 'x' are not understood"),
        (["--overlap", "1"], "overlap is 1"),
        (["--size", "60x60"], "size 60x60 (HxW) does not fit"),
        (["--protocol", "camvid-authors"], "scores the 12 classes"),
        (["--json", "no/such/folder/f.json"], "its folder is missing"),
        (["--against", "nothing.json"], "cannot read nothing.json"),
        (["--pictures", "x", "--worst", "-1"], "cannot show the -1 worst images"),
        (["--device", "tpu"], "device 'tpu' is not known"),
        (["--split", "val"], "val"),
        (["--group-by", "colour"], "--group-by"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    data, checkpoint, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)

    code = evaluate(checkpoint, "--data", data, *arguments)

    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_models_manifest_is_not_overwritten(data, checkpoint, capsys):
    manifest = checkpoint.with_name(f"{checkpoint.name}.json")
    before = manifest.read_bytes()

    assert evaluate(checkpoint, "--data", data, "--json", manifest) == 2
    assert "is the place of the manifest of" in capsys.readouterr().err
    assert manifest.read_bytes() == before


def test_groups_need_names(checkpoint, capsys):
    assert evaluate(checkpoint, "--data", "street:64x64", "--group-by", "prefix") == 2
    assert "has no image names to group by" in capsys.readouterr().err


def test_against_must_be_complete(data, checkpoint, tmp_path, capsys):
    other = tmp_path / "other.json"
    assert evaluate(checkpoint, "--data", data, "--json", other, "--quiet") == 0
    report = json.loads(other.read_text())
    del report["model"]
    other.write_text(json.dumps(report))

    assert evaluate(checkpoint, "--data", data, "--against", other) == 2
    assert "is not a report of `hyperseg eval --json`: it lacks model" in capsys.readouterr().err


def test_against_must_be_a_report(data, checkpoint, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text('{"miou": 1}')

    assert evaluate(checkpoint, "--data", data, "--against", other) == 2
    assert "is not a report of `hyperseg eval --json`" in capsys.readouterr().err
