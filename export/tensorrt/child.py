"""Running the builder in a child process, and saying in one line how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.errors import BackendError, DependencyError
from export.tensorrt.worker import Job, Result, result_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from export.tensorrt.plan import BuildPlan

ROOT = Path(__file__).resolve().parents[2]
LOG = "log.txt"


def run_child(
    plan: BuildPlan,
    folder: Path,
    engine: Path | None = None,
    started: Callable[[int], None] = lambda _: None,
) -> Result:
    """Parse the plan's graph, and build it if `engine` is given.

    Ctrl-C ends the child at once and is raised here. The child never outlives this process.

    Args:
        plan: what to build.
        folder: an existing folder for the job's files.
        engine: where the child writes the plan file.
        started: called with the child's process id.

    Raises:
        BackendError: the builder crashed, was killed, or failed; nothing usable was written.
        DependencyError: the runtime's package is missing or broken.
    """
    job = folder / "job.json"
    order = Job(plan, None if engine is None else str(engine), os.getpid())
    job.write_bytes(msgspec.json.encode(order))
    with (folder / LOG).open("wb") as log:
        # A session of its own: the terminal's Ctrl-C reaches us only, and we end the child.
        process = subprocess.Popen(
            [sys.executable, "-m", "export.tensorrt.worker", str(job)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, env=_environment(),
        )  # fmt: skip
        try:
            started(process.pid)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
    if code != 0:
        raise BackendError(_obituary(plan, code, folder / LOG))
    result = msgspec.json.decode(result_path(job).read_bytes(), type=Result)
    if result.failure is not None:
        raise BackendError(_why(result))
    return result


def probe_dla_cores(runtime: str) -> int:
    """Deep-learning accelerators as a builder sees them, asked in a process of its own.

    Creating a builder takes the GPU; it must not happen where the network may run later.
    """
    code = f"from export.tensorrt.adapter import dla_cores; print(dla_cores({runtime!r}))"
    with tempfile.TemporaryFile() as noise:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE, stderr=noise, env=_environment(), check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise DependencyError(
            f"{runtime} makes no builder here (exit code {done.returncode}): is the GPU driver "
            "installed, and does it fit this version?"
        )
    return int(done.stdout.split()[-1])


def _environment() -> dict[str, str]:
    # The stages may be run from a checkout that is not installed.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def _why(result: Result) -> str:
    """The failure with the first error that TensorRT logged."""
    logged = [text for severity, text in result.messages if severity != "WARNING"]
    if not logged:
        return str(result.failure)
    hint = _hint(" ".join(logged))
    return f"{result.failure}: {logged[0]}{hint}"


def _hint(text: str) -> str:
    lowered = text.lower()
    if "out of memory" in lowered or "outofmemory" in lowered or "bad_alloc" in lowered:
        return "; give a smaller --workspace, close other programs, or add swap"
    return ""


def _obituary(plan: BuildPlan, code: int, log: Path) -> str:
    here = f"the {plan.runtime} {plan.version} builder"
    last = log.read_text(errors="replace").strip().rpartition("\n")[2]
    said = f"; its last words: {last}" if last else ""
    if code == -signal.SIGKILL:
        return (
            f"{here} was killed: most often the system ran out of memory; give a smaller "
            f"--workspace, close other programs, or add swap; nothing was written{said}"
        )
    if code < 0:
        return f"{here} crashed ({signal.strsignal(-code)}); nothing was written{said}"
    hint = _hint(last)
    return f"{here} ended with exit code {code}{hint}; nothing was written{said}"
