"""When the bridge is used: after its pictures were those of the default way, and until it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TrustState = Literal["checking", "trusted", "refused"]

CHECKS = 3
"""Pictures that must agree, one after the other."""
TOLERANCE = 2
"""Largest difference of one value: both ways start from the same scaled frame."""
CONTRAST = 16
"""A picture must differ by so much within itself to prove anything: black equals any black."""
FLAT_LIMIT = 300
"""Pictures without contrast after which the comparison is given up."""
FAILURES = 3
"""Frames that could not be carried after which the bridge is given up."""


class Trust:
    """Decides between the bridge and the default way. A wrong picture ends it for good.

    Args:
        say: takes the one line that tells why the bridge is not used.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.state: TrustState = "checking"
        self._say = say
        self._agreed = 0
        self._flat = 0
        self._failures = 0

    def compared(
        self,
        default: NDArray[np.uint8],
        bridged: NDArray[np.uint8],
        content: tuple[int, int, int, int] | None = None,
    ) -> None:
        """Take one picture of both ways into account, each (height, width, 3) uint8.

        Args:
            default: of the default way.
            bridged: of the bridge.
            content: (top, left, height, width) of what is no border; None is all of it.
        """
        if default.shape != bridged.shape:
            self.refuse(f"its picture is {bridged.shape}, the default one {default.shape}")
            return
        top, left, height, width = content or (0, 0, *default.shape[:2])
        inside = default[top : top + height, left : left + width]
        difference = np.abs(default.astype(np.int16) - bridged)
        if (worst := int(difference.max())) > TOLERANCE:
            share = float((difference > TOLERANCE).mean())
            self.refuse(
                f"its picture differs from the default one by up to {worst} of 255 in {share:.1%} "
                f"of the values, where {TOLERANCE} are allowed"
            )
        elif int(np.ptp(inside)) < CONTRAST:
            self._flat += 1
            if self._flat >= FLAT_LIMIT:
                self.refuse(f"{FLAT_LIMIT} frames had too little contrast to compare pictures")
        else:
            self._agreed += 1
            if self._agreed >= CHECKS:
                self.state = "trusted"

    def failed(self, reason: str) -> None:
        """A frame could not be carried: compare anew, or give up after several."""
        self._failures += 1
        if self._failures >= FAILURES:
            self.refuse(f"{FAILURES} frames could not be carried, the last one because {reason}")
        else:
            self.restart()

    def restart(self) -> None:
        """Compare anew, as for the buffers of a camera that was opened again."""
        if self.state != "refused":
            self.state, self._agreed = "checking", 0

    def refuse(self, reason: str) -> None:
        """Use the default way from now on."""
        if self.state != "refused":
            self.state = "refused"
            self._say(off_line(reason))


def off_line(reason: str) -> str:
    """The line that tells why the bridge is not used."""
    return f"zero-copy is off: {reason}; frames are copied once, as by default"
