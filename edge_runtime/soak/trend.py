"""Whether a series of samples goes up: slopes and thirds that a few outliers do not move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def theil_sen(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The median of the slopes between all pairs of points; nearly a third may be wild.

    Args:
        x: (n,) increasing, n >= 2.
        y: (n,).
    """
    slopes = []
    for step in range(1, len(x)):
        run = x[step:] - x[:-step]
        slopes.append(((y[step:] - y[:-step])[run > 0]) / run[run > 0])
    return float(np.median(np.concatenate(slopes)))


def thirds(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first and the last third, (n // 3,) each and one value at least."""
    length = max(len(values) // 3, 1)
    return values[:length], values[-length:]
