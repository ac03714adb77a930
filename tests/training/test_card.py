"""Model cards say what is written down elsewhere, and refuse what does not belong to the model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_runtime.artifacts import (
    CreatedBy,
    Manifest,
    Metric,
    Parent,
    Parity,
    Preprocess,
    TensorSpec,
    read_manifest,
    write_artifact,
)
from edge_runtime.cli import main
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.labels import CAMVID_11, CAMVID_12
from edge_runtime.zoo import is_non_commercial
from training.reports.card import write_card

TRAINING = {
    "preset": "edge-n", "data": "camvid-11 train", "size": [384, 512], "step": 900, "steps": 1000,
    "batch": 6, "seed": 3, "lr": 0.001, "loss": "bootstrapped", "encoder_weights": "imagenet",
    "augment": {"crop": [320, 448], "flip": 0.5}, "teacher": None,
}  # fmt: skip
LICENSE = "trained on CamVid: CC BY-NC 4.0, non-commercial use only"


def write_checkpoint(folder, **changes):
    manifest = Manifest(
        kind="checkpoint",
        name="edge-n-camvid-11",
        sha256="",
        created_by=CreatedBy(
            "hyperseg train --preset edge-n --data camvid:/home/me/camvid --run runs/mine/", "0.1.0"
        ),
        labels=CAMVID_11,
        preprocess=Preprocess((0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
        preset="edge-n",
        options={"network": {"encoder": {"name": "efficientnet-lite0"}}, "training": TRAINING},
        parameters=3_870_198,
        metrics=(Metric("miou", 0.67, "camvid-11 val"),),
        license=LICENSE,
    )
    path = folder / "checkpoint.safetensors"
    part = folder / "part"
    part.write_bytes(b"weights of " + str(folder).encode())
    write_artifact(part, path, replace(manifest, **changes))
    return path


def iou(value, **others):
    return {name: others.get(name, value) for name in CAMVID_11.names}


@pytest.fixture
def run(tmp_path):
    """A run's folder: validated at steps 500 and 900, of which 900 was kept."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_checkpoint(folder)
    records = [
        {"kind": "train", "step": 500, "loss": 1.0, "lr": 0.1},
        {"kind": "val", "step": 500, "miou": 0.5, "iou": iou(0.5), "accuracy": 0.8, "images": 101},
        {
            "kind": "val", "step": 900, "miou": 0.67, "iou": iou(0.7, Pole=0.0, Fence=0.123),
            "accuracy": 0.9, "images": 101,
        },
    ]  # fmt: skip
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"kin')
    return folder


def write_report(path, artefact, split="test", **changes):
    report = {
        "miou": 0.715, "iou": iou(0.72), "accuracy": 0.91, "classes": list(CAMVID_11.names),
        "protocol": "public", "note": "", "dataset": f"camvid-11 {split}", "split": split,
        "images": 233, "label_sizes": [[360, 480]], "size": [384, 512], "model": artefact.name,
        "model_sha256": read_manifest(artefact).sha256, "scales": [1.0], "limit": None,
    }  # fmt: skip
    path.write_text(json.dumps({**report, **changes}))
    return path


def export(folder, checkpoint):
    """A model that names the checkpoint as its parent."""
    parent = read_manifest(checkpoint)
    manifest = replace(
        parent,
        kind="onnx",
        name="camvid-edge-n",
        created_by=CreatedBy("hyperseg export runs/mine/checkpoint.safetensors -o a.onnx", "0.1.0"),
        inputs=(TensorSpec("frame", (1, 384, 512, 3), "uint8"),),
        outputs=(TensorSpec("mask", (1, 384, 512), "uint8"),),
        head="mask",
        macs=1_230_000_000,
        options={"network": {"encoder": {"name": "efficientnet-lite0"}}, "opset": 18},
        parents=(Parent("checkpoint", checkpoint.name, parent.sha256),),
        parity=Parity("torch float64", 2, 1e-14, 1e-6, 7.0, 0.9999, 1e-6, False, True),
    )
    part = folder / "part"
    part.write_bytes(b"graph")
    write_artifact(part, folder / "camvid-edge-n.onnx", manifest)
    return folder / "camvid-edge-n.onnx"


def test_card_of_a_run_says_what_its_files_say(run):
    place = write_card(run / "checkpoint.safetensors", run=run)

    # then
    text = place.read_text()
    assert place.name == "checkpoint.safetensors.md"
    assert text.startswith("# edge-n-camvid-11\n")
    assert f"> **Not for commercial use.** Trained on{LICENSE.removeprefix('trained on')}." in text
    assert "preset `edge-n`, efficientnet-lite0, 3.87 M parameters" in text
    assert "Brostow" in text
    assert "900 of 1000 steps of 6 images, seed 3" in text
    assert "crop 320 448, flip 0.5" in text
    assert "lr 0.001" in text
    assert "teacher" not in text
    assert "validated at 384x512" in text

    # then: the validation of the kept step stands in the table
    assert "| class | val, IoU % |" in text
    assert "| **mIoU** | 67.0 |" in text
    assert "| Pole | 0.0 |" in text
    assert "IoU % below 50: Pole (0.0), Fence (12.3)." in text

    # then: the command can be read without learning about folders
    assert "hyperseg train --preset edge-n --data camvid:camvid --run mine\n" in text
    assert "/home" not in text


@pytest.mark.parametrize(
    ("encoder", "once"),
    [(None, ""), ("imagenet", ", whose encoder once started from ImageNet weights")],
)
def test_card_of_a_fine_tuned_network_says_what_it_started_from(tmp_path, encoder, once):
    training = {**TRAINING, "init": "before.safetensors", "encoder_weights": encoder}

    text = write_card(write_checkpoint(tmp_path, options={"training": training})).read_text()

    start = "the network started from a checkpoint that was trained before"
    assert f"| training data | camvid-11 train; {start}{once} |" in text


def test_card_of_an_exported_model_tells_its_descent(run, tmp_path):
    # given: val measured on the checkpoint by the run, test on the model
    model = export(tmp_path, run / "checkpoint.safetensors")
    groups = {"by": "prefix", "scores": {"Seq05VD": {"miou": 0.7, "images": 171}}}
    report = write_report(tmp_path / "t.json", model, groups=groups)

    # when
    text = write_card(model, run=run, reports=[report]).read_text()

    # then
    assert text.startswith("# camvid-edge-n\n")
    assert "| class | val, IoU % | test, IoU % |" in text
    assert "| Pole | 0.0 | 72.0 |" in text
    assert "| **mIoU** | 67.0 | 71.5 |" in text
    assert (
        "- test: 233 images, `camvid-edge-n.onnx` at 384x512; scored at the labels' 360x480; mIo"
        in text
    )
    assert "Seq05VD 70.0 (171)" in text
    assert "1.23 G multiply-accumulates" in text
    assert "uint8 RGB frames of 384x512" in text
    assert "hyperseg export checkpoint.safetensors -o a.onnx" in text
    assert "--preset edge-n" in text
    assert "99.99 % of the pixels have the same class" in text


def test_report_of_the_checkpoint_may_stand_for_the_model_made_from_it(run, tmp_path):
    checkpoint = run / "checkpoint.safetensors"
    model = export(tmp_path, checkpoint)
    val = write_report(tmp_path / "v.json", checkpoint, "val", limit=20, images=20, flip=True)

    text = write_card(model, run=run, reports=[val]).read_text()

    assert "| class | val, IoU % |\n" in text
    assert "20 images, the first of the split only, `checkpoint.safetensors`" in text
    assert "mirrored too" in text


def test_without_run_and_reports_nothing_is_invented(run):
    text = write_card(run / "checkpoint.safetensors").read_text()

    assert "## Accuracy\n\nNot measured." in text
    assert "Weak classes" not in text


def test_a_model_trained_on_val_does_not_boast_of_it(tmp_path):
    training = {**TRAINING, "train_split": "trainval"}
    path = write_checkpoint(tmp_path, options={"training": training})

    text = write_card(path).read_text()

    assert "The val split was trained on" in text
    assert "best mIoU on the val split" not in text


def test_a_free_model_carries_no_warning(tmp_path):
    path = write_checkpoint(tmp_path, license="Apache-2.0")

    text = write_card(path).read_text()

    assert "| licence | Apache-2.0 |" in text
    assert "ommercial" not in text


@pytest.mark.parametrize(
    ("license", "forbidden"),
    [
        (LICENSE, True), ("CC-BY-NC-SA-4.0", True), ("NonCommercial research", True),
        ("Apache-2.0", False), ("MIT", False), ("", False),
    ],
)  # fmt: skip
def test_non_commercial_licences_are_known_by_their_words(license, forbidden):
    assert is_non_commercial(license) is forbidden


def test_report_of_other_weights_is_refused(run, tmp_path):
    checkpoint = run / "checkpoint.safetensors"
    report = write_report(tmp_path / "r.json", checkpoint, model_sha256="0" * 64)

    with pytest.raises(
        OptionError, match=r"whose weights are not those of checkpoint\.safetensors"
    ):
        write_card(checkpoint, reports=[report])
    assert not (run / "checkpoint.safetensors.md").exists()


def test_run_of_another_model_is_refused(run, tmp_path):
    other = write_checkpoint(tmp_path)

    with pytest.raises(OptionError, match=r"was not made from checkpoint\.safetensors of run"):
        write_card(other, run=run)


def test_two_protocols_never_stand_in_one_table(run, tmp_path):
    checkpoint = run / "checkpoint.safetensors"
    public = write_report(tmp_path / "p.json", checkpoint)
    authors = write_report(
        tmp_path / "a.json", checkpoint, protocol="camvid-authors", classes=list(CAMVID_12.names)
    )

    with pytest.raises(OptionError, match="protocols public and camvid-authors cannot stand in on"):
        write_card(checkpoint, run=run, reports=[public, authors])


def test_card_by_the_authors_protocol_says_so_and_leaves_the_runs_validation_out(run, tmp_path):
    checkpoint = run / "checkpoint.safetensors"
    report = write_report(
        tmp_path / "a.json", checkpoint, protocol="camvid-authors", note="Void is a class"
    )

    text = write_card(checkpoint, run=run, reports=[report]).read_text()

    assert "| class | test, IoU % |\n" in text
    assert "protocol camvid-authors: Void is a class" in text


def test_broken_reports_and_missing_runs_are_said(run, tmp_path):
    checkpoint = run / "checkpoint.safetensors"
    broken = tmp_path / "broken.json"
    broken.write_text("{")

    with pytest.raises(ArtifactError, match=r"cannot read .*broken.json"):
        write_card(checkpoint, reports=[broken])
    with pytest.raises(ArtifactError, match="no model"):
        write_card(checkpoint, run=tmp_path / "nowhere")


def test_the_verb_writes_card_and_curve(run, capsys):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")

    assert main(["report", str(run)]) == 0

    printed = capsys.readouterr().out
    for name in ("curve.png", "checkpoint.safetensors.md"):
        assert (run / name).stat().st_size > 1000
        assert name in printed


def test_the_verb_writes_the_card_of_a_model(run, tmp_path, capsys):
    model = export(tmp_path, run / "checkpoint.safetensors")
    report = write_report(tmp_path / "t.json", model)

    assert main(["report", str(model), "--run", str(run), "--eval", str(report)]) == 0
    assert "camvid-edge-n.onnx.md" in capsys.readouterr().out
    assert "71.5" in (tmp_path / "camvid-edge-n.onnx.md").read_text()


def test_the_verb_says_what_is_missing(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "expected the folder of a training run" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nothing.onnx")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_that_went_on_from_another_says_so(tmp_path):
    path = write_checkpoint(
        tmp_path, options={"training": {**TRAINING, "init": "checkpoint.safetensors"}}
    )

    text = write_card(path).read_text(encoding="utf-8")

    assert "seed 3, going on from a checkpoint that was trained before" in text
