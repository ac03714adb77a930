"""The log of a run, one JSON object a line, and its speed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import write_text_atomic

if TYPE_CHECKING:
    from pathlib import Path

LOG_FILE = "log.jsonl"


class RunLog:
    """Appends records to ``log.jsonl``; each is on disk as soon as it is written.

    Args:
        folder: of the run.
        step: the run's finished steps; later records, of a part that was lost, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG_FILE
        kept = []
        if step > 0 and self._path.is_file():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                record = _parse(line)
                if record is not None and record["step"] <= step:
                    kept.append(line + "\n")
        write_text_atomic(self._path, "".join(kept))

    def append(self, kind: str, step: int, **values: Any) -> None:
        """Add one record."""
        line = json.dumps({"kind": kind, "step": step, **values})
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def _parse(line: str) -> dict[str, Any] | None:
    """A record, or None for a line that a kill cut short."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


class Meter:
    """Loss and speed since the last summary; validation and saving are not counted."""

    def __init__(self) -> None:
        self.seconds_per_step = 0.0
        """Of the last summary."""
        self._losses: list[float] = []
        self._images, self._waited, self._seconds = 0, 0.0, 0.0

    def add(self, loss: float, images: int, waited: float, seconds: float) -> None:
        """Count one step, which took `seconds`, of which `waited` for its data."""
        self._losses.append(loss)
        self._images += images
        self._waited += waited
        self._seconds += seconds

    def summary(self) -> dict[str, float]:
        """Mean loss, images a second and the share of time spent waiting; starts anew."""
        count, seconds = len(self._losses), max(self._seconds, 1e-9)
        values = {
            "loss": sum(self._losses) / count,
            "images_per_s": self._images / seconds,
            "wait": self._waited / seconds,
        }
        self.seconds_per_step = seconds / count
        self._losses.clear()
        self._images, self._waited, self._seconds = 0, 0.0, 0.0
        return values
