"""Options of supervision. Their defaults are written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from edge_runtime.errors import OptionError


@dataclass(frozen=True)
class SupervisionOptions:
    """What is done about a live source that fails. Files are never supervised.

    Raises:
        OptionError: a value that cannot work.
    """

    stall_timeout_s: float = 1.85
    """A live source without a new frame for so long has no signal; after twice that it is opened
    again. Two frame intervals if the source is slower. The watchdog looks every 0.1 s: by default
    silence is told within 2 s of the last good frame."""
    reconnect: bool = True
    """Open a live source again after it failed or stalled; False ends the run instead, and lets a
    stall last."""
    max_outage_s: float | None = None
    """After how long an outage ends the run; None waits for as long as it takes."""
    restart_capture_service: bool = False
    """A CSI camera's capture service may be restarted when it is wedged."""

    def __post_init__(self) -> None:
        for name, value in (
            ("stall timeout", self.stall_timeout_s),
            ("greatest outage", self.max_outage_s),
        ):
            if value is not None and not (value > 0 and isfinite(value)):
                raise OptionError(f"{name} {value:g} s: expected seconds above 0")
        if self.max_outage_s is not None and self.max_outage_s < self.stall_timeout_s:
            raise OptionError(
                f"greatest outage {self.max_outage_s:g} s: expected at least the stall timeout of "
                f"{self.stall_timeout_s:g} s, before which no outage is noticed"
            )

    def silence_limit_s(self, fps_nominal: float | None) -> float:
        """How long a live source of this rate may deliver nothing before it counts as stalled."""
        return max(self.stall_timeout_s, 2 / fps_nominal) if fps_nominal else self.stall_timeout_s
