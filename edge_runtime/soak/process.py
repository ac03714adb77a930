"""What the kernel and the interpreter say of this process."""

from __future__ import annotations

import os
import sys
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DependencyError

_PROC = Path("/proc/self")


@dataclass(frozen=True)
class ProcessReading:
    """One look at the process. MB are 10^6 bytes."""

    rss_mb: float
    """Resident memory."""
    pss_mb: float | None
    """The same with shared pages divided among those who share them; None on old kernels."""
    descriptors: int
    threads: int
    python_blocks: int
    """Pieces of memory that Python objects hold."""
    traced_mb: float | None
    """What `tracemalloc` sees; None unless it is tracing."""


class ProcessReader:
    """Reads this process.

    Args:
        proc: its folder in /proc.

    Raises:
        DependencyError: this system has no /proc.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        if not (proc / "fd").is_dir():
            raise DependencyError(f"a soak reads {proc}, which only Linux has; run it there")
        self._has_rollup = (proc / "smaps_rollup").exists()

    def read(self) -> ProcessReading:
        """How things stand now."""
        rss_mb, pss_mb = self._memory()
        return ProcessReading(
            rss_mb=rss_mb,
            pss_mb=pss_mb,
            descriptors=_count(self._proc / "fd"),
            threads=_count(self._proc / "task"),
            python_blocks=sys.getallocatedblocks(),
            traced_mb=tracemalloc.get_traced_memory()[0] * 1e-6
            if tracemalloc.is_tracing()
            else None,
        )

    def _memory(self) -> tuple[float, float | None]:
        if not self._has_rollup:
            pages = int((self._proc / "statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") * 1e-6, None
        kilobytes = {}
        for line in (self._proc / "smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            kilobytes[name] = int(rest.split()[0])
        return kilobytes["Rss"] * 1.024e-3, kilobytes["Pss"] * 1.024e-3


def _count(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(1 for _ in entries)
