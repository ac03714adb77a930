"""From a histogram of magnitudes to the range that is kept: what lies beyond is clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from calibration.histogram import BINS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from calibration.histogram import TensorStatistics
    from calibration.policy import Placement

Method = Literal["entropy", "percentile", "mse", "minmax", "average"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.99
"""Share of the values, in per cent, that the percentile method keeps."""
CANDIDATES = 128
"""Ranges tried by the entropy and MSE methods, evenly spaced up to the largest magnitude."""


def amax_of(statistics: TensorStatistics, method: Method, *, levels: int = 128) -> float:
    """The largest magnitude to represent, above 0; 1 for a tensor that was always zero.

    Args:
        statistics: of one tensor.
        method: how to choose.
        levels: magnitudes that can be told apart, with zero: 128 for int8, 256 for uint8 from 0.
    """
    if statistics.all_zero:
        return 1.0
    if method == "minmax":
        return statistics.largest
    if method == "average":
        return statistics.average or statistics.largest
    used = min(int(statistics.largest / statistics.width) + 1, BINS)
    counts = statistics.counts[:used].astype(np.float64)
    if method == "percentile":
        bins = percentile_bins(counts, PERCENTILE)
    elif method == "mse":
        bins = mse_bins(counts, levels)
    else:
        bins = entropy_bins(counts, levels)
    return min(bins * statistics.width, statistics.largest)


def percentile_bins(counts: NDArray[np.float64], percentile: float) -> int:
    """How many bins hold `percentile` per cent of the values."""
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative, cumulative[-1] * percentile / 100.0)) + 1


def mse_bins(counts: NDArray[np.float64], levels: int) -> int:
    """The number of bins whose range has the least squared error of rounding and clipping."""
    centres = np.arange(len(counts)) + 0.5
    best, least = len(counts), np.inf
    for bins in _candidates(len(counts), levels):
        step = bins / (levels - 1)
        kept = np.minimum(np.rint(centres / step), levels - 1) * step
        error = float(np.dot(counts, (centres - kept) ** 2))
        if error < least:
            best, least = bins, error
    return best


def entropy_bins(counts: NDArray[np.float64], levels: int) -> int:
    """The number of bins whose quantised histogram diverges least from the clipped one (KL).

    Zeros are left out, as a ReLU makes so many that they would decide alone.
    """
    counts = counts.copy()
    counts[0] = counts[1] if len(counts) > 1 else counts[0]
    best, least = len(counts), np.inf
    for bins in _candidates(len(counts), levels):
        kept = counts[:bins]
        clipped = kept.copy()
        clipped[-1] += counts[bins:].sum()
        divergence = _kl(clipped, _quantized(kept, levels))
        if divergence < least:
            best, least = bins, divergence
    return best


def _candidates(bins: int, levels: int) -> list[int]:
    """From `levels` bins, where every bin is a level, to all of them; the widest first."""
    low = min(levels, bins)
    return sorted({round(b) for b in np.linspace(low, bins, CANDIDATES)}, reverse=True)


def _quantized(counts: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """Counts spread evenly over the occupied bins of their level."""
    level = np.arange(len(counts)) * levels // len(counts)
    occupied = counts > 0
    totals = np.bincount(level, counts)
    sharers = np.bincount(level, occupied)
    share = np.divide(totals, sharers, out=np.zeros_like(totals), where=sharers > 0)
    return np.where(occupied, share[level], 0.0)


def _kl(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    if p.sum() <= 0 or q.sum() <= 0:
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    both = (p > 0) & (q > 0)
    lost = float(p[(p > 0) & (q <= 0)].sum())
    # What falls into a bin that is empty after quantising is counted dearly, not as infinite.
    return float(np.sum(p[both] * np.log(p[both] / q[both]))) + lost * 30.0


def choose_ranges(
    placement: Placement, statistics: Mapping[str, TensorStatistics], method: Method
) -> dict[str, float]:
    """Tensor -> largest magnitude to represent, by one method, of every measured tensor."""
    unsigned = placement.policy.unsigned
    return {
        tensor.name: amax_of(
            statistics[tensor.name],
            method,
            levels=256 if unsigned and not tensor.signed else 128,
        )
        for tensor in placement.measured
    }


def prefer_given(
    placement: Placement, chosen: Mapping[str, float], given: Mapping[str, float]
) -> dict[str, float]:
    """The given ranges where there are any, for whole groups, and the chosen ones elsewhere.

    Members of a group share a scale; one that is not given must not widen what was learned.
    """
    groups: dict[str, float] = {}
    for tensor in placement.measured:
        if tensor.name in given:
            groups[tensor.group] = max(groups.get(tensor.group, 0.0), given[tensor.name])
    return {
        tensor.name: given.get(tensor.name, groups.get(tensor.group, chosen[tensor.name]))
        for tensor in placement.measured
    }
