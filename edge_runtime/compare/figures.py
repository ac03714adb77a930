"""The figures of reports that two of a kind can be compared by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from edge_runtime.compare.bootstrap import Statistic

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Sample:
    """The values of one figure over the windows of a run."""

    values: NDArray[np.float64]
    statistic: Statistic
    weights: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Figure:
    """One figure of a report."""

    name: str
    value: float | None
    unit: str = "ms"
    better: Better = "lower"
    judged: bool = False
    """Whether it decides on an exit code; the others explain."""
    sample: Sample | None = None
    window_s: float | None = field(default=None)
    """Set where a figure means something else in windows of another length."""


def latency_figures(report: Mapping[str, Any], prefix: str = "") -> Iterator[Figure]:
    """Of the report of a run with one camera, or of one camera's part."""
    latency, frames = report["latency_ms"], report["frames"]
    yield from _over_time(report, prefix)
    for name in ("p50", "p95", "p99", "max"):
        yield Figure(f"{prefix}result {name}", latency["result"][name])
    for name in ("engine", "age_at_infer"):
        yield Figure(f"{prefix}{name} p50", latency[name]["p50"])
        yield Figure(f"{prefix}{name} p99", latency[name]["p99"])
    for name, stage in latency["stages"].items():
        if stage is not None:
            yield Figure(f"{prefix}stage {name} mean", stage["mean"])
    yield Figure(f"{prefix}jitter p99", report["jitter_ms"]["p99"])
    captured = max(frames["captured"], 1)
    lost = sum(count for name, count in frames["dropped"].items() if name != "source_gap")
    yield Figure(f"{prefix}frames dropped", 100 * lost / captured, "%")
    yield Figure(f"{prefix}frames late", 100 * frames["late"] / captured, "%")
    yield Figure(f"{prefix}memory at the end", report["memory_mb"]["rss_end"], "MB")
    yield Figure(f"{prefix}power mean", report["power_w"]["mean"], "W")


def _over_time(report: Mapping[str, Any], prefix: str) -> Iterator[Figure]:
    """What can be tested: figures of windows of time, those of the warm-up left out."""
    history = report.get("history")
    fps = report["fps"]["publish"]
    if not history:
        yield Figure(f"{prefix}result mean", report["latency_ms"]["result"]["mean"], judged=True)
        yield Figure(f"{prefix}masks per second", fps, "1/s", "higher", judged=True)
        return
    rows = _after_warmup(history, report["warmup"]["frames"])
    frames = _column(history, rows, "frames")
    means, longest = _column(history, rows, "mean_ms"), _column(history, rows, "max_ms")
    yield Figure(
        f"{prefix}result mean",
        report["latency_ms"]["result"]["mean"],
        judged=True,
        sample=Sample(means, "mean", frames),
    )
    window_s = history["window_s"]
    yield Figure(
        f"{prefix}longest per {window_s:g} s",
        float(np.median(longest)) if len(longest) else None,
        judged=True,
        sample=Sample(longest, "median"),
        window_s=window_s,
    )
    yield Figure(
        f"{prefix}masks per second",
        fps,
        "1/s",
        "higher",
        judged=True,
        sample=Sample(_rates(history, rows), "mean"),
    )


def _after_warmup(history: Mapping[str, Any], warmup_frames: int) -> list[list[float]]:
    place, seen, rows = history["columns"].index("frames"), 0, []
    for row in history["rows"]:
        if seen >= warmup_frames:
            rows.append(row)
        seen += row[place]
    # A run too short to warm up still has figures, and its report all but the first frame.
    return rows or history["rows"][1:]


def _column(history: Mapping[str, Any], rows: list[list[float]], name: str) -> NDArray[np.float64]:
    place = history["columns"].index(name)
    return np.array([row[place] for row in rows], np.float64)


def _rates(history: Mapping[str, Any], rows: list[list[float]]) -> NDArray[np.float64]:
    """Frames per second of each window but the last, which is not whole; outages are zeros."""
    times, frames = _column(history, rows, "t_s"), _column(history, rows, "frames")
    if len(times) < 2:
        return np.zeros(0)
    places = np.rint((times - times[0]) / history["window_s"]).astype(int)
    counts = np.zeros(places[-1] + 1)
    counts[places] = frames
    rates: NDArray[np.float64] = counts[:-1] / history["window_s"]
    return rates


def bench_figures(report: Mapping[str, Any]) -> Iterator[Figure]:
    """Of a bench, by the label of each model."""
    for model in report["models"]:
        prefix = f"{model['label']}: " if len(report["models"]) > 1 else ""
        metrics = model["metrics_ms"]
        curve = np.array([window["p50_ms"] for window in model["curve"]], np.float64)
        yield Figure(
            f"{prefix}wall median",
            metrics["wall"]["median"],
            judged=True,
            sample=Sample(curve, "median") if len(curve) else None,
        )
        yield Figure(f"{prefix}throughput", model["throughput_qps"], "1/s", "higher", judged=True)
        for name, summary in metrics.items():
            if summary is not None:
                yield Figure(f"{prefix}{name} mean", summary["mean"])
                yield Figure(f"{prefix}{name} p99", summary["percentiles"]["p99"])
        agreement = model["masks"]["agreement"]
        yield Figure(f"{prefix}pixels as in the first model", _percent(agreement), "%", "higher")


def eval_figures(report: Mapping[str, Any]) -> Iterator[Figure]:
    """Of an evaluation."""
    yield Figure("mIoU", _percent(report["miou"]), "%", "higher", judged=True)
    for name in ("accuracy", "mean_accuracy", "frequency_weighted"):
        yield Figure(name.replace("_", " "), _percent(report.get(name)), "%", "higher")
    for name, iou in report["iou"].items():
        yield Figure(f"IoU {name}", _percent(iou), "%", "higher")


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
