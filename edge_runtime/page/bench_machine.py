"""The parts of a bench's page that tell what was measured, on what machine, and how that was."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge_runtime.page.charts import Span
from edge_runtime.page.machine import (
    device_rows,
    not_measured,
    sensor_charts,
    sensor_rows,
    throttling,
)
from edge_runtime.page.markup import code, details, pairs

if TYPE_CHECKING:
    from collections.abc import Mapping


def throttled(report: Mapping[str, Any]) -> list[Span]:
    """Windows in which the sensors told of throttling; without a curve, by their counts."""
    curve = report["models"][0]["curve"]
    ends = [0.0, *(window["t_s"] for window in curve)]
    found = [
        Span(begin, end, "hot", f"throttled: {', '.join(window['throttling'])}")
        for (begin, end), window in zip(pairwise(ends), curve, strict=True)
        if window["throttling"]
    ]
    return found or throttling(sensor_rows(report))


def machine_part(report: Mapping[str, Any]) -> str:
    """Sensors over the measurement, and the machine before it."""
    conditions = report["conditions"]
    charts, missing = sensor_charts(sensor_rows(report), report["seconds"], throttled(report))
    governors = ", ".join(f"{name} ({n})" for name, n in conditions["governors"].items())
    boost = {None: "", True: "yes", False: "no"}[conditions["boost"]]
    rows = [
        *device_rows(report["device"]),
        ("cores", str(conditions["cores"])),
        ("load before", "" if conditions["load"] is None else f"{conditions['load']:.1f}"),
        ("governor", escape(governors) or "not told by this kernel"),
        ("boost", boost),
    ]
    note = not_measured(missing).strip()
    return charts + (f'<p class="note">{note}</p>' if note else "") + pairs(rows)


def identity_part(report: Mapping[str, Any]) -> str:
    """The files, the pictures, the command, and what the figures are."""
    parts = []
    for figures in report["models"]:
        found = figures["identity"]
        threads, tuning = found["threads"], found["tuning"]
        rows = [
            ("file", code(found["file"])),
            ("sha256", code(found["sha256"])),
            ("name", escape(found["name"])),
            ("kind", escape(found["kind"])),
            ("backend", escape(found["backend"])),
            ("input", " &times; ".join(map(str, found["input"]))),
            ("threads", "" if threads is None else str(threads)),
            ("tuned", escape(", ".join(f"{k} {v}" for k, v in (tuning or {}).items()))),
            ("CUDA graph", escape(found["cuda_graph"] or "")),
        ]  # fmt: skip
        parts.append(f"<h3>{escape(figures['label'])}</h3>{pairs(rows)}")
    common = [
        ("pictures", f"{report['frames']} of {escape(report['pictures'])}"),
        ("command", code(report["created_by"]["command"])),
        ("version", escape(report["created_by"]["version"])),
        ("clock", escape(report["clock"])),
        ("warm-up", escape(report["warmup_criterion"])),
    ]
    words = pairs([(escape(name), escape(says)) for name, says in report["definitions"].items()])
    return "".join(parts) + f"<h3>Measurement</h3>{pairs(common)}" + details("Definitions", words)
