"""The part of a page that tells how one camera ran."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edge_runtime.page.bars import Box, bars, boxes, columns
from edge_runtime.page.charts import Line, Span, TimeChart, legend, time_chart
from edge_runtime.page.machine import sensor_rows, throttling
from edge_runtime.page.markup import duration_text, facts, figure, number, section, table

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOCKS = {
    "sensor": "the sensor's stamp",
    "driver": "the driver's stamp",
    "ntp": "the network camera's clock",
    "arrival": "arrival in this program: what lies before it is not in these figures",
    "file": "the moment a frame was asked for",
}
PERCENTILES = ("p50", "p90", "p95", "p99", "p999")
FAULT_SPANS = ("stall", "lost", "end")


def run_sections(report: Mapping[str, Any]) -> str:
    """Latency, timeline, frames and faults of a latency report."""
    return "".join(
        [
            _facts(report),
            section("Latency over time", _timeline(report)),
            section("Latency by stage", _stages(report)),
            section("Latency distribution", _distribution(report)),
            section("Frames", _frames(report)),
            section("Faults and changes", _faults(report)),
        ]
    )


def _facts(report: Mapping[str, Any]) -> str:
    result, frames = report["latency_ms"]["result"], report["frames"]
    shown = next((name for name in ("p99", "p95", "p90") if result[name] is not None), "max")
    throttled = {None: "not known", True: "yes", False: "no"}[report["throttled"]]
    return facts(
        [
            (number(result["p50"], "ms"), "p50, capture to mask"),
            (number(result[shown], "ms"), f"{'longest' if shown == 'max' else shown} of them"),
            (number(report["fps"]["publish"]), "masks per second"),
            (f"{frames['published']}", f"masks of {frames['captured']} frames"),
            (duration_text(report["duration_s"]), f"run, ended by {report['ended']}"),
            (throttled, "throttled"),
        ]
    )


def _spans(report: Mapping[str, Any]) -> list[Span]:
    """Outages and throttling, on the time axis of the run."""
    history = report.get("history") or {"rows": [], "window_s": 1.0}
    ends = [row[0] + history["window_s"] for row in history["rows"]]
    found = []
    for fault in report["faults"]:
        if fault["kind"] not in FAULT_SPANS:
            continue
        # Told when it was noticed; it began when frames had ceased.
        begin_s = max((end for end in ends if end <= fault["t_s"]), default=fault["t_s"])
        lasted_s = fault["recovered_after_s"]
        end_s = report["duration_s"] if lasted_s is None else begin_s + lasted_s
        says = f"no signal ({fault['kind']}): {fault['reason'] or 'no reason is known'}"
        found.append(Span(begin_s, max(end_s, begin_s), "out", says))
    return found + throttling(sensor_rows(report))


def _timeline(report: Mapping[str, Any]) -> str:
    history = report.get("history")
    if not history or not history["rows"]:
        return ""
    rows = [dict(zip(history["columns"], row, strict=True)) for row in history["rows"]]
    half_s = history["window_s"] / 2

    def points(*names: str) -> list[tuple[float, float | None]]:
        return [
            (row["t_s"] + half_s, next((row[n] for n in names if row[n] is not None), None))
            for row in rows
        ]

    spans = _spans(report)
    chart = TimeChart(
        "Latency from capture to mask over the run",
        "ms",
        (
            Line("longest", points("max_ms"), "max"),
            Line("p95", points("p95_ms"), "p95"),
            Line("median", points("p50_ms", "mean_ms"), "p50"),
        ),
        spans,
        report["duration_s"],
        2.5 * history["window_s"],
    )
    means = any(row["p50_ms"] is None for row in rows)
    keys = [("p50", "median" + (" (mean where frames are few)" if means else ""))]
    keys += [("p95", "95th percentile")] if any(row["p95_ms"] for row in rows) else []
    keys += [("max", "longest")]
    keys += [("out", "no signal")] if any(span.style == "out" for span in spans) else []
    keys += [("hot", "throttled")] if any(span.style == "hot" for span in spans) else []
    note = (
        f"Milliseconds from capture to mask, in windows of {duration_text(history['window_s'])}, "
        "the warm-up included."
    )
    return figure(time_chart(chart), legend(keys), note)


def _stages(report: Mapping[str, Any]) -> str:
    latency = report["latency_ms"]
    named = {name: d for name, d in latency["stages"].items() if d and d["n"]}
    whole = {name: latency[name] for name in ("result", "pipeline", "engine", "age_at_infer")}
    shown = {**named, "result": latency["result"]}
    if not latency["result"]["n"]:
        return ""
    rows = [
        Box(
            name,
            d["min"],
            _first(d, "p50", "mean"),
            _first(d, "p99", "p95", "p90", "max"),
            d["max"],
        )
        for name, d in shown.items()
    ]
    header = ("", "n", "mean", *PERCENTILES, "max")
    body = [
        (name, str(d["n"]), *(number(d[key]) for key in ("mean", *PERCENTILES, "max")))
        for name, d in (whole | named).items()
    ]
    clock = report["source"]["timestamp_source"]
    note = (
        f"Measured from {CLOCKS.get(clock, 'an unknown clock')} (<code>{escape(str(clock))}</code>)"
        ", after the warm-up. A bar goes from the shortest to the 99th percentile, or the highest "
        "that the sample allows; the mark is the median, the line ends at the longest. The stages "
        "up to publish add up to result; percentiles do not."
    )
    figures = table(header, body, numbers=range(1, 9))
    return figure(boxes("Latency by stage", rows), figures, note)


def _first(values: Mapping[str, Any], *names: str) -> float:
    return float(next((values[name] for name in names if values[name] is not None), 0.0))


def _distribution(report: Mapping[str, Any]) -> str:
    history = report.get("history")
    if not history or not history["counts"]:
        return ""
    chart = columns("Frames by latency", history["bins_ms"], history["counts"])
    return figure(chart, "", "Frames by latency from capture to mask, all of the run.")


def _frames(report: Mapping[str, Any]) -> str:
    frames = report["frames"]
    dropped = {name: count for name, count in frames["dropped"].items() if count}
    fates = {name: frames[name] for name in ("captured", "inferred", "published")}
    rows = [(name, float(n), f"{n}") for name, n in fates.items()]
    for name, count in (dropped | {"late": frames["late"]}).items():
        if count:
            share = 100 * count / max(frames["captured"], 1)
            label = name if name == "late" else f"dropped: {name}"
            rows.append((label, float(count), f"{count} ({share:.1f} %)"))
    note = f"Policy <code>{escape(str(report['source']['policy']))}</code>."
    if not dropped:
        note += " Nothing was dropped."
    elif "queue" in dropped:
        note += " Frames dropped in the queue made way for newer ones."
    return figure(bars("Frames by fate", rows), "", note)


def _faults(report: Mapping[str, Any]) -> str:
    rows = [
        (
            number(fault["t_s"], "s"),
            escape(fault["kind"]),
            "not" if (after := fault["recovered_after_s"]) is None else number(after, "s"),
            escape(fault["reason"] or ""),
        )
        for fault in report["faults"][:50]
    ]
    rows += [
        (number(change["t_s"], "s"), f"model {escape(change['event'])}", "",
         escape(f"{change['model']} {change['reason'] or ''}"))
        for change in report["model_changes"]
    ]  # fmt: skip
    if not rows:
        return '<p class="note">None.</p>'
    more = report["faults_total"] - min(len(report["faults"]), 50)
    tail = f'<p class="note">and {more} more</p>' if more > 0 else ""
    return table(("at", "what", "recovered after", "why"), rows, numbers=(0, 2)) + tail
