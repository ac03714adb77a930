"""What a run shows: lines for pipes, a bar for a terminal, curves for TensorBoard."""

from __future__ import annotations

import io
import struct
import sys

import pytest

from edge_runtime.cli import REMEDIES
from training.display import terminal
from training.progress import Progress, progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at(step: int) -> Progress:
    return Progress(step, steps=8, loss=1.25, rate=1e-3, images=6, seconds=0.5)


def test_line_says_step_loss_rate_speed_and_time_left():
    line = progress_line(at(3), {"loss": 1.5, "images_per_s": 12.0, "wait": 0.02}, 60.0)

    assert line == (
        "step       3/8  loss 1.5000  lr 1.00e-03  12.0 img/s  data wait 2 %  eta 0:05:00"
    )


def test_without_a_terminal_there_are_lines_only(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    with terminal() as display:
        display.report("val  mIoU [50]")

    assert display.watch is None
    assert capsys.readouterr().out == "val  mIoU [50]\n"


def test_on_a_terminal_there_is_a_bar_and_lines_stay_on_stdout(monkeypatch, capsys):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    with terminal() as display:
        for step in range(1, 9):
            display.watch(at(step))
        display.report("val  mIoU 50")

    shown = screen.getvalue()
    assert "8/8" in shown
    assert "loss 1.2500" in shown
    assert "12.0 img/s" in shown
    assert capsys.readouterr().out == "val  mIoU 50\n"


def test_where_both_streams_are_the_terminal_lines_stand_above_the_bar(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")

    with terminal() as display:
        display.watch(at(1))
        display.report("val  mIoU [bold]50")

    assert "val  mIoU [bold]50" in screen.getvalue()


def events(folder):
    """(tag, step, value) of every scalar in TensorBoard's files."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found


def test_tensorboard_gets_every_figure_of_the_log(toy, tmp_path):
    pytest.importorskip("tensorboardX")

    outcome = toy.run(tmp_path, tensorboard=True)

    found = events(tmp_path / "tensorboard")
    assert [step for tag, step, _ in found if tag == "train/loss"] == list(range(1, 9))
    scores = {step: value for tag, step, value in found if tag == "val/miou"}
    assert scores[outcome.best_step] == pytest.approx(outcome.best_miou, abs=1e-6)
    assert {"val/iou/red", "val/iou/green", "val/iou/blue", "train/lr"} <= {
        tag for tag, *_ in found
    }


def test_missing_tensorboard_writer_has_a_remedy(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)

    with pytest.raises(ModuleNotFoundError) as raised:
        toy.run(tmp_path, tensorboard=True)

    assert "hyperseg-edge[tensorboard]" in REMEDIES[raised.value.name]
