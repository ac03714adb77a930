"""Judges the samples of a soak. Pure: the same samples always get the same verdict.

The first tenth of a run, ten minutes at most, is its warm-up and is not judged: pools of memory
fill, caches and threads come to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_runtime.soak.latencies import new_counts, quantile_ms
from edge_runtime.soak.report import Criterion, Length
from edge_runtime.soak.trend import theil_sen, thirds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.report import Frames
    from edge_runtime.soak.latencies import Counts, Part
    from edge_runtime.soak.options import Limits
    from edge_runtime.soak.samples import SampleTable

WARM_UP_SHARE = 0.1
WARM_UP_LONGEST_S = 600.0

FEWEST_SAMPLES = 9
FEWEST_FRAMES = 1000
"""In a third of the run: ten of them are above its 99th percentile."""


def measure_length(table: SampleTable, frames_per_hour: float | None) -> Length:
    """How long the run was, and how much of it is judged.

    Args:
        table: its samples.
        frames_per_hour: by which an accelerated run counts its hours; None goes by the clock.
    """
    time_s, frames = table.column("t_s"), table.column("frames")
    if len(table) == 0:
        return Length(0.0, 0, 0.0, "clock", 0.0)
    warm_up_s = min(WARM_UP_SHARE * float(time_s[-1]), WARM_UP_LONGEST_S)
    judged = time_s >= warm_up_s
    hours = _hours(time_s, frames, frames_per_hour)[judged]
    return Length(
        seconds=float(time_s[-1]),
        frames=int(frames[-1]),
        hours=float(hours[-1] - hours[0]),
        hours_are="clock" if frames_per_hour is None else "frames at 30 a second",
        warm_up_s=warm_up_s,
    )


def judge_memory(table: SampleTable, frames_per_hour: float | None, limits: Limits) -> Criterion:
    """Whether resident memory grows: by the median slope between all pairs of samples.

    A run of less than an hour is judged by its whole growth, against what an hour may bring: to
    multiply it would multiply the noise.
    """
    length = measure_length(table, frames_per_hour)
    time_s = table.column("t_s")
    judged = time_s >= length.warm_up_s
    if judged.sum() < FEWEST_SAMPLES or length.hours <= 0:
        return _too_short("memory", f"{int(judged.sum())} samples", f"{FEWEST_SAMPLES} samples")
    hours = _hours(time_s, table.column("frames"), frames_per_hour)[judged]
    slope = theil_sen(hours, table.column("rss_mb")[judged])
    per = max(length.hours, 1.0)
    value = slope * length.hours / per
    span = f"{length.hours:.2f} h" + ("" if frames_per_hour is None else "-equivalents")
    return Criterion(
        "memory",
        value < limits.growth_mb_per_hour,
        f"memory grew by {slope * length.hours:+.2f} MB in {span}, {value:+.2f} MB per hour or "
        f"whole run if shorter; limit {limits.growth_mb_per_hour:g}",
        value,
        limits.growth_mb_per_hour,
    )


def judge_count(
    table: SampleTable, name: Literal["descriptors", "threads"], warm_up_s: float
) -> Criterion:
    """Whether there are no more of them in the last third than in the first, by their medians."""
    judged = table.column("t_s") >= warm_up_s
    if judged.sum() < FEWEST_SAMPLES:
        return _too_short(name, f"{int(judged.sum())} samples", f"{FEWEST_SAMPLES} samples")
    first, last = thirds(table.column(name)[judged])
    before, after = float(np.median(first)), float(np.median(last))
    what = "open file descriptors" if name == "descriptors" else name
    return Criterion(
        name,
        after <= before,
        f"{what}: {before:g} in the first third, {after:g} in the last",
        after - before,
        0.0,
    )


def judge_latency(
    cameras: Mapping[str, Sequence[Part]], warm_up_s: float, limits: Limits
) -> Criterion:
    """Whether the 99th percentile from capture to publication rose, by the worst of the cameras."""
    worst: tuple[float, str] | None = None
    for name, parts in cameras.items():
        judged = [part for part in parts if part.begin_s >= warm_up_s]
        first, last = _outer_thirds(judged)
        if min(first.sum(), last.sum()) < FEWEST_FRAMES:
            frames = sum(part.frames for part in judged)
            return _too_short("latency", f"{frames} frames{_of(name)}", f"{4 * FEWEST_FRAMES}")
        before, after = quantile_ms(first, 0.99), quantile_ms(last, 0.99)
        assert before is not None
        assert after is not None
        drift = after / before - 1
        says = (
            f"p99 latency{_of(name)} went from {before:.2f} to {after:.2f} ms ({drift:+.1%}); "
            f"limit {limits.p99_drift:+.0%}"
        )
        if worst is None or drift > worst[0]:
            worst = drift, says
    if worst is None:
        return _too_short("latency", "no frame", f"{4 * FEWEST_FRAMES}")
    return Criterion("latency", worst[0] < limits.p99_drift, worst[1], worst[0], limits.p99_drift)


def judge_frames(cameras: Mapping[str, Frames]) -> Criterion:
    """Whether every frame of every camera has a fate, by the identities of `Frames`."""
    lost = {}
    for name, frames in cameras.items():
        dropped = frames.dropped
        before = dropped.queue + dropped.stale + dropped.damaged + dropped.repeated + dropped.outage
        missing = abs(frames.captured - frames.inferred - frames.in_flight - before)
        missing += abs(frames.inferred - frames.published - dropped.sink)
        if missing:
            lost[name] = missing
    if not cameras:
        return Criterion("frames", passed=False, says="no account of frames: the run failed")
    if lost:
        told = ", ".join(f"{count}{_of(name)}" for name, count in lost.items())
        return Criterion("frames", passed=False, says=f"frames without a fate: {told}")
    captured = sum(frames.captured for frames in cameras.values())
    return Criterion("frames", passed=True, says=f"all {captured} frames have a fate")


def _outer_thirds(parts: Sequence[Part]) -> tuple[Counts, Counts]:
    length = len(parts) // 3
    return _sum(parts[:length]), _sum(parts[len(parts) - length :])


def _sum(parts: Sequence[Part]) -> Counts:
    total = new_counts()
    for part in parts:
        total += part.counts
    return total


def _hours(
    time_s: NDArray[np.float64], frames: NDArray[np.float64], frames_per_hour: float | None
) -> NDArray[np.float64]:
    return time_s / 3600 if frames_per_hour is None else frames / frames_per_hour


def _of(camera: str) -> str:
    return f" of {camera}" if camera else ""


def _too_short(
    name: Literal["memory", "descriptors", "threads", "latency"], found: str, expected: str
) -> Criterion:
    return Criterion(
        name,
        passed=False,
        says=f"{name} cannot be judged: {found} after the warm-up, expected {expected} at least",
    )
