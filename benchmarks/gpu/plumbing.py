"""The edge runtime's CUDA plumbing: both providers of device memory, and the tests marked ``gpu``.

Per provider: copies through page-locked and mapped memory, order on a stream, events read one frame
late, graph capture, what an impossible request says, and whether memory grows over many frames and
many openings.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gpu.account import arguments, conduct
from benchmarks.gpu.host_memory import HostMemory
from edge_runtime.backends.tensorrt.memory import PROVIDERS, open_memory
from edge_runtime.device import rss_mb
from edge_runtime.errors import BackendError, DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.gpu.account import Account
    from edge_runtime.backends.tensorrt.memory import DeviceMemory, HostBuffer

SIZE = 1 << 20
FRAME_BYTES = 480 * 640 * 3
TOO_MUCH = 1 << 50
ROUNDS = 200
GROWTH_MB = 8.0
"""More than this over all iterations counts as a leak."""
TEST_LIMIT_S = 400


def copies(memory: DeviceMemory) -> dict[str, Any]:
    """There and back through page-locked memory."""
    source, target = _buffers(memory, 2)
    device, stream, done = memory.allocate(SIZE), memory.stream(), memory.event()
    source.array[:] = _pattern(1)
    memory.copy_to_device(device, source, stream)
    memory.copy_to_host(target, device, stream)
    _finish(memory, done, stream)
    return {"equal": bool((target.array == source.array).all()), "bytes": SIZE}


def mapped(memory: DeviceMemory) -> dict[str, Any]:
    """The device's address of a mapped buffer shows the same bytes, both ways."""
    shared = memory.pinned(SIZE, mapped=True)
    other, seen = _buffers(memory, 2)
    if shared.device is None:
        raise BackendError("a mapped buffer has no address on the device")
    stream, done = memory.stream(), memory.event()
    shared.array[:] = _pattern(2)
    memory.copy_to_host(seen, shared.device, stream)
    _finish(memory, done, stream)
    read = bool((seen.array == shared.array).all())
    other.array[:] = _pattern(3)
    memory.copy_to_device(shared.device, other, stream)
    _finish(memory, done, stream)
    return {
        "device_reads_host": read,
        "host_sees_device": bool((shared.array == other.array).all()),
    }


def order(memory: DeviceMemory) -> dict[str, Any]:
    """Of two copies to one place the second one stays, every time."""
    first, second, seen = _buffers(memory, 3)
    device, stream, done = memory.allocate(SIZE), memory.stream(), memory.event()
    kept = 0
    for number in range(ROUNDS):
        first.array[:], second.array[:] = number & 255, (number + 1) & 255
        memory.copy_to_device(device, first, stream)
        memory.copy_to_device(device, second, stream)
        memory.copy_to_host(seen, device, stream)
        _finish(memory, done, stream)
        kept += bool((seen.array == second.array).all())
    return {"rounds": ROUNDS, "in_order": kept}


def late_events(memory: DeviceMemory) -> dict[str, Any]:
    """Two sets of events in turn; a frame's are read while the next one is under way."""
    (source,) = _buffers(memory, 1)
    device, stream = memory.allocate(SIZE), memory.stream()
    sets = [(memory.event(), memory.event()) for _ in range(2)]
    times = []
    for number in range(ROUNDS):
        start, end = sets[number % 2]
        memory.record(start, stream)
        memory.copy_to_device(device, source, stream)
        memory.record(end, stream)
        if number:
            times.append(memory.elapsed_ms(*sets[(number - 1) % 2]))
        memory.wait(end)
    return {
        "read": len(times),
        "all_positive": min(times) > 0,
        "median_ms": float(np.median(times)),
    }


def graph(memory: DeviceMemory) -> dict[str, Any]:
    """A captured copy there and back, launched with new contents."""
    source, target = _buffers(memory, 2)
    device, stream, done = memory.allocate(SIZE), memory.stream(), memory.event()

    def enqueue() -> None:
        memory.copy_to_device(device, source, stream)
        memory.copy_to_host(target, device, stream)

    launch = memory.capture(stream, enqueue)
    equal = 0
    for number in range(ROUNDS):
        source.array[:] = number & 255
        launch()
        _finish(memory, done, stream)
        equal += bool((target.array == source.array).all())
    return {"launches": ROUNDS, "equal": equal}


def refusals(memory: DeviceMemory) -> dict[str, Any]:
    """What is said of the impossible, and that all works on behind it."""
    start, end = memory.event(), memory.event()
    said = {
        "out of memory": _refusal(lambda: memory.allocate(TOO_MUCH)),
        "events never recorded": _refusal(lambda: memory.elapsed_ms(start, end)),
    }
    return {"said": said, "works_on": copies(memory)["equal"]}


CHECKS: dict[str, Callable[[DeviceMemory], dict[str, Any]]] = {
    "copies": copies,
    "mapped memory": mapped,
    "stream order": order,
    "events read late": late_events,
    "graph capture": graph,
    "refusals": refusals,
}


def frames(memory: DeviceMemory, count: int, account: Account) -> dict[str, Any]:
    """So many frames there and back; what memory is used before and after."""
    source, target = (memory.pinned(FRAME_BYTES, mapped=False) for _ in range(2))
    device, stream, done = memory.allocate(FRAME_BYTES), memory.stream(), memory.event()
    wrong, before, began = 0, _used(account), time.monotonic()
    first = max(count // 100, 1)
    for number in range(count):
        if number == first:  # what is allocated once is no leak
            before = _used(account)
        source.array[number % FRAME_BYTES] ^= 255
        memory.copy_to_device(device, source, stream)
        memory.copy_to_host(target, device, stream)
        _finish(memory, done, stream)
        if number % 1000 == 0:
            wrong += bool((source.array != target.array).any())
    seconds = time.monotonic() - began
    return {"iterations": count, "wrong": wrong, "seconds": round(seconds, 1),
            **_growth(before, _used(account))}  # fmt: skip


def openings(open_one: Callable[[], DeviceMemory], count: int, account: Account) -> dict[str, Any]:
    """Everything opened, used once and closed, again and again."""
    before: dict[str, float | None] = {}
    for number in range(count + 1):
        with closing(open_one()) as memory:
            copies(memory)
        if number == 0:
            before = _used(account)
    return {"openings": count, **_growth(before, _used(account))}


def measure(options: argparse.Namespace, account: Account) -> None:
    """Every provider that is installed, then the tests."""
    if account.dry:
        _provider("host memory", HostMemory, options, account)
    for name in () if account.dry else PROVIDERS:
        try:
            open_memory(name).close()
        except DependencyError as error:
            account.skip(name, "all checks", str(error))
            continue
        _provider(name, lambda name=name: open_memory(name), options, account)
    account.check_time()
    account.row("tests", "pytest -m gpu", **gpu_tests(account.dry))


def _provider(
    name: str, open_one: Callable[[], DeviceMemory], options: argparse.Namespace, account: Account
) -> None:
    iterations, cycles = (200, 5) if account.dry else (options.iterations, options.openings)
    for title, check in CHECKS.items():
        account.check_time()
        _one(account, name, title, lambda check=check: _opened(open_one, check))  # type: ignore[misc]
    _one(account, name, "openings", lambda: openings(open_one, cycles, account))
    _one(
        account, name, "frames",
        lambda: _opened(open_one, lambda memory: frames(memory, iterations, account)),
    )  # fmt: skip


def _one(account: Account, name: str, title: str, act: Callable[[], dict[str, Any]]) -> None:
    try:
        account.row(name, title, **act())
    except BackendError as error:
        account.skip(name, title, str(error))


def _opened(
    open_one: Callable[[], DeviceMemory], check: Callable[[DeviceMemory], dict[str, Any]]
) -> dict[str, Any]:
    with closing(open_one()) as memory:
        return check(memory)


def gpu_tests(dry: bool) -> dict[str, Any]:
    """The tests marked ``gpu``: counts, and why any was skipped; a dry run collects them."""
    with tempfile.TemporaryDirectory() as aside:
        told = Path(aside) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
        command += ["--collect-only"] if dry else [f"--junitxml={told}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TEST_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return {"exit_code": None, "reason": f"did not end within {TEST_LIMIT_S} s"}
        last = done.stdout.strip().splitlines()[-1:]
        found: dict[str, Any] = {"exit_code": done.returncode, "last_line": " ".join(last)}
        return {**found, **(_outcomes(told) if told.exists() else {})}


def _outcomes(path: Path) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for case in ET.parse(path).iter("testcase"):
        kinds = [child for child in case if child.tag in ("failure", "error", "skipped")]
        counts[kinds[0].tag if kinds else "passed"] += 1
        if kinds:
            message = " ".join((kinds[0].get("message") or "").split())
            reasons[f"{case.get('classname')}::{case.get('name')}"] = message[:500]
    return {"counts": dict(counts), "not_passed": reasons}


def _buffers(memory: DeviceMemory, count: int) -> list[HostBuffer]:
    return [memory.pinned(SIZE, mapped=False) for _ in range(count)]


def _pattern(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8)


def _finish(memory: DeviceMemory, done: Any, stream: int) -> None:
    memory.record(done, stream)
    memory.wait(done)


def _refusal(act: Callable[[], Any]) -> str:
    try:
        act()
    except BackendError as error:
        return str(error)
    return "not refused"


def _used(account: Account) -> dict[str, float | None]:
    """MB of this process, and of the GPU by all programs."""
    used: dict[str, float | None] = {"rss_mb": rss_mb(), "gpu_mb": None}
    if not account.dry:
        import torch

        free, total = torch.cuda.mem_get_info(0)
        used["gpu_mb"] = round((total - free) * 1e-6, 1)
    return used


def _growth(before: dict[str, float | None], after: dict[str, float | None]) -> dict[str, Any]:
    grown = {
        name: round(value - start, 1)
        for name, start in before.items()
        if start is not None and (value := after[name]) is not None
    }
    return {"grown": grown, "leaks": any(value > GROWTH_MB for value in grown.values())}


def main() -> int:
    """Check the plumbing."""
    parser = arguments(__doc__, 9)
    parser.add_argument("--iterations", type=int, default=100_000, help="frames there and back")
    parser.add_argument("--openings", type=int, default=500)
    return conduct("plumbing", parser.parse_args(), measure)


if __name__ == "__main__":
    sys.exit(main())
