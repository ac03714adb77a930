"""The commands for a GPU: what they refuse, what they keep when something ends them."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from importlib import import_module

import pytest
import torch

from benchmarks.gpu.__main__ import ITEMS, command_of, mark_cut_off, run_item, table
from benchmarks.gpu.account import DRY, Account, OutOfTimeError, conduct
from edge_runtime.errors import BackendError

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to run on")


def run(measure, path, dry=False):
    options = Namespace(json=path, dry_run=dry, minutes=5.0)
    return conduct("toy", options, measure)


@pytest.fixture
def gpu_seen(monkeypatch):
    """An account that believes in a GPU and asks nothing of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("benchmarks.gpu.facts._gpu", lambda: {"name": "none: a test"})


@no_gpu
@pytest.mark.parametrize("name", [item.name for item in ITEMS])
def test_every_item_refuses_in_one_line_without_a_gpu(name, tmp_path, monkeypatch, capsys):
    module = import_module(f"benchmarks.gpu.{name}")
    target = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", [name, "--json", str(target)])

    assert module.main() == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "no GPU" in told.err
    assert not target.exists()


def test_a_dry_run_writes_no_result(tmp_path, capsys):
    # given a place for figures: refused
    target = tmp_path / "figures.json"
    assert run(lambda options, account: None, target, dry=True) == 2
    assert "leave --json out" in capsys.readouterr().err

    # given none: gone through, its figures neither shown nor kept
    assert run(lambda options, account: account.row("t", "r", ms=123.5), None, dry=True) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == told.out.splitlines()[-1] == DRY
    assert "123.5" not in told.out + told.err


def test_each_row_is_on_the_disk_before_the_next(gpu_seen, tmp_path):
    target = tmp_path / "out" / "figures.json"
    seen = []

    def measure(options, account):
        for number in range(3):
            account.row("times", f"row {number}", ms=number)
            seen.append(json.loads(target.read_bytes()))

    assert run(measure, target) == 0
    assert [len(account["figures"]["times"]) for account in seen] == [1, 2, 3]
    assert {account["status"] for account in seen} == {"running"}
    final = json.loads(target.read_bytes())
    assert final["status"] == "complete"
    assert {"gpu", "packages", "power", "command"} <= final.keys()
    assert "dry_run" not in final


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OutOfTimeError(), "out of time", 0),
        (BackendError("the driver left"), "failed", 2),
        (KeyboardInterrupt(), "cut off", 3),
    ],
)
def test_what_was_measured_outlives_the_end(gpu_seen, tmp_path, error, status, code):
    target = tmp_path / "figures.json"

    def measure(options, account):
        account.row("times", "first", ms=1.0)
        raise error

    assert run(measure, target) == code
    account = json.loads(target.read_bytes())
    assert account["status"] == status
    assert account["figures"] == {"times": {"first": {"ms": 1.0}}}


def test_a_defect_keeps_its_traceback_and_its_figures(gpu_seen, tmp_path):
    def measure(options, account):
        account.row("times", "first", ms=1.0)
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        run(measure, tmp_path / "figures.json")
    account = json.loads((tmp_path / "figures.json").read_bytes())
    assert (account["status"], account["reason"]) == ("failed", "ZeroDivisionError: ours")


def test_time_over_is_noticed_between_rows():
    account = Account("toy", True, None, minutes=0.0)
    with pytest.raises(OutOfTimeError):
        account.check_time()


def test_an_item_that_does_not_end_is_ended_and_keeps_its_rows(tmp_path):
    # given an item that has one row and then hangs
    target = tmp_path / "item.json"
    script = tmp_path / "item.py"
    script.write_text(
        "import json, pathlib, time\n"
        f"place = pathlib.Path({str(target)!r})\n"
        "place.write_text(json.dumps({'status': 'running', 'figures': {'t': {'r': {}}}}))\n"
        "time.sleep(600)\n"
    )

    # when its time is over
    assert run_item([sys.executable, str(script)], limit_s=3) is None
    mark_cut_off(target, "it did not end in its time")

    # then
    account = json.loads(target.read_bytes())
    assert (account["status"], account["figures"]) == ("cut off", {"t": {"r": {}}})


def test_an_account_that_ended_by_itself_is_not_touched(tmp_path):
    target = tmp_path / "item.json"
    target.write_text('{"status": "complete"}')
    mark_cut_off(target, "late")
    assert json.loads(target.read_bytes()) == {"status": "complete"}


def test_items_get_what_they_need_or_say_what_is_missing(tmp_path):
    options = Namespace(out=tmp_path, dry_run=False, data=None, checkpoint=None)
    by_name = {item.name: item for item in ITEMS}
    assert command_of(by_name["training"], options, 3) == "left out: it needs --data"

    options.data = "camvid:there"
    command = command_of(by_name["processes"], options, 3)
    assert command[1:4] == ["-m", "benchmarks.gpu.processes", "--minutes"]
    assert command[-2:] == ["--data", "camvid:there"]
    assert command_of(by_name["finetune"], options, 3) == "left out: it needs --checkpoint"


def test_the_table_is_aligned():
    text = table([("item", "status", "remark"), ("networks", "complete", "12 rows")])
    first, second = text.splitlines()
    assert first.index("remark") == second.index("12 rows")
