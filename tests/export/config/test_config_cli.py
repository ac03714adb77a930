"""``hyperseg export-config``: complete folders, one-line refusals, nothing half-written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from edge_runtime.artifacts import TensorSpec, manifest_path, sha256_of
from edge_runtime.cli import main
from export.config.subject import load_subject
from export.config.triton import plan_triton
from export.config.write import write_plan
from tests.export.config.conftest import SIZE


@pytest.mark.parametrize(
    ("runtime", "files"),
    [
        ("deepstream", {"config_infer_tiny.txt", "labels.txt", "pipeline.sh", "tiny.onnx"}),
        ("isaac-ros", {"labels.txt", "tiny.launch.py", "tiny.onnx"}),
        ("triton", {"1/model.onnx", "config.pbtxt", "labels.txt"}),
    ],
)
def test_a_folder_is_written_whole(tmp_path, subject, capsys, runtime, files):
    path, out = subject(), tmp_path / "made" / "here"
    assert main(["export-config", runtime, str(path), "-o", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    folder = out / "tiny" if runtime == "triton" else out
    assert Path(facts["folder"]) == folder
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == files | {"hyperseg.json"}
    assert set(facts["files"]) == files
    origin = json.loads((folder / "hyperseg.json").read_text())
    assert (origin["sha256"], origin["runtime"]) == (sha256_of(path), runtime)
    assert list(out.parent.iterdir()) == [out]


def test_the_commands_of_the_page_work(tmp_path, repository, monkeypatch, capsys):
    # Given the commands of docs/neighbours.md, for the shipped model
    page = (repository / "docs/neighbours.md").read_text(encoding="utf-8")
    commands = re.findall(r"^hyperseg (export-config .*)$", page, re.MULTILINE)
    assert len(commands) == 4
    monkeypatch.chdir(tmp_path)
    for command in commands:
        # When each is run
        assert main(shlex.split(command)) == 0
        # Then not a pixel differs on noise and a street scene: the arithmetic is the same
        adapted = "agrees in 100.0000% of the pixels" in capsys.readouterr().out
        assert adapted == ("triton" not in command)


def test_a_second_model_joins_a_repository(tmp_path, subject):
    for name in ("one", "two"):
        assert main(["export-config", "triton", str(subject(name=name)), "-o", str(tmp_path)]) == 0
    assert (tmp_path / "one/1/model.onnx").is_file()
    assert (tmp_path / "two/1/model.onnx").is_file()


def wrong_input(subject, tmp_path):
    return subject(inputs=(TensorSpec("frame", (1, SIZE, SIZE, 3), "float32"),))


def no_manifest(subject, tmp_path):
    path = tmp_path / "alone.onnx"
    path.write_bytes(b"graph")
    return path


def tampered(subject, tmp_path):
    path = subject()
    path.write_bytes(path.read_bytes() + b"more")
    return path


def damaged(subject, tmp_path):
    return subject(content=b"no graph at all")


def checkpoint(subject, tmp_path):
    path = subject()
    manifest = manifest_path(path)
    manifest.write_text(manifest.read_text().replace('"kind": "onnx"', '"kind": "checkpoint"'))
    return path


BAD = {
    "missing": (lambda *_: "nowhere.onnx", "no model 'nowhere.onnx'"),
    "no manifest": (no_manifest, "has no manifest"),
    "tampered": (tampered, "does not belong to"),
    "damaged": (damaged, "is not a sound ONNX model"),
    "checkpoint": (checkpoint, "is of kind 'checkpoint'; expected an ONNX model"),
    "bad name": (lambda s, _: s(name="a b"), "cannot name a file"),
    "float input": (wrong_input, "expected one uint8 (1, H, W, 3) frame"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_model_is_one_line_and_leaves_nothing(tmp_path, subject, capsys, case):
    make, message = BAD[case]
    path, out = make(subject, tmp_path), tmp_path / "out"
    assert main(["export-config", "deepstream", str(path), "-o", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tensorflow", "m"], "is not one of 'deepstream', 'triton', 'isaac-ros'"),
        (["triton"], "Missing argument 'MODEL'"),
        (["triton", "street-edge-n", "--scores"], "--scores is for deepstream"),
    ],
)
def test_a_bad_option_is_one_line(tmp_path, capsys, arguments, message):
    assert main(["export-config", *arguments, "-o", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_what_is_there_is_not_written_over(tmp_path, subject, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("kept")
    assert main(["export-config", "isaac-ros", str(subject()), "-o", str(out)]) == 2
    assert "is there already; remove it or choose another -o" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_writer_that_fails_leaves_no_folder(tmp_path, subject):
    # Given a plan whose last file cannot be written
    model = load_subject(subject())
    plan = plan_triton(model)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    plan.binaries["1/model.onnx"] = fail
    # When writing is cut off
    with pytest.raises(KeyboardInterrupt):
        write_plan(tmp_path / "out", model, plan, "triton")
    # Then neither the folder nor its parts are there
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_place_that_is_a_file_is_one_line(tmp_path, subject, capsys):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "out"
    assert main(["export-config", "triton", str(subject()), "-o", str(place)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot write" in line
