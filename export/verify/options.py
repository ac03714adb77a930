"""Options of `hyperseg verify`: frozen, with each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.pairs import Split

GATE = 4.0
"""Allowed error in noise floors (root mean square), and allowed flips in the floor's own."""


@dataclass(frozen=True)
class VerifyOptions:
    """What is compared, and on what.

    Raises:
        OptionError: a value that cannot work.
    """

    size: tuple[int, int] | None = None
    """(height, width) for a checkpoint alone; None takes the models', or the training size."""
    source: str | None = None
    """Frames to compare on, any source of `run`; None draws them from the seed."""
    data: str | None = None
    """Labelled pictures to compare on instead, such as ``camvid:DIR``: forms are scored too."""
    split: Split = "val"
    """Which of them."""
    frames: int = 3
    """How many."""
    seed: int = 0
    """Of the drawn frames and of the rounding that is tried."""
    nodes: bool = False
    """Also find the first node where each ONNX form parts from the reference."""
    gate: float = GATE
    """Allowed error in noise floors."""
    min_agreement: float | None = None
    """Also fail a form that agrees on fewer pixels (0..1); None leaves it to the noise floor."""
    report: Path | None = None
    """Where the report goes: JSON, or a page if its name ends in ``.html``."""
    html: Path | None = None
    """Where the page goes beside the JSON."""
    threads: int | None = None
    """CPU threads; None takes one per core."""

    @property
    def drawn(self) -> bool:
        """Whether the frames are drawn."""
        return self.source is None and self.data is None

    def __post_init__(self) -> None:
        if self.source is not None and self.data is not None:
            raise OptionError("frames come from --source or from --data; give one of them")
        if self.frames < 1:
            raise OptionError(f"--frames is {self.frames}; at least one is compared")
        if self.gate <= 0:
            raise OptionError(f"--gate is {self.gate:g}; give the noise floors allowed, such as 4")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise OptionError(f"--min-agreement is {self.min_agreement:g}; give a share of 0 to 1")
        for path in (self.report, self.html):
            if path is not None and not path.parent.is_dir():
                raise OptionError(f"cannot write {path}: no folder {path.parent}")
