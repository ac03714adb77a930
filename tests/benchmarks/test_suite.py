"""`python -m benchmarks`: what it runs, what it says of a part that fails, and what it keeps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as suite
from benchmarks.suite import child, runner
from benchmarks.suite.figures import Figure, collect
from benchmarks.suite.parts import PARTS, Part, Wish
from edge_runtime.zoo import MODELS_FOLDER

WRITES = """
import json, pathlib, sys
path = pathlib.Path(sys.argv[-1])
path.parent.mkdir(parents=True)
path.write_text(json.dumps({"figures": {"one": {"ms": {"median": 2, "min": 1, "max": 4}}}}))
"""


@pytest.fixture
def wish(tmp_path):
    return Wish(quick=True, threads=1, data="street:", models=(), folder=tmp_path)


def a_part(name, code, monkeypatch_folder, **fields):
    """A part whose command is a few lines of Python."""
    module = monkeypatch_folder / f"{name}_module.py"
    module.write_text(code)
    return Part(name, "a test", module.stem, lambda wish: [], {"*/ms": "ms"}, **fields)


@pytest.fixture
def make_part(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return lambda name, code, **fields: a_part(name, code, folder, **fields)


def test_a_part_that_fails_is_named_and_the_others_go_on(make_part, wish):
    # given
    parts = [
        make_part("breaks", "raise SystemExit('error: the model is gone')"),
        make_part("dies", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        make_part("silent", "pass"),
        make_part("works", WRITES),
        make_part("elsewhere", WRITES, packages=("no_such_package_at_all",)),
    ]

    # when
    outcomes = {one.name: one for one in runner.run_parts(parts, wish)}

    # then
    states = {name: one.state for name, one in outcomes.items()}
    assert states == {
        "breaks": "failed",
        "dies": "failed",
        "silent": "failed",
        "works": "measured",
        "elsewhere": "not measured",
    }
    assert outcomes["breaks"].reason == "exit code 1: error: the model is gone"
    assert outcomes["dies"].reason == "signal 9"
    assert "wrote no figures" in outcomes["silent"].reason
    assert outcomes["elsewhere"].reason == "not installed: no_such_package_at_all"
    assert outcomes["works"].figures == {"one/ms": Figure("ms", 2, 1, 4)}
    assert outcomes["works"].peak_mb > 1


def test_a_part_that_hangs_is_ended_with_all_that_it_started(make_part, wish, tmp_path):
    mark = tmp_path / "child"
    part = make_part(
        "hangs",
        "import subprocess, sys, time\n"
        "started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(mark)!r}, 'w').write(str(started.pid))\n"
        "time.sleep(600)\n",
        limit_s=3.0,
    )

    outcome = runner.run_part(part, wish)

    assert outcome.state == "failed"
    assert outcome.reason.startswith("not done after")
    for _ in range(100):  # it is no child of ours: who inherited it may be slow to bury it
        if not is_running(int(mark.read_text())):
            break
        time.sleep(0.1)
    else:
        pytest.fail("its own child is still running")


def is_running(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


PEAKS = """
import sys
from benchmarks.suite.child import run
block = "b = b'x' * 200_000_000"
inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {block!r}])"
print(*[run([sys.executable, "-c", code], limit_s=60).peak_mb for code in ("", block, inner)])
"""


def test_the_peak_is_that_of_the_process_and_of_what_it_waited_for(repository):
    # given a small process that asks: no child's peak is told as less than its own
    told = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True, cwd=repository
    ).stdout

    small, own, inner = map(float, told.split())

    assert small < 150
    assert own > 200
    assert inner > 200


def test_figures_are_named_by_their_way_and_only_those_wanted_are_kept():
    figures = {
        "edge-n": {"milliseconds": {"torch": {"median": 2.0, "min": 1.0, "max": 3.0}}, "size": [1]},
        "threads": 2,
        "passed": True,
        "says": "words",
    }

    assert collect(figures, {"*/milliseconds/*": "ms", "thread*": "", "*": "?"}) == {
        "edge-n/milliseconds/torch": Figure("ms", 2.0, 1.0, 3.0),
        "threads": Figure("", 2, 2, 2),
    }


def test_a_run_is_one_line_with_the_machine_and_the_code(make_part, tmp_path, monkeypatch, capsys):
    # given two parts of which one fails
    parts = (make_part("works", WRITES), make_part("breaks", "raise SystemExit('no')"))
    monkeypatch.setattr(suite, "PARTS", parts)
    path = tmp_path / "history.jsonl"

    # when
    code = suite.main(["--quick", "--history", str(path)])

    # then
    assert code == 1
    run = json.loads(path.read_text())
    assert run["mode"] == "quick"
    assert {"date", "machine", "versions", "commit", "changed"} <= run.keys()
    assert {"cpu", "cores", "governors", "load", "busy", "gpu"} <= run["machine"].keys()
    assert run["parts"]["works"]["figures"]["one/ms"] == {
        "unit": "ms", "median": 2, "min": 1, "max": 4,
    }  # fmt: skip
    assert run["parts"]["breaks"]["reason"] == "exit code 1: no"
    told = capsys.readouterr()
    assert "breaks: failed: exit code 1: no" in told.err
    assert "one/ms" in told.out


def test_a_line_tells_no_folder_of_the_machine_and_no_secret(make_part, wish):
    # given
    def arguments(_):
        return ["/home/me/my nets/x.onnx", "--data", "camvid:/home/me/camvid/", "--token=hush"]

    code = "raise SystemExit('error: no folder /home/me/camvid; rtsp://me:hush@cam/a')"
    part = replace(make_part("breaks", code), arguments=arguments)

    # when
    outcome = runner.run_part(part, wish)

    # then
    line = outcome.as_json()
    assert line["command"].startswith("python -m breaks_module 'my x.onnx' --data camvid:camvid ")
    assert line["reason"].startswith("exit code 1: error: no folder camvid; ")
    assert not {"home", "hush"} & set(re.findall(r"\w+", json.dumps(line)))
    assert "/home/me/camvid" in outcome.reason  # as who runs it sees it


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_shipped_models_are_given_by_name(part, wish):
    assert str(MODELS_FOLDER) not in " ".join(part.arguments(wish))


def test_ctrl_c_keeps_what_was_measured(make_part, tmp_path, monkeypatch):
    # given
    parts = (make_part("works", WRITES), make_part("never", WRITES))
    monkeypatch.setattr(suite, "PARTS", parts)
    path = tmp_path / "history.jsonl"
    run_part = runner.run_part

    def interrupted(part, wish):
        if part.name == "never":
            raise KeyboardInterrupt
        return run_part(part, wish)

    monkeypatch.setattr(runner, "run_part", interrupted)

    # when
    code = suite.main(["--history", str(path)])

    # then
    assert code == 130
    run = json.loads(path.read_text())
    assert run["interrupted"]
    assert list(run["parts"]) == ["works"]


def test_a_part_that_does_not_exist_is_refused_with_those_that_do(capsys):
    assert suite.main(["pipelines"]) == 2

    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "pipelines" in told
    assert all(part.name in told for part in PARTS)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.parametrize("quick", [True, False])
def test_the_command_of_each_part_is_one_that_its_module_takes(part, quick, tmp_path, monkeypatch):
    # given the module's own parser, which ends the command behind the options
    import argparse
    from importlib import import_module

    pytest.importorskip("torch")
    wish = Wish(quick, 1, "street:192x256", (), tmp_path)
    name = f"{part.module}.__main__" if part.module == "benchmarks.gpu" else part.module
    main = import_module(name).main
    parse = argparse.ArgumentParser.parse_args

    class ReadError(Exception):
        pass

    def read(parser, *arguments):
        parse(parser, *arguments)
        raise ReadError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)
    written = ["--json", str(tmp_path / "f.json")] if part.writes_json else []
    monkeypatch.setattr(sys, "argv", [part.module, *part.arguments(wish), *written])

    # when, then
    with pytest.raises(ReadError):
        main()


def test_the_program_that_measures_stays_small():
    code = "import sys, benchmarks.__main__; print(*{'torch', 'numpy', 'cv2'} & set(sys.modules))"

    ended = child.run([sys.executable, "-c", code], limit_s=60)

    assert (ended.code, ended.output.split()) == (0, [])


@pytest.mark.slow
def test_a_shipped_model_is_measured_kept_and_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'reports' is not installed")
    path, plot = tmp_path / "history.jsonl", tmp_path / "plot.svg"

    first = suite.main(["models", "--quick", "--models", "street-edge-n", "--history", str(path)])
    second = suite.main(["--history", str(path), "--plot", str(plot)])

    assert (first, second) == (0, 0)
    run = json.loads(path.read_text())
    part = run["parts"]["models"]
    assert part["state"] == "measured"
    assert part["figures"]["street-edge-n/milliseconds"]["median"] > 0
    assert part["figures"]["street-edge-n/miou/street-8 val"]["median"] > 0.5
    assert 30 < part["figures"]["street-edge-n/peak_mb"]["median"] < part["peak_mb"] + 200
    assert plot.stat().st_size > 1000
