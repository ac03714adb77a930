"""The dashboard, rules and configuration that ship: promtool accepts them, their metrics exist."""

import json
import re
import shutil
import subprocess
from importlib.resources import files

import pytest

from edge_runtime.cli import main
from edge_runtime.loop import LoopOptions
from edge_runtime.runner import execute
from tests.edge_runtime.prometheus.exposed import Exposed
from tests.scripted import FakeClock, ScriptedBackend, ScriptedSource

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")

from edge_runtime.prometheus.metrics import RunMetrics

FOLDER = files("edge_runtime.prometheus")
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
RULES = (FOLDER / "rules.yml").read_text(encoding="utf-8")
RECORDED = set(re.findall(r"record: (\S+)", RULES))
METRIC = re.compile(r"(?<![\w:])(?:hyperseg|process)_\w+")
ALERT_TESTS = """
rule_files: [rules.yml]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - series: 'up{job="hyperseg", robot="a", instance="a:1"}'
        values: '1x8 0x20'
      - series: 'hyperseg_source_up{robot="a", camera="front", instance="a:1"}'
        values: '1x8 0x20'
      - series: 'hyperseg_source_up{robot="b", camera="front", instance="b:1"}'
        values: '1x30'
      - series: 'hyperseg_frame_age_seconds{robot="b", camera="front", instance="b:1"}'
        values: '0.1x8 3x20'
      - series: 'hyperseg_throttle_events_total{robot="b", kind="clock-below-lock", instance="b:1"}'
        values: '0x80'
      - series: 'hyperseg_throttle_events_total{robot="b", kind="oc1", instance="b:1"}'
        values: '_x50 2x30'
    alert_rule_test:
      - {eval_time: 2m, alertname: HypersegDown}
      - eval_time: 4m
        alertname: HypersegDown
        exp_alerts:
          - exp_labels: {severity: critical, job: hyperseg, robot: a, instance: "a:1"}
            exp_annotations:
              summary: a does not answer
              description: The run has ended, the machine is off, or the network is away.
      - eval_time: 3m
        alertname: HypersegNoSignal
        exp_alerts:
          - exp_labels: {severity: critical, robot: a, camera: front, instance: "a:1"}
            exp_annotations:
              summary: "a: front has no signal"
              description: No frame comes; the run opens the camera again by itself while it lasts.
      - eval_time: 3m
        alertname: HypersegOldMasks
        exp_alerts:
          - exp_labels: {severity: critical, robot: b, camera: front, instance: "b:1"}
            exp_annotations:
              summary: "b: the newest mask of front is 3s old"
              description: Frames come and no masks do. The engine or an output hangs.
      - {eval_time: 12m, alertname: HypersegThrottled}
      - eval_time: 14m
        alertname: HypersegThrottled
        exp_alerts:
          - exp_labels: {severity: warning, robot: b}
            exp_annotations:
              summary: b was throttled 2 times in 10 minutes
              description: >-
                Heat, current or power slowed it down; latencies are those of a slower machine.
"""


def promtool(*arguments, cwd=None, text=None):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return subprocess.run(
        ["promtool", *arguments], cwd=cwd, input=text, capture_output=True, text=True, timeout=60
    )


def accept(outcome):
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def expressions():
    """(title of the panel, query as Prometheus gets it) of every query of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], re.sub(r"\$(robot|camera)", ".*", query)


@pytest.fixture(scope="module")
def exposition():
    clock, metrics = FakeClock(), RunMetrics()
    with ScriptedBackend(clock, copies_ms=1.0) as backend:
        execute(backend, ScriptedSource(clock), backend.manifest, LoopOptions(clock=clock),
                attend=metrics.attend)  # fmt: skip
    return metrics.exposition()[0]


@pytest.fixture(scope="module")
def served(exposition):
    return Exposed(exposition).names


def test_promtool_finds_nothing_to_mend_in_the_metrics(exposition):
    outcome = promtool("check", "metrics", text=exposition.decode())

    accept(outcome)
    assert outcome.stdout + outcome.stderr == ""


def test_every_name_of_the_reference_is_served(served):
    assert served >= {
        "hyperseg_frames_total", "hyperseg_frames_dropped_total", "hyperseg_deadline_misses_total",
        "hyperseg_queue_length", "hyperseg_stage_latency_seconds_bucket",
        "hyperseg_end_to_end_latency_seconds_bucket", "hyperseg_frame_interval_seconds_bucket",
        "hyperseg_frame_age_seconds", "hyperseg_source_up", "hyperseg_source_reconnects_total",
        "hyperseg_stalls_total", "hyperseg_inference_errors_total", "hyperseg_engine_info",
        "hyperseg_engine_reloads_total", "hyperseg_class_pixels_ratio", "hyperseg_power_watts",
        "hyperseg_temperature_celsius", "hyperseg_clock_hertz", "hyperseg_throttle_events_total",
        "process_resident_memory_bytes",
    }  # fmt: skip


def test_rules_and_dashboard_ask_only_for_what_is_served(served):
    for title, query in expressions():
        assert METRIC.search(query) or query.startswith(("sum(up", "count(up")), title
        assert set(METRIC.findall(query)) <= served, title
    queries = re.findall(r"expr: (.+)", RULES)
    assert len(queries) == RULES.count("expr:")
    for query in queries:
        assert set(METRIC.findall(query)) <= served, query
        assert set(re.findall(r"\b\w+:hyperseg\w+:\w+", query)) <= RECORDED, query


def test_every_served_metric_of_ours_is_on_the_dashboard(served):
    asked = {name for _, query in expressions() for name in METRIC.findall(query)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in served}
    missing = {
        name
        for name in families
        if name.startswith("hyperseg_")
        and not any(re.sub(r"_(bucket|count|sum)$", "", one) == name for one in asked)
    }
    assert missing == set()


def test_promtool_accepts_rules_configuration_and_every_query_of_the_dashboard(tmp_path):
    for name in ("rules.yml", "prometheus.yml"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    records = [f"  - {{record: 'q:{i}', expr: {json.dumps(query)}}}"
               for i, (_, query) in enumerate(expressions())]  # fmt: skip
    assert len(records) > 30
    queries = "\n".join(["groups:", "- name: dashboard", "  rules:", *records])
    (tmp_path / "dashboard.yml").write_text(queries, encoding="utf-8")

    accept(promtool("check", "rules", "rules.yml", "dashboard.yml", cwd=tmp_path))
    accept(promtool("check", "config", "prometheus.yml", cwd=tmp_path))


def test_alerts_fire_when_they_should_and_not_before(tmp_path):
    (tmp_path / "rules.yml").write_text(RULES, encoding="utf-8")
    (tmp_path / "tests.yml").write_text(ALERT_TESTS, encoding="utf-8")

    accept(promtool("test", "rules", "tests.yml", cwd=tmp_path))


def test_panels_have_their_own_numbers_and_places():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"source", "robot", "camera"}


@pytest.mark.parametrize("listen", ["", "x", "70000", "0", "10.0.0.1", ":9101", "host:0"])
def test_an_address_that_cannot_be_is_refused_before_the_model_is_looked_for(listen, capsys):
    assert main(["run", "no-such-model", "test:", "--metrics", listen]) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "metrics" in error
