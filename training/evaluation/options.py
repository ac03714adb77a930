"""Options of an evaluation: frozen, with each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from typing import Any

    from edge_runtime.artifacts import ResizeMode


@dataclass(frozen=True)
class EvalOptions:
    """How pictures are shown to a network; the defaults show each one once, whole.

    Raises:
        OptionError: a value or a combination of values that cannot work.
    """

    size: tuple[int, int] | None = None
    """(height, width) a checkpoint is run at; None: what it was validated at."""
    resize: ResizeMode | None = None
    """How a picture of another shape is fitted; None: what the artefact says."""
    window: tuple[int, int] | None = None
    """(height, width) of a window slid over the picture at its own resolution."""
    overlap: float = 0.25
    """Share of a window, 0 to below 1, that its neighbour covers too."""
    scales: tuple[float, ...] = (1.0,)
    """Zooms at which each picture is seen; the class probabilities are averaged."""
    flip: bool = False
    """Also see the mirror image of each view."""
    threads: int | None = None
    """CPU threads; None leaves it to the engine."""
    device: str = "cpu"
    """Of a checkpoint: ``cpu``, ``cuda`` or ``auto``."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise OptionError(f"overlap is {self.overlap:g}; expected a share from 0 to below 1")
        if not self.scales or not all(0.1 <= scale <= 8 for scale in self.scales):
            listed = ", ".join(f"{scale:g}" for scale in self.scales) or "none"
            raise OptionError(f"scales are {listed}; expected one or more from 0.1 to 8")
        if self.window is not None and (self.size is not None or self.resize is not None):
            raise OptionError(
                "a sliding window sees the picture at its own resolution; leave --size and "
                "--resize out, or --window"
            )
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"threads is {self.threads}; expected 1 or more")

    @property
    def views(self) -> int:
        """Zooms and mirror images of one picture."""
        return len(self.scales) * (2 if self.flip else 1)

    @property
    def averaged(self) -> bool:
        """Whether predictions are averaged, for which a network must output scores."""
        return self.views > 1 or self.window is not None

    def as_json(self) -> dict[str, Any]:
        """What decides on the scores, as plain values."""
        return {
            "window": None if self.window is None else list(self.window),
            "overlap": None if self.window is None else self.overlap,
            "scales": list(self.scales),
            "flip": self.flip,
        }


def parse_scales(text: str) -> tuple[float, ...]:
    """``0.75,1.0,1.25``, or with spaces, as numbers.

    Raises:
        OptionError: it is not understood.
    """
    try:
        return tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise OptionError(
            f"scales {text!r} are not understood; expected numbers such as 0.75,1.0,1.25"
        ) from None
