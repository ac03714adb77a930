"""Command lines for others: no folders, no secrets, and still readable."""

from __future__ import annotations

import pytest

from edge_runtime.redact import public_command


@pytest.mark.parametrize(
    ("command", "public"),
    [
        ("hyperseg eval net.onnx --split test", "hyperseg eval net.onnx --split test"),
        ("hyperseg train --run runs/a/ --seed 0", "hyperseg train --run a --seed 0"),
        ("--data camvid:/home/me/data/camvid --size 3x4", "--data camvid:camvid --size 3x4"),
        ("--data camvid:../shared/camvid/ -o ./x.onnx", "--data camvid:camvid -o x.onnx"),
        ("--json=/tmp/a/scores.json", "--json=scores.json"),
        ("--data street:", "--data street:"),
        ("--models a,b,runs/c.onnx", "--models a,b,c.onnx"),
        ("/home/some one/data/x.onnx", "some x.onnx"),
        ("--run rtsp://me:secret@camera/stream", "--run rtsp:stream"),
    ],
)
def test_paths_are_their_last_part(command, public):
    assert public_command(command) == public
