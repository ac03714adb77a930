"""`hyperseg run` and `edge_runtime.run` on real pipelines with a real, tiny model."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_runtime import RunOptions, run
from edge_runtime.artifacts import atomic_file, write_artifact
from edge_runtime.cli import main
from edge_runtime.errors import HypersegError, OptionError, SinkError, SourceError
from edge_runtime.places import is_special
from edge_runtime.rig.options import RigOptions
from edge_runtime.rig.runner import run_many
from edge_runtime.run_cli import run as command
from edge_runtime.timing import STAGES
from tests.scripted import write_identity_onnx

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytestmark = pytest.mark.gst

SIZE = (54, 96)


@pytest.fixture
def model(tmp_path):
    part, path = tmp_path / "part.onnx", tmp_path / "identity.onnx"
    manifest = write_identity_onnx(part, SIZE)
    write_artifact(part, path, manifest)
    return path


@pytest.fixture
def images(tmp_path):
    """A folder of 30 pictures, each of one red value: that value is the mask."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(30):
        picture = np.zeros((108, 192, 3), np.uint8)
        picture[..., 2] = 8 * number
        cv2.imwrite(str(folder / f"scene_{number:02d}.png"), picture)
    return folder


def test_terms_of_the_weights_are_told_before_the_first_frame(tmp_path, images, capsys):
    # Given two models for non-commercial use, and one that is free
    terms = "trained on CamVid: CC BY-NC 4.0, non-commercial use only"
    for name, license_ in (("bound", terms), ("short", "CC BY-NC 4.0"), ("free", "Apache-2.0")):
        part = tmp_path / "part.onnx"
        manifest = write_identity_onnx(part, SIZE)
        write_artifact(
            part, tmp_path / f"{name}.onnx", replace(manifest, name=name, license=license_)
        )

    # When both are run
    told = {}
    for name in ("bound", "short", "free"):
        assert main(["run", str(tmp_path / f"{name}.onnx"), str(images)]) == 0
        told[name] = capsys.readouterr().err

    # Then the first two say what they may not be used for
    assert f"hyperseg: bound: {terms}" in told["bound"]
    assert "hyperseg: short: CC BY-NC 4.0" in told["short"]
    assert "free:" not in told["free"]


def test_r9_masks_of_a_folder_belong_to_their_images(model, images):
    seen = {}

    def keep(result):
        assert result.state == "ok"
        seen[result.name] = np.unique(result.mask_on_frame()).tolist()

    report = run(model, str(images), RunOptions(quiet=True), keep)

    assert seen == {f"scene_{number:02d}": [8 * number] for number in range(30)}
    assert report.source.policy == "every"
    assert report.source.timestamp_source == "file"
    assert report.frames.captured == report.frames.published == 30
    assert report.ended == "end"


@pytest.mark.parametrize("policy", [None, "every", "latest", "deadline=30"])
def test_r4_stages_tile_and_frames_add_up_on_a_real_pipeline(model, policy, tmp_path):
    log = tmp_path / "frames.jsonl"
    options = RunOptions(policy=policy, duration_s=1.5, quiet=True, frames_log=log)

    report = run(model, "test:bars?fps=30", options)

    frames, dropped = report.frames, report.frames.dropped
    assert frames.published > 20
    assert frames.captured == (frames.inferred + dropped.queue + dropped.stale + frames.in_flight)
    assert frames.inferred == frames.published + dropped.sink
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in (line for line in lines if line["state"] == "ok"):
        stages = [line["latency_ms"]["stages"][name] for name in STAGES]
        assert all(value is None or value >= 0 for value in stages), line
        assert sum(filter(None, stages)) == pytest.approx(line["latency_ms"]["result"], abs=0.5)
    assert report.ended == "duration"


def test_a_disk_that_fills_up_leaves_whole_lines_and_the_report(
    model, images, tmp_path, file_limit, capsys
):
    # given room for half of the log
    log, report = tmp_path / "frames.jsonl", tmp_path / "report.json"
    file_limit(12_000)

    code = main(["run", str(model), str(images), "--frames-log", str(log), "--report", str(report),
                 "--quiet"])  # fmt: skip

    file_limit(resource.RLIM_INFINITY)
    assert code == 2
    assert f"cannot write {log}: File too large" in capsys.readouterr().err
    indices = [json.loads(line)["index"] for line in log.read_text().splitlines()]
    assert 5 < len(indices) < 30
    assert indices == [*range(len(indices))]
    written = json.loads(report.read_text())
    assert written["ended"] == "error"
    assert written["frames"]["published"] == len(indices) + 1


def test_r3_slow_subscriber_gets_every_frame_of_a_file(model, images):
    seen = []

    def slow(result):
        seen.append(result.index)
        time.sleep(0.01)

    report = run(model, str(images), RunOptions(policy="every", quiet=True), slow)

    assert seen == list(range(30))
    assert report.frames.dropped.queue == report.frames.dropped.sink == 0


def test_all_sinks_at_once(model, images, tmp_path):
    video, masks, grey = tmp_path / "o.mp4", tmp_path / "masks", tmp_path / "m.mkv"

    report = run(
        model,
        str(images),
        RunOptions(sinks=(str(video), f"masks:{masks}", f"maskvideo:{grey}", "null"), quiet=True),
    )

    assert [(sink.consumed, sink.dropped) for sink in report.sinks] == [(30, 0)] * 3
    assert len(list(masks.iterdir())) == 30
    mask = cv2.imread(str(masks / "scene_05.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (108, 192)
    assert np.unique(mask).tolist() == [40]
    assert video.stat().st_size > 1000
    assert grey.stat().st_size > 1000


def test_command_prints_a_table_and_writes_the_report(model, images, tmp_path):
    report = tmp_path / "report.json"

    done = CliRunner().invoke(command, [str(model), str(images), "--report", str(report)])

    assert done.exit_code == 0, done.output
    assert "capture to publish" in done.stdout
    assert json.loads(report.read_text())["frames"]["published"] == 30


def test_command_prints_json_alone(model, images):
    done = CliRunner().invoke(command, [str(model), str(images), "--json"])

    assert json.loads(done.stdout)["schema"] == "hyperseg-edge.latency/1"


def test_quiet_command_prints_nothing(model, images):
    done = CliRunner().invoke(command, [str(model), str(images), "--quiet"])

    assert done.output == ""


@pytest.mark.parametrize("arguments", [
    ["--policy", "newest"],
    ["--sink", "out.avi"],
    ["--duration", "-1"],
    ["--threads", "0"],
    ["--report", "missing/report.json"],
    ["--sink", "missing/out.mp4"],
    ["--frames-log", "missing/frames.jsonl"],
], ids=lambda arguments: arguments[0])  # fmt: skip
def test_wrong_options_are_one_line_and_exit_code_2(model, images, arguments, capsys):
    assert main(["run", str(model), str(images), *arguments]) == 2

    error = capsys.readouterr().err
    assert error.startswith("hyperseg: error: ")
    assert error.count("\n") == 1


def test_missing_model_and_source_are_refused(model, tmp_path):
    with pytest.raises(HypersegError, match="no model"):
        run(tmp_path / "none.onnx", "test:bars", RunOptions(quiet=True))
    with pytest.raises(SourceError):
        run(model, str(tmp_path / "none.mp4"), RunOptions(quiet=True))


def test_what_is_read_is_never_written_over(model, images):
    before = model.read_bytes()

    with pytest.raises(HypersegError, match="read and written"):
        run(model, str(images), RunOptions(report=model, quiet=True))
    with pytest.raises(HypersegError, match="read and written"):
        run(model, str(images), RunOptions(sinks=(f"masks:{images}",), quiet=True))

    assert model.read_bytes() == before


def test_failed_sink_still_leaves_a_report(model, images, tmp_path):
    # given a mask folder in which one of the names is taken by a folder
    masks, report = tmp_path / "masks", tmp_path / "report.json"
    (masks / "scene_09.png" / "x").mkdir(parents=True)
    options = RunOptions(sinks=(f"masks:{masks}",), report=report, quiet=True)

    with pytest.raises(SinkError, match="masks"):
        run(model, str(images), options)

    record = json.loads(report.read_text())
    assert record["ended"] == "error"
    assert record["faults"][-1]["kind"] == "SinkError"
    assert not list(masks.glob("*.part"))


@pytest.mark.parametrize(("cameras", "fails"), [(1, False), (1, True), (2, False)])
def test_a_report_that_cannot_be_written_at_the_end_hides_no_failure(
    model, images, tmp_path, fails, cameras
):
    # given: the folder of the report goes while the run is under way, and maybe an output fails
    masks, folder, said = tmp_path / "masks", tmp_path / "disk", []
    folder.mkdir()
    if fails:
        (masks / "scene_09.png" / "x").mkdir(parents=True)
    sinks = () if cameras == 2 else (f"masks:{masks}",)
    options = RunOptions(sinks=sinks, report=folder / "report.json", quiet=True)

    def goes(*_):
        shutil.rmtree(folder, ignore_errors=True)

    start = partial(run, model, str(images), options)
    if cameras == 2:
        start = partial(run_many, model, [f"a={images}", f"b={images}"], RigOptions(options))

    # when
    with pytest.raises(SinkError) as caught:
        start(on_result=goes, say=said.append)

    # then: exit code 75 under a service manager, not that of a mistake; and both are said
    if fails:
        assert "masks" in str(caught.value)
        assert any("the report is lost: cannot write" in line for line in said)
    else:
        assert "report.json" in str(caught.value)


@pytest.mark.parametrize(("number", "code", "ended"), [
    (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 0, "terminated"),
])  # fmt: skip
def test_r11_signal_completes_video_and_report(model, tmp_path, repository, number, code, ended):
    video, report, log = tmp_path / "o.mp4", tmp_path / "r.json", tmp_path / "f.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime.cli", "run", str(model), "test:bars?fps=30",
         "--sink", str(video), "--report", str(report), "--frames-log", str(log), "--quiet"],
        cwd=repository,
    )  # fmt: skip
    part = video.with_name("o.mp4.part")
    give_up = time.monotonic() + 60
    while not part.exists() and time.monotonic() < give_up:
        time.sleep(0.05)

    child.send_signal(number)

    assert child.wait(30) == code
    record = json.loads(report.read_text())
    assert record["ended"] == ended
    assert len(log.read_text().splitlines()) == record["frames"]["inferred"]
    reader, count = cv2.VideoCapture(str(video)), 0
    while reader.read()[0]:
        count += 1
    assert count == record["sinks"][0]["consumed"] > 0
    assert not part.exists()


@pytest.mark.parametrize("option", ["--report", "--frames-log", "--status", "--json"])
def test_no_file_takes_the_place_of_a_pipe_or_device(option, model, images, tmp_path, capsys):
    # Root would put its report there in the place of /dev/null, for everybody
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)

    assert main(["run", str(model), str(images), option, str(pipe)]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"cannot write {pipe}: it is a device or pipe; name a file")
    assert pipe.is_fifo()
    assert is_special(Path("/dev/null"))
    assert is_special(Path("/dev/stdout"))
    assert not is_special(tmp_path / "new")
    with pytest.raises(OptionError, match="it is a device or pipe"), atomic_file(pipe):
        pass
