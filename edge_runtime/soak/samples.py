"""Samples over a run of any length, in memory that is taken once: watching must not leak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

COLUMNS = (
    "t_s",
    "frames",
    "rss_mb",
    "pss_mb",
    "descriptors",
    "threads",
    "python_blocks",
    "traced_mb",
    "p50_ms",
    "p99_ms",
    "max_ms",
    "dropped",
    "no_signal",
)
"""Seconds since the first result; results so far; the process as `ProcessReading` has it; latency
since the sample before; frames dropped and times without signal so far."""

_WORST = ("p99_ms", "max_ms")
"""Of two samples that become one the greater is kept; of the others the later."""

MOST = 1200


class SampleTable:
    """Rows of `COLUMNS`, at most `MOST` of them: when it is full, every two become one.

    Args:
        interval_s: between rows at first.
        most: rows; an even number.
    """

    def __init__(self, interval_s: float, most: int = MOST) -> None:
        self.interval_s = interval_s
        """Between rows now; it doubles whenever rows are put together."""
        self._rows = np.full((most, len(COLUMNS)), np.nan)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, values: Mapping[str, float | None]) -> None:
        """Append a row; what is absent or None is not a number."""
        if self._n == len(self._rows):
            self._thin()
        row = [values.get(name) for name in COLUMNS]
        self._rows[self._n] = [np.nan if value is None else value for value in row]
        self._n += 1

    def column(self, name: str) -> NDArray[np.float64]:
        """All values of a column, (rows,) float64, a copy."""
        return self._rows[: self._n, COLUMNS.index(name)].copy()

    def as_rows(self) -> list[list[float | None]]:
        """All rows for JSON, to the microsecond and byte; None where there was no value."""
        return [
            [None if np.isnan(value) else round(float(value), 6) for value in row]
            for row in self._rows[: self._n]
        ]

    def _thin(self) -> None:
        first, later = self._rows[0::2], self._rows[1::2].copy()
        for name in _WORST:
            at = COLUMNS.index(name)
            later[:, at] = np.fmax(first[:, at], later[:, at])
        self._n = len(later)
        self._rows[: self._n] = later
        self.interval_s *= 2
