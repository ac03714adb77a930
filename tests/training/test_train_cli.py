"""The verbs `train` and `eval` from the command line to the files they leave."""

from __future__ import annotations

import json

import pytest

from edge_runtime.artifacts import read_manifest
from edge_runtime.cli import main
from edge_runtime.street import write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "street"
    write_dataset(folder, seeds=range(4), frames_per_seed=2, size=(60, 90))
    return f"folder:{folder}"


def train_arguments(data, run, *more):
    return [
        "train", "--preset", "street-n", "--data", data, "--run", str(run), "--steps", "3",
        "--batch", "2", "--crop", "64x64", "--threads", "1", "--log-every", "1",
        "--device", "cpu", *more,
    ]  # fmt: skip


@pytest.mark.slow
def test_train_resume_and_eval_leave_what_they_say(data, tmp_path, capsys):
    run = tmp_path / "runs" / "one"

    # when: trained, then asked to resume though it is finished
    assert main(train_arguments(data, run)) == 0
    trained = capsys.readouterr().out
    assert main(["train", "--run", str(run), "--resume"]) == 0

    # then: the val size is the picture's, rounded up to what the network takes
    assert "validating on street-8 val (2) at 64x128" in trained
    assert "finished: best val mIoU" in trained
    manifest = read_manifest(run / "checkpoint.safetensors", kind="checkpoint")
    assert manifest.preset == "street-n"
    assert manifest.options["training"]["step"] == 3
    assert manifest.options["training"]["data"] == "street-8 train"
    assert manifest.options["training"]["augment"]["crop"] == [64, 64]

    # when
    report = tmp_path / "scores.json"
    checkpoint = str(run / "checkpoint.safetensors")
    arguments = ["eval", checkpoint, "--data", data, "--split", "val", "--json", str(report)]
    assert main(arguments) == 0

    # then: the score in training is the score of the artefact
    scores = json.loads(report.read_text())
    assert scores["miou"] == pytest.approx(manifest.metrics[0].value, abs=1e-6)
    assert (scores["split"], scores["images"]) == ("val", 2)
    assert set(scores["iou"]) == set(manifest.labels.names)
    assert "mIoU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--crop", "60x64"], "size 60x64 (HxW) does not fit: both must be multiples of 64"),
        (["--crop", "big"], "size 'big' is not understood; expected HxW"),
        (["--epochs", "1"], "give either --epochs or --steps"),
        (["--preset", "hugeseg"], "no preset 'hugeseg'"),
        (["--resume"], "has no state.pt to resume"),
        (["--resume", "--epochs", "1"], "--epochs cannot change on --resume"),
        (["--encoder-weights", "imagenet"], "is not of encoder 'efficientnet-lite0' at width 0.5"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(data, tmp_path, capsys, more, message):
    code = main(train_arguments(data, tmp_path / "run", *more))

    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_new_run_needs_preset_and_data(tmp_path, capsys):
    assert main(["train", "--run", str(tmp_path)]) == 2
    assert "a new run needs --preset and --data" in capsys.readouterr().err


def test_existing_run_is_not_overwritten(data, tmp_path, capsys):
    (tmp_path / "state.pt").write_bytes(b"a day's work")

    assert main(train_arguments(data, tmp_path)) == 2
    assert "already holds a run; continue it with --resume" in capsys.readouterr().err
    assert (tmp_path / "state.pt").read_bytes() == b"a day's work"


def test_eval_of_a_missing_model_is_said(data, capsys):
    assert main(["eval", "nothing.onnx", "--data", data]) == 2
    assert "neither a file nor a shipped model" in capsys.readouterr().err
