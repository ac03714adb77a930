"""How long to wait before a source is opened again."""

from __future__ import annotations

import random

FIRST_S = 0.25
FACTOR = 2.0
LONGEST_S = 2.5
"""With an opening of some 2 s a source is back 5 s after it can be, however long it was away."""
STABLE_S = 10.0
"""A source that fails again sooner has not recovered: the waits go on growing."""


class Backoff:
    """Waits that double up to a cap, each shortened at random by up to a half.

    Many clients of one camera must not come back all at the same time. The cap holds for good: a
    camera that is back after a day is to be seen within seconds.

    Args:
        seed: of the random part.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._rng = random.Random(seed)
        self._failures = 0

    def outage(self, up_s: float) -> None:
        """A source is lost that was up for `up_s` seconds."""
        if up_s >= STABLE_S:
            self._failures = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        wait_s = min(FIRST_S * FACTOR ** min(self._failures, 16), LONGEST_S)
        self._failures += 1
        return wait_s * self._rng.uniform(0.5, 1.0)
