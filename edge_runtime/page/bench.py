"""The page of a bench: how fast each model is, against the others, over time, and on what."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edge_runtime.page.bars import Box, Interval, boxes, columns, intervals
from edge_runtime.page.bench_machine import identity_part, machine_part, throttled
from edge_runtime.page.charts import Line, TimeChart, legend, time_chart
from edge_runtime.page.markup import (
    code,
    duration_text,
    facts,
    figure,
    listed,
    number,
    section,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Figures = Mapping[str, Any]

PERCENTILES = ("p90", "p95", "p99")
SHOWN_FACTS = 4
"""Models whose speed stands in large figures on top."""


def bench_title(report: Mapping[str, Any]) -> str:
    """What was measured."""
    labels = [figures["label"] for figures in report["models"]]
    return f"How fast {labels[0]} is" if len(labels) == 1 else f"{len(labels)} models side by side"


def bench_sections(report: Mapping[str, Any]) -> str:
    """Everything below the title."""
    models = report["models"]
    return "".join(
        [
            _facts(report),
            section("What speaks against the figures", listed(report["warnings"], "warn")),
            section("Side by side", _side_by_side(models)),
            section("Latency distribution", _distributions(models)),
            section("Over time", _curves(report)),
            section("Where the time goes", _metrics(models)),
            section("Masks", _masks(models)),
            section("Machine", machine_part(report)),
            section("What was measured, on what", identity_part(report)),
        ]
    )


def _facts(report: Mapping[str, Any]) -> str:
    models = report["models"]
    several = len(models) > 1
    shown = []
    for figures in models[:SHOWN_FACTS]:
        latency, of = figures["metrics_ms"]["latency"], ""
        if several:
            of = f", {escape(figures['label'])}"
        shown.append((number(latency["median"], "ms"), f"median latency{of}"))
        if not several:
            shown.append((number(latency["percentiles"]["p99"], "ms"), "p99 of them"))
            shown.append((number(figures["throughput_qps"]), "queries per second"))
    events = report["telemetry"]["throttle_events"]
    throttled = "not known" if events is None else "yes" if any(events.values()) else "no"
    mode = report["device"]["power_mode"]
    shown += [
        (duration_text(report["seconds"]), f"measured, {escape(report['ended'])}"),
        (throttled, "throttled"),
        *([(escape(mode), "power mode")] if mode else []),
    ]
    return facts(shown)


def _side_by_side(models: Sequence[Figures]) -> str:
    if len(models) == 1:
        return ""
    header = ("", "precision", "median, ms", "p99, ms", "queries/s", "ratio", "95 % interval")
    rows = []
    for figures in models:
        latency, ratio = figures["metrics_ms"]["latency"], figures["ratio"]
        rows.append(
            (
                escape(figures["label"]),
                escape(figures["identity"]["precision"]),
                number(latency["median"]),
                number(latency["percentiles"]["p99"]),
                number(figures["throughput_qps"]),
                "1" if ratio is None else f"{ratio['median']:.3f}",
                "" if ratio is None else _interval(ratio),
            )
        )
    found = table(header, rows, numbers=range(2, 7))
    compared = [(figures["label"], figures["ratio"]) for figures in models if figures["ratio"]]
    chart = intervals(
        f"Time by that of {models[0]['label']}",
        [Interval(label, r["median"], r["low"], r["high"]) for label, r in compared],
    )
    note = (
        f"Time by that of {escape(models[0]['label'])}, the line: left of it is faster. The dot is "
        f"the median over {compared[0][1]['rounds']} rounds in which all models ran, the bar its "
        "95 % interval, by a moving-block bootstrap."
    )
    return found + figure(chart, "", note)


def _interval(ratio: Mapping[str, Any]) -> str:
    if ratio["low"] is None:
        return "too few rounds"
    same = ", no difference" if ratio["low"] <= 1 <= ratio["high"] else ""
    return f"{ratio['low']:.3f} to {ratio['high']:.3f}{same}"


def _distributions(models: Sequence[Figures]) -> str:
    found = [(one["label"], one["distribution"]) for one in models if one.get("distribution")]
    if not found:
        return ""
    ratio = found[0][1]["bin_ratio"]
    span = (
        min(one["bins_ms"][0] for _, one in found) / ratio,
        max(one["bins_ms"][-1] for _, one in found),
    )
    charts = [
        (f"<h3>{escape(label)}</h3>" if len(models) > 1 else "")
        + figure(
            columns(
                f"Queries of {label} by latency", one["bins_ms"], one["counts"],
                what="queries", ratio=ratio, span=span,
            ),
            "", "",
        )
        for label, one in found
    ]  # fmt: skip
    rows = [_box(one["label"], one["metrics_ms"]["latency"]) for one in models]
    together = boxes("Latency by model", rows) if len(rows) > 1 else ""
    note = (
        f"Counted queries by latency, in bins {100 * (ratio - 1):.0f} % wide, on a logarithmic "
        "axis that is the same for all models."
    )
    words = (
        "A bar goes from the shortest to the 99th percentile; the mark is the median, the line "
        "ends at the longest."
    )
    return f'{"".join(charts)}<p class="note">{note}</p>' + (
        figure(together, "", words) if together else ""
    )


def _box(name: str, found: Mapping[str, Any]) -> Box:
    return Box(name, found["min"], found["median"], found["percentiles"]["p99"], found["max"])


def _curves(report: Mapping[str, Any]) -> str:
    models = [figures for figures in report["models"] if figures["curve"]]
    if not models:
        return ""
    spans = throttled(report)
    parts = []
    for figures in models:
        curve = figures["curve"]
        chart = TimeChart(
            f"Wall time of {figures['label']} over the measurement",
            "ms",
            [
                Line(name, [(window["t_s"], window[key]) for window in curve], style)
                for name, key, style in (
                    ("longest", "max_ms", "max"),
                    ("99th percentile", "p99_ms", "p95"),
                    ("median", "p50_ms", "p50"),
                )
            ],
            spans,
            report["seconds"],
        )
        drift = figures["drift"]
        said = "" if drift is None else f"Last quarter over the first: {drift:.3f}."
        parts.append(f"<h3>{escape(figures['label'])}</h3>" + figure(time_chart(chart), "", said))
    keys = [("p50", "median"), ("p95", "99th percentile"), ("max", "longest")]
    keys += [("hot", "throttled")] if spans else []
    note = '<p class="note">Wall time of a query in windows of time, milliseconds.</p>'
    return "".join(parts) + legend(keys) + note


def _metrics(models: Sequence[Figures]) -> str:
    parts = []
    for figures in models:
        measured = {name: found for name, found in figures["metrics_ms"].items() if found}
        # On a CPU compute and wall are the latency itself.
        shown = {
            name: found
            for name, found in measured.items()
            if name == "latency" or found != measured["latency"]
        }
        header = ("ms", "mean", "median", *PERCENTILES, "min", "max", "variation")
        rows = [
            (
                escape(name),
                *(number(found[key]) for key in ("mean", "median")),
                *(number(found["percentiles"][key]) for key in PERCENTILES),
                *(number(found[key]) for key in ("min", "max")),
                f"{100 * found['variation']:.1f} %",
            )
            for name, found in shown.items()
        ]
        warm = figures["warmup"]
        stable = {None: "", True: ", stable", False: ", not stable"}[warm["stable"]]
        note = (
            f"{figures['queries']} queries after {warm['queries']} of warm-up{stable}; the very "
            f"first took {number(warm['first_ms'], 'ms')}, loading "
            f"{number(figures['load_ms'], 'ms')}.{_unmeasured(figures)}"
        )
        parts.append(
            f"<h3>{escape(figures['label'])}</h3>{table(header, rows, numbers=range(1, 9))}"
            f'<p class="note">{note}</p>'
        )
    return "".join(parts)


def _unmeasured(figures: Figures) -> str:
    reasons: dict[str, list[str]] = {}
    for name, reason in figures["not_measured"].items():
        reasons.setdefault(reason, []).append(name)
    return "".join(
        f" Not measured: {escape(', '.join(names))} ({escape(reason)})."
        for reason, names in reasons.items()
    )


def _masks(models: Sequence[Figures]) -> str:
    header = ("", "hash of the masks", "same after", "classes", "like the first model's")
    rows = []
    for figures in models:
        masks = figures["masks"]
        alike = masks["agreement"]
        unlike = "" if figures is models[0] else "not compared: other classes or size"
        rows.append(
            (
                escape(figures["label"]),
                code(masks["hash"][:16]),
                "yes" if masks["unchanged"] else '<span class="bad">NO</span>',
                str(masks["classes"]),
                unlike if alike is None else f"{100 * alike:.2f} %",
            )
        )
    return table(header, rows, numbers=(3, 4))
