"""Timing on a GPU: events around every call, compiled calls, CUDA graphs, number formats.

On the CPU, in a dry run, the same calls are made and no time means anything.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch._functorch.config

from edge_runtime.bench.figures import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

Precision = Literal["fp32", "tf32", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16")
AT_ONCE = 25
"""Calls that are queued before the device is waited for."""
FEWEST = 10
"""Calls that are made however slow they are."""


@dataclass(frozen=True)
class Effort:
    """How often a call is measured."""

    runs: int = 200
    warmup: int = 20
    limit_s: float = 8.0
    """Fewer runs than asked for, but at least `FEWEST`, if they take longer; the count is kept."""


DRY_EFFORT = Effort(runs=1, warmup=0)


def device_ms(call: Callable[[], Any], device: torch.device, effort: Effort) -> dict[str, Any]:
    """Time on the device from one event before a call to one behind it, summed up over the runs.

    Calls follow each other without waiting; where the host is slower than the device, gaps
    between the kernels of a call count as the call's, as they do in use.
    """
    runs = _warm_up(call, device, effort)
    if device.type != "cuda":
        return _summed([_host_ms(call, device) for _ in range(runs)])
    times: list[float] = []
    while len(times) < runs:
        pairs = []
        for _ in range(min(AT_ONCE, runs - len(times))):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            pairs.append((start, end))
        torch.cuda.synchronize(device)
        times += [start.elapsed_time(end) for start, end in pairs]
    return _summed(times)


def host_ms(call: Callable[[], Any], device: torch.device, effort: Effort) -> dict[str, Any]:
    """Wall time of a call and of waiting for the device, one call at a time."""
    runs = _warm_up(call, device, effort)
    return _summed([_host_ms(call, device) for _ in range(runs)])


def _warm_up(call: Callable[[], Any], device: torch.device, effort: Effort) -> int:
    """Run it a few times; returns how many measured runs there is time for."""
    latest = 0.0
    began = time.monotonic()
    for _ in range(effort.warmup):
        latest = _host_ms(call, device)
        if time.monotonic() - began > effort.limit_s / 4:
            break
    if latest == 0:
        return effort.runs
    possible = int(effort.limit_s * 1e3 / latest)
    return min(effort.runs, max(FEWEST, possible))


def _host_ms(call: Callable[[], Any], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    _wait(device)
    return (time.perf_counter() - start) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _summed(times: list[float]) -> dict[str, Any]:
    found = summarise(times)
    return {
        "runs": len(times), "median_ms": round(found.median, 5),
        "p99_ms": round(found.percentiles["p99"], 5), "min_ms": round(found.min, 5),
        "mean_ms": round(found.mean, 5),
    }  # fmt: skip


@contextmanager
def numerics(precision: Precision) -> Iterator[torch.dtype]:
    """Allow TF32 for `tf32` only; gives the type of weights and maps."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    allowed = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield torch.float16 if precision == "fp16" else torch.float32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def compiled(call: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The call compiled whole; on the CPU only as far as the graphs of both passes, not to code."""
    torch.compiler.reset()
    # A measured backward pass is run again and again, which reused buffers would not survive.
    torch._functorch.config.donated_buffer = False
    backend = "inductor" if device.type == "cuda" else "aot_eager"
    made: Callable[..., Any] = torch.compile(call, fullgraph=True, backend=backend)
    return made


def as_graph(
    call: Callable[[Tensor], Tensor], example: Tensor
) -> tuple[Callable[[], None], Tensor, Tensor]:
    """A call as one CUDA graph.

    Args:
        call: allocates nothing on the host and waits for nothing.
        example: its input, on the GPU.

    Returns:
        (what launches the graph, the input it reads, the output it writes)
    """
    source = example.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # what is chosen or allocated once must not be captured
        for _ in range(3):
            call(source)
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        target = call(source)
    return graph.replay, source, target
