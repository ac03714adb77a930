"""`hyperseg run` with several sources, on real pipelines through the real command."""

import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from edge_runtime import RigOptions, RunOptions, run_many
from edge_runtime.artifacts import write_artifact
from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from tests.scripted import write_identity_onnx

pytestmark = pytest.mark.gst

SIZE = (54, 96)
BARS = "test:bars?size=54x96&fps=15"


@pytest.fixture
def model(tmp_path):
    pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
    part, path = tmp_path / "part.onnx", tmp_path / "identity.onnx"
    write_artifact(part, path, write_identity_onnx(part, SIZE))
    return path


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((*SIZE, 3), 8 * number, np.uint8))
    return folder


def frames_add_up(report):
    frames, dropped = report["frames"], report["frames"]["dropped"]
    lost = sum(dropped[cause] for cause in ("queue", "stale", "damaged", "repeated", "outage"))
    return frames["captured"] == frames["inferred"] + frames["in_flight"] + lost


def test_cameras_that_fail_and_end_leave_the_others_alone(images, tmp_path, capsys):
    # given a shipped model, two good cameras of 50 frames, one that stalls for a while, one that is
    # gone after a second and is not opened again, and a folder of images
    pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")
    camera = f"{BARS}&frames=50"
    sources = [f"front={camera}", f"rear={camera}", f"still=fault:stall@1+1.5:{camera}",
               f"gone=fault:unplug@1+60:{camera}", f"album={images}"]  # fmt: skip
    report = tmp_path / "report.json"

    code = main([
        "run", "street-edge-n", *sources, "--no-reconnect", "--stall-timeout", "0.5",
        "--threads", "1", "--weight", "front=2",
        "--policy", "rear=deadline=9000", "--sink", f"maskvideo:{tmp_path}/{{camera}}.mkv",
        "--report", str(report), "--frames-log", f"{tmp_path}/{{camera}}.jsonl",
    ])  # fmt: skip

    # then only the camera that is gone has failed, and the command says so
    shown = capsys.readouterr()
    assert code == 1
    assert "hyperseg: camera gone failed: " in shown.err
    assert "hyperseg: error: 1 of 5 cameras failed: gone (" in shown.err
    assert "album" in shown.out
    record = json.loads(report.read_text())
    assert record["schema"] == "hyperseg-edge.cameras/1"
    cameras = {camera["name"]: camera for camera in record["cameras"]}
    assert {name: camera["report"]["ended"] for name, camera in cameras.items()} == {
        "front": "end", "rear": "end", "still": "end", "gone": "error", "album": "end",
    }  # fmt: skip
    assert record["ended"] == "end"
    assert [name for name, camera in cameras.items() if camera["failure"]] == ["gone"]
    # and each camera has its own policy, outages, outputs and account
    policies = [cameras[name]["report"]["source"]["policy"] for name in cameras]
    assert policies == ["latest", "deadline=9000", "latest", "latest", "every"]
    assert cameras["still"]["report"]["outages"]["count"] >= 1
    assert cameras["album"]["report"]["frames"]["published"] == 4
    assert cameras["front"]["report"]["frames"]["captured"] == 50
    for name, camera in cameras.items():
        own = camera["report"]
        assert frames_add_up(own), name
        assert own["frames"]["inferred"] == camera["turns"] > 0
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        states = [json.loads(line)["state"] for line in lines]
        assert states.count("ok") == camera["turns"]
        # A machine under load makes short gaps of its own, over before the network is free.
        assert (name == "still") <= states.count("no-signal") <= own["outages"]["count"]
        assert cv2.VideoCapture(str(tmp_path / f"{name}.mkv")).read()[0]
    assert record["engine"]["turns"] == sum(camera["turns"] for camera in cameras.values())
    assert 0 < record["engine"]["utilisation"] <= 1
    # and the good ones went on after the others had stopped
    for name in ("front", "rear"):
        assert cameras[name]["report"]["duration_s"] > cameras["gone"]["report"]["duration_s"]
        assert cameras[name]["turns"] > cameras["gone"]["turns"]


def test_termination_completes_the_outputs_of_all(model, tmp_path, repository):
    report, names = tmp_path / "r.json", ("a", "b", "c")
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime.cli", "run", str(model),
         *(f"{name}={BARS}" for name in names), "--quiet", "--report", str(report),
         "--sink", f"maskvideo:{tmp_path}/{{camera}}.mkv"],
        cwd=repository,
    )  # fmt: skip
    give_up = time.monotonic() + 60
    parts = [tmp_path / f"{name}.mkv.part" for name in names]
    while not all(part.exists() for part in parts) and time.monotonic() < give_up:
        time.sleep(0.05)

    child.send_signal(signal.SIGTERM)

    assert child.wait(60) == 0
    record = json.loads(report.read_text())
    assert record["ended"] == "terminated"
    for camera in record["cameras"]:
        assert camera["report"]["ended"] == "terminated"
        assert frames_add_up(camera["report"])
        reader, count = cv2.VideoCapture(str(tmp_path / f"{camera['name']}.mkv")), 0
        while reader.read()[0]:
            count += 1
        assert count == camera["report"]["sinks"][0]["consumed"] > 0
    assert not [part for part in parts if part.exists()]


def test_sets_of_cameras_are_delivered_and_counted(model):
    sets = []
    options = RigOptions(RunOptions(quiet=True), match_ms=60.0)
    camera = f"{BARS}&frames=30"

    report = run_many(model, {"a": camera, "b": camera}, options, on_set=sets.append)

    assert len(sets) == report.sets.complete > 0
    for found in sets:
        assert list(found.results) == ["a", "b"]
        assert found.spread_ms <= 60.0
        assert all(result.mask.shape == SIZE for result in found.results.values())
    turns = sum(camera.turns for camera in report.cameras)
    assert 2 * report.sets.complete + report.sets.incomplete <= turns


def test_sets_of_files_are_refused_in_one_line(model, images, capsys):
    assert main(["run", str(model), f"a={images}", f"b={images}", "--match", "5", "--quiet"]) == 2

    error = capsys.readouterr().err
    assert "hyperseg: error: match: " in error
    assert " is a file, whose frames have no capture times" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [
    ["a=test:bars", "a=test:bars"],
    ["test:bars", "test:bars", "--sink", "one.mp4"],
    ["test:bars", "test:bars", "--policy", "c=latest"],
    ["test:bars", "test:bars", "--weight", "camera1=0"],
    ["test:bars", "test:bars", "--match", "0"],
    ["test:bars", "none.mp4"],
    [],
], ids=["names", "outputs", "policy", "weight", "match", "missing", "none"])  # fmt: skip
def test_mistakes_are_one_line_and_exit_code_2(model, arguments, capsys):
    assert main(["run", str(model), *arguments]) == 2

    error = capsys.readouterr().err
    assert error.startswith("hyperseg: error: ")
    assert error.count("\n") == 1


def test_what_one_camera_reads_no_other_writes_over(model, images):
    # given a camera whose masks would go where another camera's images come from
    options = RigOptions(RunOptions(sinks=(f"masks:{images.parent}/{{camera}}",), quiet=True))

    with pytest.raises(OptionError, match="read and written"):
        run_many(model, {"images": "test:bars", "b": str(images)}, options)
