"""Latency by trtexec's definitions, of any backend.

Latency = H2D + GPU compute + D2H of one query, on the device's own clock (CUDA events) where the
backend reads one, else on the host's; throughput = queries over the wall time of all.
Warm-up 200 ms, then at least 3 s and at least 10 queries. The percentile p of n sorted values is
the element ``max(n - 1 - int((1 - p / 100) * n), 0)``; the coefficient of variation uses the
population deviation.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.backends.tensorrt.stages import DeviceTimes
from edge_runtime.bench.figures import UNSTABLE, Summary, summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.backends.tensorrt.stages import DeviceDurations

    Stages = tuple[float, float, float]
    """H2D, compute and D2H of one query, milliseconds."""

WARMUP_S, DURATION_S, MIN_QUERIES = 0.2, 3.0, 10


@dataclass(frozen=True)
class Latency:
    """Of one model on one backend."""

    backend: str
    queries: int
    warmup_queries: int
    duration_s: float
    throughput_qps: float
    clock: Literal["CUDA events", "host"]
    """Whose time the four below are: the device's as trtexec's, or the host's interval."""
    latency_ms: Summary
    h2d_ms: Summary | None
    """Null where the backend has no device of its own, or shares its memory."""
    compute_ms: Summary | None
    """Null where the backend has no device of its own."""
    d2h_ms: Summary | None
    cuda_graph: str | None
    """``used``, or why not; null without a GPU. trtexec 10 uses none unless asked, 11 does."""
    warnings: tuple[str, ...]


def measure(
    backend: Backend,
    manifest: Manifest,
    *,
    duration_s: float = DURATION_S,
    warmup_s: float = WARMUP_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Run queries one after another on one seeded frame.

    Args:
        backend: entered.
        manifest: of its model.
        duration_s: at least so long.
        warmup_s: run before and thrown away.
        clock: seconds.

    Raises:
        BackendError: the engine failed.
    """
    spec = manifest.inputs[0]
    frame = np.random.default_rng(0).integers(0, 256, spec.shape, np.uint8)
    np.copyto(backend.feeds[spec.name], frame)
    stamps = EngineStamps()
    warmups, begin = 0, clock()
    while clock() - begin < warmup_s or warmups == 0:
        backend.infer(stamps)
        warmups += 1
    times = getattr(backend, "times", None)
    device = times if isinstance(times, DeviceTimes) else None
    rows: list[Stages] = []
    queries, begin = 0, clock()
    while clock() - begin < duration_s or queries < MIN_QUERIES:
        backend.infer(stamps)
        if device is None:
            rows.append(_by_host(stamps))
        elif queries:
            rows.append(_by_device(device.latest))
        queries += 1
    wall = clock() - begin
    if device is not None:
        backend.infer(stamps)  # a device's events are read one query late
        rows.append(_by_device(device.latest))
    return _described(backend, rows, warmups, wall, device)


def _by_host(stamps: EngineStamps) -> Stages:
    return (
        (stamps.h2d_end_ns - stamps.start_ns) * 1e-6,
        (stamps.infer_end_ns - stamps.h2d_end_ns) * 1e-6,
        (stamps.d2h_end_ns - stamps.infer_end_ns) * 1e-6,
    )


def _by_device(durations: DeviceDurations | None) -> Stages:
    assert durations is not None
    return durations.h2d_ms, durations.gpu_ms, durations.d2h_ms


def _described(
    backend: Backend,
    rows: list[Stages],
    warmups: int,
    wall_s: float,
    device: DeviceTimes | None,
) -> Latency:
    copies = backend.has_device_copies
    stages = [[row[i] for row in rows] for i in range(3)]
    # Where nothing is copied two events without work between them are no transfer.
    total = summarise([sum(row) for row in rows] if copies else stages[1])
    h2d, d2h = (summarise(stages[i]) if copies else None for i in (0, 2))
    compute = summarise(stages[1]) if copies or device is not None else None
    warnings = []
    if total.variation > UNSTABLE:
        warnings.append(
            f"latency varies by {100 * total.variation:.1f} %: lock the clocks and close other "
            "programs"
        )
    if h2d and compute and d2h and max(h2d.median, d2h.median) >= compute.median:
        warnings.append("the copies take as long as the network")
    return Latency(
        backend=backend.name, queries=len(rows), warmup_queries=warmups, duration_s=wall_s,
        throughput_qps=len(rows) / wall_s, clock="host" if device is None else "CUDA events",
        latency_ms=total, h2d_ms=h2d, compute_ms=compute,
        d2h_ms=d2h, cuda_graph=getattr(backend, "graph_note", None), warnings=tuple(warnings),
    )  # fmt: skip
