"""Peak memory of one model, measured in a process of its own.

Models that are compared share one process, and so would share its peak. Each is therefore opened
once more, alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from edge_runtime.errors import BackendError
from edge_runtime.redact import public_command

INFERENCES = 3
"""Enough: an engine that reuses its memory has all of it after the first."""
LIMIT_S = 300.0
STATUS = Path("/proc/self/status")
ROOT = Path(__file__).resolve().parents[2]
"""Where this package lies."""
_CHILD = """
import sys
sys.path[:] = [place for place in sys.path if place] + [sys.argv[1]]
from edge_runtime.bench.memory import tell
tell(*sys.argv[2:])
"""
"""The user's folder, the empty entry that ``-c`` puts first, may hold a ``json.py`` of theirs.
Python 3.10 has no ``-P`` that would keep it out."""


def model_peak_mb(path: Path, *, threads: int | None = None) -> float:
    """Greatest resident memory of a fresh process that loads a model and runs it, MB (10^6 bytes).

    It holds Python, the engine and its libraries, the model, its buffers and a few inferences, and
    nothing of a camera, a decoder or an output. Memory of a GPU is not in it.

    Args:
        path: the model file, with its manifest beside it.
        threads: CPU threads for one inference; None leaves it to the engine.

    Raises:
        BackendError: the process failed, or this system does not tell.
    """
    given = [str(path.resolve()), *([] if threads is None else [str(threads)])]
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(ROOT), *given],
            capture_output=True, text=True, check=False, timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _unmeasured(path, f"not done after {LIMIT_S:g} s") from error
    except OSError as error:
        raise _unmeasured(path, error.strerror or "the process did not start") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise _unmeasured(path, public_command(last[-1]))
    return float(done.stdout.split()[-1])


def _unmeasured(path: Path, reason: str) -> BackendError:
    return BackendError(f"cannot measure the memory of {path.name}: {reason}")


def tell(path: str, threads: str | None = None) -> None:
    """Load and run a model in this process, and print the greatest memory it has had, in MB."""
    # Imported here: the process that asks has its own.
    from edge_runtime.artifacts import read_manifest
    from edge_runtime.backends.base import EngineStamps, open_backend

    model = Path(path)
    manifest = read_manifest(model)
    stamps = EngineStamps()
    with open_backend(model, manifest, threads=None if threads is None else int(threads)) as engine:
        for _ in range(INFERENCES):
            engine.infer(stamps)
    sys.stdout.write(f"{peak_mb():.1f}\n")


def peak_mb(status: Path = STATUS) -> float:
    """Greatest resident memory of this process so far, in MB (10^6 bytes).

    Args:
        status: as the Linux kernel writes it.

    Raises:
        BackendError: the kernel does not tell.
    """
    text = status.read_text(encoding="utf-8") if status.is_file() else ""
    found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise BackendError("the greatest memory of a process is told by Linux only")
    return int(found[1]) * 1.024e-3
