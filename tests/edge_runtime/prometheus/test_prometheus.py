"""A real run, scraped by a real Prometheus: what it has stored is what the run's report says."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from importlib.resources import files

import pytest

from edge_runtime.artifacts import write_artifact
from edge_runtime.prometheus.histogram import BOUNDS_LE, BOUNDS_MS
from tests.edge_runtime.prometheus.test_fleet_files import expressions
from tests.scripted import write_identity_onnx

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")
pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytestmark = [
    pytest.mark.gst,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="Prometheus is not installed: apt-get install prometheus",
    ),
]

SIZE = (54, 96)
FRAMES_S = 3.0
"""Then the camera falls silent for good: what is scraped after it is what the run ends on."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def process(*command, **options):
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            running.kill()
        running.communicate()


class Server:
    """A Prometheus with our configuration and rules, and one target."""

    def __init__(self, folder, target):
        self.port = free_port()
        text = (files("edge_runtime.prometheus") / "prometheus.yml").read_text(encoding="utf-8")
        text = text.replace("localhost:9101", f"127.0.0.1:{target}")
        text = text.replace("_interval: 5s", "_interval: 250ms").replace("15s", "1s")
        (folder / "prometheus.yml").write_text(text, encoding="utf-8")
        rules = (files("edge_runtime.prometheus") / "rules.yml").read_bytes()
        (folder / "rules.yml").write_bytes(rules)
        self.command = (
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )  # fmt: skip

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, text):
        return {
            tuple(sorted(found["metric"].items())): float(found["value"][1])
            for found in self.ask("query", query=text)["result"]
        }

    def by(self, label, text):
        return {dict(labels)[label]: value for labels, value in self.query(text).items()}

    def value(self, text):
        (value,) = self.query(text).values()
        return value

    def wait_for(self, text, limit_s=30.0):
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                if self.query(text):
                    return
            time.sleep(0.2)
        raise AssertionError(f"Prometheus never had {text}")


def test_prometheus_stores_what_the_report_says(tmp_path):
    # given a Prometheus, and a run whose camera falls silent
    part, model = tmp_path / "part.onnx", tmp_path / "identity.onnx"
    write_artifact(part, model, write_identity_onnx(part, SIZE))
    port, log, report = free_port(), tmp_path / "frames.jsonl", tmp_path / "report.json"
    server = Server(tmp_path, port)
    source = f"front=fault:stall@{FRAMES_S:g}+600:test:bars"
    run = (
        sys.executable, "-m", "edge_runtime.cli", "run", str(model), source, "--quiet",
        "--metrics", str(port), "--no-reconnect",
        "--frames-log", str(log), "--report", str(report),
    )  # fmt: skip
    with process(*server.command, cwd=tmp_path) as prometheus:
        server.wait_for("vector(1)")
        with process(*run) as running:
            server.wait_for('hyperseg_stalls_total{camera="front"} == 1')
            time.sleep(0.6)  # two scrapes more
            found = collect(server)
            answers = {query: server.ask("query", query=query)["result"]
                       for _, query in expressions()}  # fmt: skip
            running.terminate()
            running.wait(60)
            assert running.returncode == 0, running.stderr.read()
        prometheus.terminate()
        prometheus.wait(30)

    # then it has stored what the report says, and what the log of frames adds up to
    frames = json.loads(report.read_text())["cameras"][0]["report"]["frames"]
    results = [json.loads(line) for line in log.read_text().splitlines()]
    masks = [line for line in results if line["state"] == "ok"]
    assert found["stages"] == {
        stage: frames[stage] for stage in ("captured", "inferred", "published")
    }
    assert found["dropped"] == frames["dropped"]
    assert found["stages"]["published"] == len(masks) > 30
    assert found["buckets"] == recount([line["latency_ms"]["result"] for line in masks])
    sum_s = sum(line["latency_ms"]["result"] for line in masks) * 1e-3
    assert found["sum"] == pytest.approx(sum_s)
    for stage, total_s in found["stage sums"].items():
        logged_s = sum(line["latency_ms"]["stages"][stage] for line in masks) * 1e-3
        assert total_s == pytest.approx(logged_s, abs=1e-6)
    assert found["up"] == 0
    assert found["age"] > 2
    # every query of the dashboard can be answered, and nearly all have something to say
    silent = sum(not result for result in answers.values())
    assert silent <= 12, [query for query, result in answers.items() if not result]


def collect(server):
    clock = server.by("clock", "hyperseg_end_to_end_latency_seconds_count")
    assert list(clock) == ["arrival"]
    return {
        "stages": server.by("stage", "hyperseg_frames_total"),
        "dropped": server.by("reason", "hyperseg_frames_dropped_total"),
        "buckets": server.by("le", "hyperseg_end_to_end_latency_seconds_bucket"),
        "sum": server.value("hyperseg_end_to_end_latency_seconds_sum"),
        "stage sums": server.by("stage", "hyperseg_stage_latency_seconds_sum"),
        "up": server.value("hyperseg_source_up"),
        "age": server.value("hyperseg_frame_age_seconds"),
    }


def recount(results_ms):
    counts = [sum(round(value, 6) <= bound for value in results_ms) for bound in BOUNDS_MS]
    return dict(zip(BOUNDS_LE, [*counts, len(results_ms)], strict=True))
