"""The curves of a run for TensorBoard, by a package that needs no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "tensorboard"


class Curves:
    """Writes the figures of log records as scalars into ``tensorboard/`` of a run.

    Args:
        folder: of the run.
        step: the run's finished steps; what an earlier part wrote beyond them is hidden.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed; the command line names its extra.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=step + 1 if step else None)

    def add(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add the numbers of one record, a group of numbers as one scalar each."""
        for name, value in values.items():
            if isinstance(value, dict) and kind == "val":
                self.add(f"{kind}/{name}", step, value)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
