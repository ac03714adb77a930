"""The log of a run, one JSON object a line, and its speed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOG_FILE = "log.jsonl"


class RunLog:
    """Appends records to ``log.jsonl``; each is on disk as soon as it is written.

    Args:
        folder: of the run; None keeps no log.
        step: the run's finished steps; later records, of a part that was lost, are dropped.
        also: called with the kind, step and values of each record.

    Raises:
        OptionError: the folder is not writable.
    """

    def __init__(
        self,
        folder: Path | None,
        step: int,
        also: Callable[[str, int, dict[str, Any]], None] | None = None,
    ) -> None:
        self._path = None if folder is None else folder / LOG_FILE
        self._also = also
        if self._path is None:
            return
        kept = []
        if step > 0 and self._path.is_file():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                record = _parse(line)
                if record is not None and record["step"] <= step:
                    kept.append(line + "\n")
        write_text_atomic(self._path, "".join(kept))

    def append(self, kind: str, step: int, **values: Any) -> None:
        """Add one record.

        Raises:
            OptionError: the folder is gone or the disk is full.
        """
        if self._path is None:
            return
        line = json.dumps({"kind": kind, "step": step, **values})
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise OptionError(
                f"cannot write {self._path}: {error.strerror}; the state saved last is still good"
            ) from error
        if self._also is not None:
            self._also(kind, step, values)


@contextmanager
def open_log(folder: Path | None, step: int, *, tensorboard: bool = False) -> Iterator[RunLog]:
    """The log of a run, with TensorBoard's curves beside it if asked for.

    Args:
        folder: of the run; None keeps no log.
        step: the run's finished steps.
        tensorboard: also write the curves.

    Raises:
        ModuleNotFoundError: TensorBoard's writer is not installed.
        OptionError: the folder is not writable.
    """
    if folder is None or not tensorboard:
        yield RunLog(folder, step)
        return
    from training.tensorboard import Curves

    curves = Curves(folder, step)
    try:
        yield RunLog(folder, step, curves.add)
    finally:
        curves.close()


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
