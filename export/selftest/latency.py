"""Latency by trtexec's definitions, of any backend.

Latency = H2D + GPU compute + D2H of one query; throughput = queries over the wall time of all.
Warm-up 200 ms, then at least 3 s and at least 10 queries. The percentile p of n sorted values is
the element ``max(n - 1 - int((1 - p / 100) * n), 0)``; the coefficient of variation uses the
population deviation.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.bench.figures import UNSTABLE, Summary, summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend

WARMUP_S, DURATION_S, MIN_QUERIES = 0.2, 3.0, 10


@dataclass(frozen=True)
class Latency:
    """Of one model on one backend."""

    backend: str
    queries: int
    warmup_queries: int
    duration_s: float
    throughput_qps: float
    latency_ms: Summary
    h2d_ms: Summary | None
    """Null where the backend has no device of its own, or shares its memory."""
    compute_ms: Summary | None
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
    rows: list[tuple[int, int, int]] = []
    begin = clock()
    while clock() - begin < duration_s or len(rows) < MIN_QUERIES:
        backend.infer(stamps)
        rows.append(
            (
                stamps.h2d_end_ns - stamps.start_ns,
                stamps.infer_end_ns - stamps.h2d_end_ns,
                stamps.d2h_end_ns - stamps.infer_end_ns,
            )
        )
    wall = clock() - begin
    return _described(backend, rows, warmups, wall)


def _described(
    backend: Backend, rows: list[tuple[int, int, int]], warmups: int, wall_s: float
) -> Latency:
    stages = [[row[i] * 1e-6 for row in rows] for i in range(3)]
    total = summarise([sum(row) * 1e-6 for row in rows])
    copies = backend.has_device_copies
    h2d, compute, d2h = (summarise(stage) if copies else None for stage in stages)
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
        throughput_qps=len(rows) / wall_s, latency_ms=total, h2d_ms=h2d, compute_ms=compute,
        d2h_ms=d2h, cuda_graph=getattr(backend, "graph_note", None), warnings=tuple(warnings),
    )  # fmt: skip
