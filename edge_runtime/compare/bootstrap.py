"""Whether two runs differ by more than they vary within themselves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

Statistic = Literal["mean", "median"]
MIN_WINDOWS = 10
"""Windows, of each run, below which nothing is tested."""
RESAMPLES = 2000
CONFIDENCE = 0.95


def interval_percent(
    ours: Values, theirs: Values, statistic: Statistic, weights: tuple[Values, Values] | None = None
) -> tuple[float, float] | None:
    """Limits of the change from `ours` to `theirs`, percent, at 95 % confidence.

    A moving-block bootstrap, blocks of ``n ** (1/3)`` windows: what follows each other shares what
    disturbs the machine, and is no independent sample.

    Args:
        ours: one value per window of the first run, in order.
        theirs: of the second.
        statistic: what is made of the windows of a run.
        weights: of the windows, for a mean.

    Returns:
        The limits, or None if a run has too few windows or its statistic may be 0.
    """
    if min(len(ours), len(theirs)) < MIN_WINDOWS:
        return None
    before = _resampled(ours, statistic, None if weights is None else weights[0], seed=0)
    after = _resampled(theirs, statistic, None if weights is None else weights[1], seed=1)
    if not np.all(before > 0):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(100 * (after / before - 1), (tail, 1 - tail))
    return float(low), float(high)


def _resampled(values: Values, statistic: Statistic, weights: Values | None, seed: int) -> Values:
    count = len(values)
    block = math.ceil(count ** (1 / 3))
    starts = np.random.default_rng(seed).integers(
        0, count - block + 1, (RESAMPLES, math.ceil(count / block), 1)
    )
    places = (starts + np.arange(block)).reshape(RESAMPLES, -1)[:, :count]
    if statistic == "median":
        medians: Values = np.median(values[places], axis=1)
        return medians
    weight = np.ones(count) if weights is None else weights
    means: Values = (values * weight)[places].sum(axis=1) / weight[places].sum(axis=1)
    return means
