"""`hyperseg run --rules` from end to end: events in a file, and a password that is nowhere."""

import json
import socket

import cv2
import numpy as np
import pytest

from edge_runtime.artifacts import write_artifact
from edge_runtime.cli import main
from tests.scripted import write_identity_onnx

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytest.importorskip("paho.mqtt.client", reason="pip install 'hyperseg-edge[mqtt]'")
pytestmark = pytest.mark.gst

SIZE = (54, 96)
SECRET = "hunter2"


@pytest.fixture
def model(tmp_path):
    """A model whose mask is the red channel; its classes are a, b and c."""
    part, path = tmp_path / "part.onnx", tmp_path / "identity.onnx"
    manifest = write_identity_onnx(part, SIZE)
    write_artifact(part, path, manifest)
    return path


@pytest.fixture
def images(tmp_path):
    """Six pictures of class a, in the middle two of which the lower right quarter is class b."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        picture = np.zeros((108, 192, 3), np.uint8)
        if number in (2, 3):
            picture[54:, 96:, 2] = 1
        cv2.imwrite(str(folder / f"scene_{number}.png"), picture)
    return folder


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_events_are_told_and_credentials_are_not(tmp_path, model, images, capfd):
    # given a rule, a broker that is not there, and a password on the command line
    rules, out, report = (tmp_path / name for name in ("rules.json", "out.jsonl", "report.json"))
    corner = {"name": "corner", "polygon": [[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1]]}
    rule = {"name": "b-ahead", "region": "corner", "class": "b", "min_ratio": 0.9}
    rules.write_text(json.dumps({"regions": [corner], "rules": [rule]}), encoding="utf-8")
    broker = f"mqtt://me:{SECRET}@127.0.0.1:{unused_port()}/car"

    code = main(
        ["run", str(model), str(images), "--rules", str(rules), "--sink", f"jsonl:{out}",
         "--sink", broker, "--report", str(report)]
    )  # fmt: skip

    assert code == 0
    messages = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    events = [(m["name"], e["before"], e["state"]) for m in messages for e in m["events"]]
    assert events == [
        ("scene_0", "unknown", "clear"),
        ("scene_2", "clear", "raised"),
        ("scene_4", "raised", "clear"),
    ]
    assert messages[2]["classes"] == {"a": 0.75, "b": 0.25}
    assert messages[2]["regions"] == {"corner": {"b": 1.0}}
    jsonl, mqtt = json.loads(report.read_text(encoding="utf-8"))["sinks"]
    assert (jsonl["consumed"], jsonl["dropped"]) == (6, 0)
    assert (mqtt["consumed"], mqtt["dropped"]) == (0, 6)
    shown = "".join([*capfd.readouterr(), report.read_text(), out.read_text()])
    assert "***@127.0.0.1" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rules", "none.json", "--sink", "jsonl:o"], "cannot read the rules file"),
        (["--rules", "none.json"], "would be told to nobody"),
        (["--sink", f"mqtt:me:{SECRET}@broker"], "expected [USER:PASSWORD@]HOST"),
        (["--sink", f"mqqt://me:{SECRET}@broker/car"], "expected null"),
        (["--sink", f"udp:me:{SECRET}@host:5"], "expected HOST:PORT"),
    ],
)
def test_a_mistake_is_one_line_without_the_password(
    model, images, capfd, monkeypatch, tmp_path, arguments, words
):
    monkeypatch.chdir(tmp_path)

    code = main(["run", str(model), str(images), *arguments])

    shown = "".join(capfd.readouterr())
    assert code == 2
    assert words in shown
    assert shown.count("\n") == 1
    assert SECRET not in shown


def test_rules_are_never_written_over(model, images, tmp_path, capfd):
    rules = tmp_path / "rules.json"
    rules.write_text("{}", encoding="utf-8")

    code = main(["run", str(model), str(images), "--rules", str(rules), "--sink", f"jsonl:{rules}"])

    assert code == 2
    assert "is read and written" in capfd.readouterr().err
    assert rules.read_text(encoding="utf-8") == "{}"
