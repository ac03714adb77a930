"""The history of the suite's runs: whole lines or none, and the picture that is drawn of it."""

from __future__ import annotations

import json
import os

import msgspec
import pytest

from benchmarks import __main__ as suite
from benchmarks.suite import history
from edge_runtime.errors import OptionError


def a_run(number=0):
    return {"date": f"2026-01-0{number + 1}", "parts": {}}


def days(found):
    return [int(run.date[-1]) - 1 for run in found.runs]


def test_history_grows_by_whole_lines(tmp_path):
    path = tmp_path / "results" / "history.jsonl"

    for number in range(3):
        history.append(path, a_run(number))

    assert days(history.read(path)) == [0, 1, 2]
    assert history.read(path).damaged == []


def test_a_line_that_a_crash_cut_short_is_named_and_costs_no_other(tmp_path):
    # given a file whose last line is half there
    path = tmp_path / "history.jsonl"
    history.append(path, a_run(0))
    history.append(path, a_run(1))
    os.truncate(path, path.stat().st_size - 20)

    # when the next run is added, and something else finds its way in
    history.append(path, a_run(2))
    with path.open("a", encoding="utf-8") as file:
        file.write('[1]\n{"schema": "another"}\n\n')
    found = history.read(path)

    # then
    assert days(found) == [0, 2]
    assert [line.partition(": ")[0] for line in found.damaged] == [
        f"{path}, line {number}" for number in (2, 4, 5)
    ]


def test_a_line_that_does_not_fit_on_the_disk_is_left_out_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "history.jsonl"
    history.append(path, a_run(0))
    before = path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:10]))

    with pytest.raises(OptionError, match="cannot write"):
        history.append(path, a_run(1))

    assert path.read_bytes() == before


def measured(date, part, **figures):
    values = {
        name: {"unit": "ms", "median": value, "min": value - 1, "max": value + 1}
        for name, value in figures.items()
    }
    return {
        "date": date, "commit": "abcdef0123", "changed": False, "mode": "full",
        "machine": {"cpu": "2 x some cpu"}, "parts": {part: {"figures": values}},
    }  # fmt: skip


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_history_is_drawn(tmp_path, capsys, suffix, magic):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")
    path, target = tmp_path / "history.jsonl", tmp_path / f"plot{suffix}"
    for day in range(3):
        run = measured(f"2026-01-0{day + 1}", "startup", import_ms=4.0 + day)
        models = {"m/milliseconds": 20.0, "m/miou/street-8 val": 0.8}
        run["parts"] |= measured("", "models", **models)["parts"]
        history.append(path, run)
    with path.open("a", encoding="utf-8") as file:
        file.write("half a li")

    assert suite.main(["--history", str(path), "--plot", str(target)]) == 0

    assert target.read_bytes().startswith(magic)
    told = capsys.readouterr().err
    assert "line 4" in told
    assert "3 runs drawn" in told


def odd(**fields):
    return {"schema": history.SCHEMA, **measured("2026-01-02", "startup", import_ms=3.0), **fields}


def odd_figure(**fields):
    figure = {"unit": "ms", "median": 3.0, "min": 2.0, "max": 4.0, **fields}
    return odd(parts={"startup": {"figures": {"import_ms": figure}}})


@pytest.mark.parametrize(
    ("line", "is_damaged"),
    [
        (odd(machine=None), True),
        (odd(machine={"cpu": 7}), True),
        (odd(commit=7), True),
        (odd(date=20260102), True),
        (odd(parts=None), True),
        (odd(parts={"startup": None}), True),
        (odd(parts={"startup": {"figures": {"import_ms": 3.0}}}), True),
        (odd_figure(median=None), True),
        ({"parts": {}}, True),
        (odd(commit=None, written_by="a newer version"), False),
        (odd(parts={"startup": {"state": "failed"}}), False),
        (odd_figure(mean=3.1), False),
        (odd_figure(min=5.0), False),
        (odd_figure(max=1.0), False),
    ],
)
def test_an_odd_line_is_named_or_drawn_and_costs_no_other(tmp_path, capsys, line, is_damaged):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")
    # given a line that is JSON, between two that are sound
    path, target = tmp_path / "history.jsonl", tmp_path / "plot.svg"
    history.append(path, measured("2026-01-01", "startup", import_ms=3.0))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    history.append(path, measured("2026-01-03", "startup", import_ms=3.0))

    # when
    code = suite.main(["--history", str(path), "--plot", str(target)])

    # then
    told = capsys.readouterr().err
    assert (code, target.is_file()) == (0, True)
    assert ("line 2: " in told) == is_damaged
    assert f"{3 - is_damaged} runs drawn" in told


def test_a_line_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"schema": "\xff"}\n')

    assert "line 1: " in history.read(path).damaged[0]


def test_accuracy_stands_beside_latency_only_where_both_are_known():
    from benchmarks.suite.plot import Model, latest_models

    lines = [
        measured("2026-01-01", "models", **{"a/milliseconds": 9.0, "a/miou/x/y test": 0.5}),
        measured("2026-01-02", "models", **{"b/milliseconds": 9.0, "c/miou/x": 0.5}),
        measured("2026-01-03", "startup", import_ms=1.0),
    ]
    runs = [msgspec.convert({"schema": history.SCHEMA, **line}, history.Run) for line in lines]

    assert latest_models(runs) == [Model("a", "x/y test", 0.5, 9.0)]


@pytest.mark.parametrize("name", ["plot.gif", "plot"])
def test_a_plot_of_another_kind_is_refused(tmp_path, capsys, name):
    path = tmp_path / "history.jsonl"
    history.append(path, measured("2026-01-01", "startup", import_ms=1.0))

    assert suite.main(["--history", str(path), "--plot", str(tmp_path / name)]) == 2

    assert ".png or .svg" in capsys.readouterr().err


def test_a_history_that_is_not_there_is_said_in_one_line(tmp_path, capsys):
    assert suite.main(["--history", str(tmp_path / "no.jsonl"), "--plot", "plot.png"]) == 2

    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "run `python -m benchmarks` first" in told


def test_what_is_no_number_is_not_written(tmp_path):
    path = tmp_path / "history.jsonl"

    with pytest.raises(ValueError, match="JSON"):
        history.append(path, {**a_run(), "x": float("nan")})

    assert not path.exists()
