"""What a training run works with, besides its options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from training.distributed import Ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from edge_runtime.metrics import Scores
    from training.data.datasets import Dataset
    from training.distill import Teacher
    from training.progress import Progress

BEST_FILE = "checkpoint.safetensors"
LAST_FILE = "last.safetensors"


class SaveWeights(Protocol):
    """Writes weights as an artefact, complete or not at all."""

    def __call__(
        self, path: Path, weights: Mapping[str, Tensor], step: int, scores: Scores | None
    ) -> None:
        """Write the network's `weights` to `path` with what they scored on the val split."""
        ...


@dataclass(frozen=True)
class Setup:
    """What a run works with, besides its options."""

    train_set: Dataset
    val_set: Dataset
    folder: Path
    """Of the run; exists."""
    val_size: tuple[int, int]
    """(height, width) the network is validated at."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    save_weights: SaveWeights
    report: Callable[[str], None]
    """Takes what is worth a line."""
    watch: Callable[[Progress], None] | None = None
    """Called after every step; without it some steps are reported as lines."""
    ranks: Ranks = field(default_factory=Ranks)
    teacher: Teacher | None = None
    """Whom to learn from besides the labels."""
