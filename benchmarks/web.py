"""What 200 viewers of the web page cost a run: age of masks with and without them, in one run.

Phases alternate: nobody looks, then all viewers come at once and take every picture they can get.
As many as the page has room for are served; the others are refused and try again and again. They
are a process of their own on the same machine, so what they cost the processor is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paired import report
from edge_runtime import RunOptions, run
from edge_runtime.web.options import WebOptions

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from edge_runtime.result import Result

SETTLE_S = 1.5
"""At the start of each phase, left out."""
RETRY_S = 1.0
REQUEST = b"GET /pair/camera1 HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Account:
    """What the phases came to."""

    ages: dict[str, list[list[float]]] = field(default_factory=lambda: {"none": [], "viewers": []})
    """Milliseconds of every frame, phase by phase."""
    files: dict[str, list[int]] = field(default_factory=lambda: {"none": [], "viewers": []})
    """Open files of the run at the end of each phase."""
    cores: dict[str, list[float]] = field(default_factory=lambda: {"none": [], "viewers": []})
    """Processor time of the run per second, phase by phase; the viewers' own is not in it."""
    served: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)


class Phases:
    """Lets viewers come and go, and notes ages meanwhile."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.account = Account()
        self._options = options
        self._kept: list[float] | None = None
        self._port = 0

    def hear(self, line: str) -> None:
        """Find out where the page is."""
        if line.startswith("page at http"):
            self._port = int(line.split("/")[2].rpartition(":")[2])
            threading.Thread(target=self._direct, daemon=True).start()

    def note(self, result: Result) -> None:
        """Note a frame's age."""
        kept, age_ms = self._kept, result.latency_ms
        if kept is not None and age_ms is not None:
            kept.append(age_ms)

    def _direct(self) -> None:
        time.sleep(self._options.warmup)
        for _ in range(self._options.rounds):
            self._phase("none")
            ours, theirs = multiprocessing.Pipe()
            context = multiprocessing.get_context("spawn")
            crowd = context.Process(target=come, args=(self._port, self._options.viewers, theirs))
            crowd.start()
            ours.recv()
            self._phase("viewers")
            ours.send("leave")
            counts = ours.recv()
            for name, count in counts.items():
                getattr(self.account, name).append(count)
            crowd.join()
            time.sleep(SETTLE_S)

    def _phase(self, name: str) -> None:
        time.sleep(SETTLE_S)
        self._kept = []
        begin_s, begin_cpu_s = time.monotonic(), time.process_time()
        time.sleep(self._options.seconds)
        cpu_s = time.process_time() - begin_cpu_s
        self.account.cores[name].append(round(cpu_s / (time.monotonic() - begin_s), 3))
        self.account.ages[name].append(self._kept)
        self._kept = None
        self.account.files[name].append(len(list(Path("/proc/self/fd").iterdir())))


def come(port: int, viewers: int, pipe: Connection) -> None:
    """Be so many viewers until told to leave."""
    asyncio.run(_crowd(port, viewers, pipe))


async def _crowd(port: int, viewers: int, pipe: Connection) -> None:
    counts = dict.fromkeys(("served", "refused", "pictures"), 0)
    tasks = [asyncio.create_task(_view(port, counts)) for _ in range(viewers)]
    await asyncio.sleep(RETRY_S)
    pipe.send("here")
    await asyncio.to_thread(pipe.recv)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    pipe.send(counts)


async def _view(port: int, counts: dict[str, int]) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            status = await reader.readline()
            if b" 200 " in status:
                counts["served"] += 1
                while chunk := await reader.read(1 << 20):
                    counts["pictures"] += chunk.count(b"X-Index")
            else:
                counts["refused"] += 1
            writer.close()
        except ConnectionError:
            counts["refused"] += 1
        await asyncio.sleep(RETRY_S)


def main() -> None:
    """One run, in alternating phases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="street-edge-n")
    parser.add_argument("--source", default="test:?fps=30")
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=5.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    phases = Phases(options)
    length_s = options.rounds * 2 * (options.seconds + 3 * SETTLE_S)
    run(
        options.model,
        options.source,
        RunOptions(
            policy="latest",
            duration_s=options.warmup + length_s,
            threads=options.threads,
            web=WebOptions("127.0.0.1", 0),
            quiet=True,
        ),
        phases.note,
        phases.hear,
    )
    report(figures(phases.account, options.viewers), options.json)


def figures(account: Account, viewers: int) -> dict[str, Any]:
    """Ages with and without viewers, and what of them was served."""
    whole = {name: np.concatenate(phases) for name, phases in account.ages.items()}
    rounds = [
        float(_percentile(np.array(with_), 90) / _percentile(np.array(without), 90))
        for without, with_ in zip(account.ages["none"], account.ages["viewers"], strict=False)
    ]
    return {
        "viewers": viewers,
        "served": account.served,
        "refused": account.refused,
        "pictures": account.pictures,
        "age_ms": {
            name: {
                "n": len(ages),
                **{f"p{p}": float(_percentile(ages, p)) for p in (50, 90, 99)},
                "max": float(ages.max()),
            }
            for name, ages in whole.items()
        },
        "p99_change": float(_percentile(whole["viewers"], 99) / _percentile(whole["none"], 99)) - 1,
        "p50_change": float(_percentile(whole["viewers"], 50) / _percentile(whole["none"], 50)) - 1,
        "p90_ratio_by_round": rounds,
        "cores": account.cores,
        "open_files": account.files,
    }


def _percentile(values: Any, percent: int) -> Any:
    return np.percentile(values, percent, method="inverted_cdf")


if __name__ == "__main__":
    main()
