"""`jsonl:FILE`: every line whole, whatever happens to the disk or to the process."""

import json
import resource
import time

import pytest

from edge_runtime.errors import OptionError, SinkError
from edge_runtime.sinks.messages.jsonl import jsonl
from edge_runtime.sinks.outlets import open_outlets
from edge_runtime.sinks.spec import parse_sink
from tests.results import RULES, make_context, make_result


def outlets(path, **context):
    spec = parse_sink(f"jsonl:{path}")
    return open_outlets([spec], make_context(**context), stopping=lambda: False)


def lines(path):
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_one_line_per_result_with_the_rules_of_the_file(tmp_path):
    rules, path = tmp_path / "rules.json", tmp_path / "out.jsonl"
    rules.write_text(json.dumps(RULES), encoding="utf-8")

    with outlets(path, rules=rules) as run:
        for index, columns in enumerate((0, 5, None)):
            run.offer(make_result(index, columns), wait=True)

    written = lines(path)
    assert [line["index"] for line in written] == [0, 1, 2]
    assert [line["rules"]["person-ahead"]["state"] for line in written] == [
        "clear",
        "raised",
        "unknown",
    ]
    assert run.workers[0].consumed == 3


def test_lines_are_in_the_file_before_the_run_is_over(tmp_path):
    # given a run that is killed: nothing of it is closed or flushed
    path = tmp_path / "out.jsonl"
    sink = jsonl(parse_sink(f"jsonl:{path}"), make_context())
    sink.open()
    for index in range(3):
        sink.consume(make_result(index))

    assert [line["index"] for line in lines(path)] == [0, 1, 2]
    sink.close()


def test_a_full_disk_loses_whole_lines_and_no_run(tmp_path, file_limit):
    path, said = tmp_path / "out.jsonl", []
    with outlets(path, say=said.append) as run:
        run.offer(make_result(0), wait=True)
        wait_for(run, 1)
        # when the disk is full after one line and a half
        file_limit(path.stat().st_size * 3 // 2)
        run.offer(make_result(1), wait=True)
        run.offer(make_result(2), wait=True)
        wait_for(run, 3)
        # and has room again
        file_limit(resource.RLIM_INFINITY)
        run.offer(make_result(3), wait=True)

    (worker,) = run.workers
    assert [line["index"] for line in lines(path)] == [0, 3]
    assert (worker.consumed, worker.dropped) == (2, 2)
    assert len(said) == 1
    assert "File too large" in said[0]


def wait_for(run, count):
    (worker,) = run.workers
    while worker.consumed < count:
        time.sleep(0.005)


def test_an_older_file_survives_a_run_without_results(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old\n", encoding="utf-8")

    with outlets(path):
        pass

    assert path.read_text(encoding="utf-8") == "old\n"


@pytest.mark.parametrize("name", ["missing/out.jsonl", "."])
def test_a_place_that_takes_no_file_is_told_before_the_run(tmp_path, name):
    with pytest.raises(SinkError, match="cannot write"), outlets(tmp_path / name):
        pass


def test_rules_that_do_not_fit_the_model_are_told_before_the_run(tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text('{"rules": [{"name": "a", "class": "person", "min_ratio": 1}]}')

    with pytest.raises(OptionError, match="camvid-11 has no class 'person'"):
        outlets(tmp_path / "out.jsonl", rules=rules)


def test_a_device_that_is_always_full_costs_only_its_lines(tmp_path):
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    said = []

    with outlets(path, say=said.append) as run:
        run.offer(make_result(0), wait=True)

    assert run.workers[0].dropped == 1
    assert said[0].endswith("No space left on device; lines are left out until there is room")
