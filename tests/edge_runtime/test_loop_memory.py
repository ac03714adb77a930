"""Memory stays flat however long the loop runs."""

import gc
import tracemalloc

import pytest

from edge_runtime.loop import LoopOptions
from edge_runtime.policy import LATEST
from edge_runtime.runner import execute
from tests.scripted import FakeClock, ScriptedBackend, ScriptedSource

FRAMES = 20_000
SETTLED = 3_000
"""By then the warm-up is over and the live window is full."""


@pytest.mark.slow
def test_memory_is_flat_over_twenty_thousand_frames():
    # given latencies that vary, so that the sketches see a range of values
    clock = FakeClock()
    backend = ScriptedBackend(clock, infer_ms=[5.0 + number % 7 for number in range(500)])
    source = ScriptedSource(clock, count=FRAMES)
    sizes = {}

    def watch(result):
        if result.index in (SETTLED, FRAMES - 1):
            gc.collect()
            sizes[result.index], _ = tracemalloc.get_traced_memory()

    tracemalloc.start()
    try:
        with backend:
            outcome = execute(
                backend,
                source,
                backend.manifest,
                LoopOptions(policy=LATEST, clock=clock, on_result=watch),
            )
    finally:
        tracemalloc.stop()

    assert outcome.report.frames.published == FRAMES
    grown = sizes[FRAMES - 1] - sizes[SETTLED]
    assert grown < 64_000, f"{grown} bytes more after {FRAMES - SETTLED} frames"
