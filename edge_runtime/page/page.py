"""`render`: the page of any report of ours that is about a run."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from edge_runtime.errors import OptionError
from edge_runtime.page.charts import Line, TimeChart, time_chart
from edge_runtime.page.markup import duration_text, facts, figure, number, section, table
from edge_runtime.page.run import machine_section, run_sections

if TYPE_CHECKING:
    from collections.abc import Mapping

LATENCY, CAMERAS, SOAK = (f"hyperseg-edge.{name}/1" for name in ("latency", "cameras", "soak"))
_PRODUCT = "HyperSeg Edge"


def render(report: Mapping[str, Any]) -> str:
    """The page of a latency, cameras or soak report, with the report itself within.

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
    else:
        raise OptionError(
            f"a report of schema {schema!r} has no page; expected one of `hyperseg run` or "
            "`hyperseg soak`"
        )
    style = (files("edge_runtime.page") / "style.css").read_text(encoding="utf-8")
    data = msgspec.json.encode(report).decode().replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – {_PRODUCT}</title><style>{style}</style></head><body>"  # noqa: RUF001
        f"<h1>{escape(title)}</h1>{_subtitle(report)}{body}"
        f'<script type="application/json" id="report">{data}</script></body></html>\n'
    )


def _run(report: Mapping[str, Any]) -> str:
    return run_sections(report) + machine_section(report) + _identity(report)


def _subtitle(report: Mapping[str, Any]) -> str:
    inner = report.get("run") or report.get("cameras") or report
    if isinstance(inner, list):
        inner = report
    began = inner.get("started_at") if isinstance(inner, dict) else None
    if not began:
        return ""
    began = str(began).partition(".")[0].replace("T", " ")
    return f'<p class="note">{_PRODUCT}, {escape(began)} UTC</p>'


def _identity(report: Mapping[str, Any]) -> str:
    model, device, source = report["model"], report["device"], report["source"]
    rows = [
        ("model", escape(model["name"])),
        ("backend", escape(model["backend"])),
        ("precision", escape(model["precision"] or "as in the file")),
        ("input", " &times; ".join(map(str, model["input"]))),
        ("ONNX sha256", _code(model["onnx_sha256"])),
        ("engine sha256", _code(model["engine_sha256"])),
        ("calibration sha256", _code(model["calib_sha256"])),
        ("source", _code(source["uri"])),
        ("caps", _code(source["caps"])),
        ("clock", _code(source["timestamp_source"])),
        *((name, escape(str(value))) for name, value in device.items() if value is not None),
        ("warm-up", _warmup(report["warmup"])),
        ("run", _code(report["run_id"])),
    ]  # fmt: skip
    return section("What was run, on what", table((), [row for row in rows if row[1]]))


def _warmup(warmup: Mapping[str, Any]) -> str:
    stable = "stable" if warmup["converged"] else "not stable before the end"
    first = number(warmup["first_ms"], "ms")
    return f"{warmup['frames']} frames, first inference {first}, {stable}"


def _code(text: str | None) -> str:
    return f"<code>{escape(text)}</code>" if text else ""


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
    verdict = "passed" if report["passed"] else "failed"
    mark = {True: '<span class="good">pass</span>', False: '<span class="bad">FAIL</span>'}
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
    colour = "good" if report["passed"] else "bad"
    head = f'<p><b class="{colour}">{verdict}</b> <span class="note">{escape(note)}</span></p>'
    return head + judged + section("Memory over time", _memory(report["samples"])) + inner


def _memory(samples: Mapping[str, Any]) -> str:
    rows = [dict(zip(samples["columns"], row, strict=True)) for row in samples["rows"]]
    if not rows or not {"t_s", "rss_mb"} <= rows[0].keys():
        return ""
    line = Line("resident", [(row["t_s"], row["rss_mb"]) for row in rows], "one")
    chart = TimeChart("Resident memory", "MB", (line,), height=180)
    return figure(time_chart(chart), "", "Resident memory of the process, MB.")
