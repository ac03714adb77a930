"""The verbs `train` and `eval` from the command line to the files they leave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from edge_runtime.artifacts import read_manifest
from edge_runtime.cli import main
from edge_runtime.street import write_dataset
from training.checkpoint import load_checkpoint, save_checkpoint
from training.cli import DATA_HELP
from training.data.stored import SPECS
from training.model.hyperseg import HyperSeg
from training.presets import preset
from training.reports.account import account
from training.state import load_state


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

    # then: its page and its facts say where and at which size it was scored
    kept = account(run)[0]["checkpoint"]
    assert (kept["data"], kept["size"]) == ("street-8 train", [64, 128])
    assert "validated at" in (run / "report.html").read_text()

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

    # when: the same run is asked for again, which has nothing left to do
    assert main(["train", "--resume", "--run", str(run), "--json", "-"]) == 0

    # then: what it is stands alone on stdout
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["finished"], told["step"]) == ("hyperseg-edge.train/1", True, 3)


@pytest.mark.slow
def test_trainval_keeps_the_last_weights_and_says_so(data, tmp_path, capsys):
    # when: trained on the val split too, with everything that exists in training only
    more = ["--train-split", "trainval", "--validate-every", "1", "--aux", "0.4"]
    assert main(train_arguments(data, tmp_path, *more, "--rare-crops", "0.5")) == 0

    # then
    trained = capsys.readouterr().out
    assert "training street-n on street-8 trainval (6 images)" in trained
    assert trained.count("(trained on)") == 3
    assert "finished: last val mIoU" in trained
    manifest = read_manifest(tmp_path / "checkpoint.safetensors", kind="checkpoint")
    assert manifest.options["training"]["step"] == 3
    assert manifest.options["training"]["train_split"] == "trainval"
    assert manifest.metrics[0].data == "street-8 val, which was trained on"
    records = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert all(record["trained_on"] for record in records if record["kind"] == "val")
    assert load_state(tmp_path).auxiliary
    net, _ = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert not any("auxiliary" in name for name in net.state_dict())


@pytest.mark.slow
def test_what_is_not_given_comes_from_the_recipe_and_resume_auto_goes_on(data, tmp_path, capsys):
    # given: a folder without a run
    arguments = train_arguments(data, tmp_path, "--resume", "auto", "--ema", "0.5")

    # when: begun, continued, and continued from a damaged state
    assert main(arguments) == 0
    first = load_state(tmp_path)
    assert main(arguments) == 0
    assert "encoder starts from random weights" in capsys.readouterr().out
    (tmp_path / "state.pt").write_bytes(b"PK rubbish")
    assert main(arguments) == 0
    again = load_state(tmp_path)

    # then: the preset's values, unless the command line has others
    assert first.step == again.step == 3
    assert all(torch.equal(first.net[name], again.net[name]) for name in first.net)
    assert (first.options["lr"], first.options["ema"]) == (2e-3, 0.5)
    assert first.options["augment"]["scale"] == [0.6, 1.8]

    # when: there is nothing left to continue
    for name in ("state.pt", "state.previous.pt"):
        (tmp_path / name).write_bytes(b"PK rubbish")
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert main(arguments) == 2

    # then: the checkpoints are not exchanged for those of three steps
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"move {tmp_path} aside to begin anew")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == held


@pytest.mark.slow
def test_teacher_is_asked_and_named_without_its_folder(data, tmp_path):
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.safetensors"
    save_checkpoint(teacher, HyperSeg(preset("street-n")), name="teacher")

    more = ["--teacher", str(teacher), "--distill-weight", "2", "--steps", "2"]
    assert main(train_arguments(data, tmp_path / "run", *more)) == 0

    training = read_manifest(tmp_path / "run" / "last.safetensors").options["training"]
    assert (training["teacher"], training["distill"]) == ("teacher.safetensors", "cwd")
    assert load_state(tmp_path / "run").options["teacher"] == str(teacher)


@pytest.mark.slow
def test_torchrun_starts_the_verb_itself(data, tmp_path):
    arguments = train_arguments(data, tmp_path, "--steps", "2", "--batch", "4")
    code = f"import sys; from edge_runtime.cli import main; sys.exit(main({arguments!r}))"
    script = tmp_path / "verb.py"
    script.write_text(code)

    ended = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(script),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("finished: best val mIoU") == 1
    assert load_state(tmp_path).rng.keys() == {"cpu", "cpu:1"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--crop", "60x64"], "size 60x64 (HxW) does not fit: both must be multiples of 64"),
        (["--crop", "big"], "size 'big' is not understood; expected HxW"),
        (["--crop", "0x64"], "size '0x64' is not understood; expected HxW"),
        (["--epochs", "1"], "give either --epochs or --steps"),
        (["--preset", "hugeseg"], "no preset 'hugeseg'"),
        (["--resume"], "has no state.pt to resume"),
        (["--accumulate", "4"], "a batch of 2 does not divide into 4 equal parts"),
        (["--batch", "1"], "1 image of 64x64 at a time leaves batch norm a single value"),
        (["--class-weights", "1,2"], "--class-weights has 2 values for 8 classes"),
        (["--class-weights", "heavy"], "class weights 'heavy' are not understood"),
        (["--teacher", "nobody.onnx"], "no model 'nobody.onnx'"),
        (["--teacher", "street-edge-n"], "street-edge-n.onnx outputs a mask"),
        (["--hue", "0.7"], "hue is 0.7; expected 0..0.5"),
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


@pytest.mark.slow
def test_damaged_label_ends_the_run_before_it_begins_or_is_left_out_by_name(tmp_path, capsys):
    # given
    root = tmp_path / "street"
    write_dataset(root, seeds=range(4), frames_per_seed=2, size=(60, 90))
    victim = sorted((root / "train_labels").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:200])
    arguments = train_arguments(f"folder:{root}", tmp_path / "run", "--steps", "1")

    # when: not asked to skip
    assert main(arguments) == 2

    # then
    refused = capsys.readouterr().err
    assert victim.name in refused
    assert refused.count("\n") == 1
    assert not (tmp_path / "run" / "state.pt").exists()

    # when: asked to
    assert main([*arguments, "--skip-unreadable"]) == 0

    # then
    trained = capsys.readouterr().out
    assert f"left out: {victim}" in trained.replace("cannot read ", "")
    assert "street-8 train (3 images)" in trained


@pytest.mark.parametrize("epochs", ["nan", "inf", "0", "-3"])
def test_a_length_that_is_none_is_refused(data, tmp_path, capsys, epochs):
    arguments = train_arguments(data, tmp_path / "run", "--epochs", epochs)
    steps = arguments.index("--steps")
    assert main([*arguments[:steps], *arguments[steps + 2 :]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"epochs is {epochs}; expected a number above 0" in line


@pytest.mark.slow
def test_classes_that_only_share_the_name_of_the_presets_are_taken_by_number(tmp_path, capsys):
    # given: three classes under the name of street-n's eight
    root = tmp_path / "street"
    write_dataset(root, seeds=range(4), frames_per_seed=2, size=(60, 90))
    meta = {"name": "street-8", "classes": ["road", "sky", "rest"]}
    meta |= {"palette": [[128, 64, 128], [0, 0, 255], [0, 0, 0]]}
    meta["id_map"] = {"2": "road", "0": "sky", "*": "rest"}
    (root / "meta.json").write_text(json.dumps(meta))

    # when
    assert main(train_arguments(f"folder:{root}", tmp_path / "run")) == 0

    # then
    assert "its last layer takes the 3 classes of street-8 instead" in capsys.readouterr().out
    net, manifest = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert net.config.num_classes == len(manifest.labels) == 3


def test_the_help_names_every_kind_of_data():
    assert f"{SPECS}." == DATA_HELP


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


@pytest.mark.slow
def test_a_run_is_resumed_with_the_threads_it_began_with(data, tmp_path, capsys):
    # given: three threads, which no machine takes by itself, in place of torch's own choice
    before = torch.get_num_threads()
    arguments = ["--threads", "3", "--save-every", "1"]
    for name in ("whole", "parts"):
        run = tmp_path / name
        minutes = ["--minutes", "1e-9"] if name == "parts" else []
        main([*train_arguments(data, run), *arguments, *minutes])
    assert load_state(tmp_path / "parts").step < 3
    torch.set_num_threads(before)
    capsys.readouterr()

    # when: continued as the closing line of the run says, and with another number
    try:
        other = tmp_path / "other"
        shutil.copytree(tmp_path / "parts", other)
        rest = ["--resume", "--minutes", "100"]
        assert main(["train", "--run", str(tmp_path / "parts"), *rest]) == 0
        as_begun = capsys.readouterr().out
        threads = torch.get_num_threads()
        assert main(["train", "--run", str(other), *rest, "--threads", "1"]) == 0
        changed = capsys.readouterr().out
    finally:
        torch.set_num_threads(before)

    # then
    assert threads == 3
    assert "sums are rounded otherwise" not in as_begun
    assert "threads was 3, is 1: sums are rounded otherwise" in changed
    assert load_state(tmp_path / "parts").rounding == {
        "threads": 3,
        "compile": False,
        "processes": 1,
    }
    whole, parts = (load_state(tmp_path / name).net for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@pytest.mark.slow
def test_a_checkpoint_that_goes_on_tells_what_the_first_encoder_started_from(data, tmp_path):
    # given: a network whose encoder once came from ImageNet
    net, start = HyperSeg(preset("street-n")), tmp_path / "start.safetensors"
    save_checkpoint(start, net, name="n", options={"encoder_weights": "imagenet"})
    run = tmp_path / "run"

    # when: trained on, and its end continued
    assert main(train_arguments(data, run, "--init", str(start), "--minutes", "1e-9")) == 0
    assert main(["train", "--run", str(run), "--resume", "--minutes", "100"]) == 0

    # then
    manifest = read_manifest(run / "last.safetensors", kind="checkpoint")
    assert manifest.options["training"]["step"] == 3
    assert manifest.options["training"]["encoder_weights"] == "imagenet"
