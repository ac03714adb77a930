"""`render`: the page of any report of ours that is about a run or a bench."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import OptionError
from edge_runtime.page.bench import bench_sections, bench_title
from edge_runtime.page.charts import Line, TimeChart, time_chart
from edge_runtime.page.document import document, utc
from edge_runtime.page.machine import device_rows, machine_section
from edge_runtime.page.markup import (
    badge,
    code,
    duration_text,
    facts,
    figure,
    number,
    pairs,
    section,
    table,
)
from edge_runtime.page.run import run_sections

if TYPE_CHECKING:
    from collections.abc import Mapping

LATENCY, CAMERAS, SOAK, BENCH = (
    f"hyperseg-edge.{name}/1" for name in ("latency", "cameras", "soak", "bench")
)


def render(report: Mapping[str, Any]) -> str:
    """The page of a latency, cameras, soak or bench report, with the report itself within.

    Args:
        report: as its JSON reads.

    Raises:
        OptionError: it is another kind of report.
    """
    schema = report.get("schema")
    if schema == LATENCY:
        title, body = str(report["model"]["name"]), _run(report)
    elif schema == CAMERAS:
        title, body = _camera_title(report), _cameras(report)
    elif schema == SOAK:
        title, body = "Soak", _soak(report)
    elif schema == BENCH:
        title, body = bench_title(report), bench_sections(report)
    else:
        raise OptionError(
            f"a report of schema {schema!r} has no page; expected one of `hyperseg run`, `soak`, "
            "`bench`, `eval` or `train`"
        )
    return document(title, body, made=_began(report), data=report)


def _run(report: Mapping[str, Any]) -> str:
    return run_sections(report) + machine_section(report) + _identity(report)


def _began(report: Mapping[str, Any]) -> str:
    inner = report.get("run") or report.get("cameras") or report
    if isinstance(inner, list):
        inner = report
    return utc(inner.get("started_at") or inner.get("created_at"))


def _identity(report: Mapping[str, Any]) -> str:
    model, device, source = report["model"], report["device"], report["source"]
    rows = [
        ("model", escape(model["name"])),
        ("backend", escape(model["backend"])),
        ("precision", escape(model["precision"] or "as in the file")),
        ("input", " &times; ".join(map(str, model["input"]))),
        ("ONNX sha256", code(model["onnx_sha256"])),
        ("engine sha256", code(model["engine_sha256"])),
        ("calibration sha256", code(model["calib_sha256"])),
        ("source", code(source["uri"])),
        ("caps", code(source["caps"])),
        ("clock", code(source["timestamp_source"])),
        *device_rows(device),
        ("warm-up", _warmup(report["warmup"])),
        ("run", code(report["run_id"])),
    ]  # fmt: skip
    return section("What was run, on what", pairs(rows))


def _warmup(warmup: Mapping[str, Any]) -> str:
    stable = "stable" if warmup["converged"] else "not stable before the end"
    first = number(warmup["first_ms"], "ms")
    return f"{warmup['frames']} frames, first inference {first}, {stable}"


def _camera_title(report: Mapping[str, Any]) -> str:
    return f"{len(report['cameras'])} cameras on {report['cameras'][0]['report']['model']['name']}"


def _cameras(report: Mapping[str, Any]) -> str:
    engine = report["engine"]
    utilisation = None if engine["utilisation"] is None else 100 * engine["utilisation"]
    head = facts(
        [
            (number(utilisation, "%"), "of the time the network was busy"),
            (number(engine["per_second"]), "frames inferred per second"),
            (number(engine["service_ms"]["p50"], "ms"), "p50 of a turn"),
            (duration_text(report["duration_s"]), f"run, ended by {report['ended']}"),
        ]
    )
    cameras = [
        section(
            f"Camera {escape(camera['name'])}",
            (f'<p class="bad">failed: {escape(camera["failure"])}</p>' if camera["failure"] else "")
            + run_sections(camera["report"]).replace("<h2>", "<h3>").replace("</h2>", "</h3>"),
        )
        for camera in report["cameras"]
    ]
    shared = report["cameras"][0]["report"]
    return head + "".join(cameras) + machine_section(shared) + _identity(shared)


def _soak(report: Mapping[str, Any]) -> str:
    verdict = badge("passed", "good") if report["passed"] else badge("failed", "bad")
    mark = {True: badge("pass", "good"), False: badge("FAIL", "bad")}
    judged = table(
        ("", "criterion", "found"),
        [(mark[c["passed"]], escape(c["name"]), escape(c["says"])) for c in report["criteria"]],
    )
    length = report["length"]
    hours = f"{length['hours']:.3g} h judged ({length['hours_are']})"
    note = f"{duration_text(length['seconds'])}, {hours}"
    inner = ""
    if report["run"]:
        inner = _run(report["run"])
    elif report["cameras"]:
        inner = _cameras(report["cameras"])
    inner = f"<h2>The run</h2>{inner}" if inner else ""
    head = f'<p>{verdict} <span class="note">{escape(note)}</span></p>'
    return head + judged + section("Memory over time", _memory(report["samples"])) + inner


def _memory(samples: Mapping[str, Any]) -> str:
    rows = [dict(zip(samples["columns"], row, strict=True)) for row in samples["rows"]]
    if not rows or not {"t_s", "rss_mb"} <= rows[0].keys():
        return ""
    line = Line("resident", [(row["t_s"], row["rss_mb"]) for row in rows], "one")
    chart = TimeChart("Resident memory", "MB", (line,), height=180)
    return figure(time_chart(chart), "", "Resident memory of the process, MB.")
