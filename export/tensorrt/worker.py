"""The child process of a build: ``python -m export.tensorrt.worker JOB.json``.

A builder may crash, use up the memory, or run for an hour without looking at Ctrl-C. Here it can be
killed; the parent (`export.tensorrt.build`) turns whatever happens into one line.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge_runtime.errors import HypersegError
from export.tensorrt.adapter import Refusal, Session
from export.tensorrt.plan import BuildPlan

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Job:
    """What the parent asks for."""

    plan: BuildPlan
    engine: str | None
    """Where to write the plan file; null only parses."""
    parent: int
    """Process id of the parent."""


@dataclass
class Result:
    """What became of it, written as JSON beside the job."""

    refusals: list[Refusal] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)
    """Severity and text, each once, in the order they came."""
    layers: dict[str, int] = field(default_factory=dict)
    """Weighted layers by precision, as the parsed network types them."""
    inspector: str | None = None
    """The engine's own account; null where it does not load for want of a GPU."""
    parse_s: float = 0.0
    build_s: float | None = None
    engine_bytes: int | None = None
    dla_cores: int = 0
    failure: str | None = None


def result_path(job: Path) -> Path:
    """Where the result of a job goes."""
    return job.with_name("result.json")


def run(job: Job) -> Result:
    """Parse, and build if a place for the engine is given."""
    result = Result()

    def log(severity: str, text: str) -> None:
        entry = (severity, " ".join(text.split()))
        if entry not in result.messages:
            result.messages.append(entry)

    try:
        _work(job, result, log)
    except HypersegError as error:
        result.failure = str(error)
    except MemoryError:
        result.failure = "out of memory; give a smaller --workspace or close other programs"
    except OSError as error:
        result.failure = f"cannot write {error.filename}: {error.strerror}"
    return result


def _work(job: Job, result: Result, log: object) -> None:
    session = Session(job.plan.runtime, log)  # type: ignore[arg-type]
    result.dla_cores = session.dla_cores
    start = time.perf_counter()
    result.refusals = session.parse(job.plan)
    result.parse_s = time.perf_counter() - start
    if result.refusals:
        return
    result.layers = session.layer_precisions()
    if job.engine is None:
        return
    start = time.perf_counter()
    blob = session.build(job.plan)
    result.build_s = time.perf_counter() - start
    result.engine_bytes = len(blob)
    Path(job.engine).write_bytes(blob)
    # Without a GPU the attempt to load fails and logs it; that is no fault of the build.
    built = list(result.messages)
    result.inspector = session.inspect(blob, job.plan)
    if result.inspector is None:
        result.messages = built


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent process is gone")


def main() -> int:
    """Read the job, do it, write the result."""
    place = Path(sys.argv[1])
    job = msgspec.json.decode(place.read_bytes(), type=Job)
    _die_with(job.parent)
    result_path(place).write_bytes(msgspec.json.encode(run(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
