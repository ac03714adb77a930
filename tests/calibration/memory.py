"""How much memory a program needs at most, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def peak(program: str, count: int, repository: Path) -> int:
    """What a program prints of its own greatest need.

    Args:
        program: Python; prints one whole number.
        count: its argument: how many frames it takes.
        repository: where it runs.
    """
    done = subprocess.run(
        [sys.executable, "-c", program, str(count)],
        cwd=repository, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return int(done.stdout)
