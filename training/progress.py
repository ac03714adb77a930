"""How far a run is, as a line of text or as a bar on a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Progress:
    """One finished step."""

    step: int
    steps: int
    """Of the whole schedule."""
    loss: float
    rate: float
    """Learning rate of the step."""
    images: int
    """In the step, of all processes."""
    seconds: float
    """The step took, the wait for its data included."""


def progress_line(latest: Progress, values: Mapping[str, float], seconds_per_step: float) -> str:
    """A line for logs and pipes.

    Args:
        latest: the newest step.
        values: means of the last steps, as `Meter.summary` gives them.
        seconds_per_step: mean of the last steps.
    """
    eta = timedelta(seconds=round((latest.steps - latest.step) * seconds_per_step))
    return (
        f"step  {latest.step:>6}/{latest.steps}  loss {values['loss']:.4f}  lr {latest.rate:.2e}  "
        f"{values['images_per_s']:.1f} img/s  data wait {100 * values['wait']:.0f} %  eta {eta}"
    )
