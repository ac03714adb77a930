"""What trtexec makes of many durations, and what makes a ratio of two models trustworthy."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

PERCENTILES = (90, 95, 99)
UNSTABLE = 0.025
"""Coefficient of variation above which trtexec 10.16 and 11 warn; 10.3 warns above 0.01."""

BIN_RATIO = 1.02
"""Of a distribution: a bin is 2 % wide."""
SHORTEST_MS = 1e-6
"""Of the clock: what took less lies in the first bin."""
MIN_ROUNDS = 10
"""Rounds below which no confidence interval is given."""
MOST_BLOCKS = 1000
RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Of one metric, milliseconds; sorted on its own, as trtexec does."""

    min: float
    max: float
    mean: float
    median: float
    percentiles: dict[str, float]
    variation: float
    """Coefficient of variation."""


@dataclass(frozen=True)
class Distribution:
    """How many queries took how long, in bins that grow by a constant ratio."""

    bin_ratio: float
    """Upper bound of a bin by its lower bound."""
    bins_ms: list[float]
    """Upper bounds of the bins below, of those only that hold queries."""
    counts: list[int]


def distribute(values_ms: Sequence[float]) -> Distribution:
    """Count queries by what they took; there is at least one."""
    width = math.log(BIN_RATIO)
    places = Counter(math.ceil(math.log(max(value, SHORTEST_MS)) / width) for value in values_ms)
    ordered = sorted(places)
    return Distribution(
        bin_ratio=BIN_RATIO,
        bins_ms=[BIN_RATIO**place for place in ordered],
        counts=[places[place] for place in ordered],
    )


def summarise(values_ms: Sequence[float]) -> Summary:
    """The figures of one metric; there is at least one value."""
    ordered = sorted(values_ms)
    mean = statistics.fmean(ordered)
    return Summary(
        min=ordered[0],
        max=ordered[-1],
        mean=mean,
        median=statistics.median(ordered),
        percentiles={f"p{p}": trtexec_percentile(ordered, p) for p in PERCENTILES},
        variation=statistics.pstdev(ordered) / mean if mean else 0.0,
    )


def trtexec_percentile(ordered: Sequence[float], percentile: float) -> float:
    """The element that trtexec calls the percentile of sorted values.

    In single precision as there: it decides which element a product close to a whole number takes.
    """
    count = len(ordered)
    above = (np.float32(1) - np.float32(percentile) / np.float32(100)) * np.float32(count)
    return ordered[max(count - 1 - int(above), 0)]


@dataclass(frozen=True)
class Ratio:
    """Time of one model over that of another, from rounds in which both ran."""

    median: float
    """Of the ratios of each round."""
    low: float | None
    """Limits of the 95 % confidence interval; null where there are fewer than 10 rounds."""
    high: float | None
    rounds: int

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1; False without one."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


def paired_ratio(times: Sequence[float], base: Sequence[float]) -> Ratio:
    """The median ratio and its confidence interval.

    The interval is a moving-block bootstrap of the median, blocks of ``sqrt(rounds)``: rounds that
    follow each other share what disturbs the machine, and are no independent samples.

    Args:
        times: of each round, in order, above 0.
        base: of the same rounds; there is at least one.
    """
    rounds = len(times)
    ratios = np.asarray(times, np.float64) / np.asarray(base, np.float64)
    middle = float(np.median(ratios))
    if rounds < MIN_ROUNDS:
        return Ratio(middle, None, None, rounds)
    low, high = _interval(_folded(ratios))
    # The median of the folded ratios may lie a hair outside of the interval of their medians.
    return Ratio(middle, min(low, middle), max(high, middle), rounds)


def _folded(ratios: np.ndarray) -> np.ndarray:
    """At most `MOST_BLOCKS` values: medians of so many neighbours, so that memory is bounded."""
    each = math.ceil(len(ratios) / MOST_BLOCKS)
    if each == 1:
        return ratios
    whole = len(ratios) // each * each
    folded: np.ndarray = np.median(ratios[:whole].reshape(-1, each), axis=1)
    return folded


def _interval(ratios: np.ndarray) -> tuple[float, float]:
    count = len(ratios)
    block = math.isqrt(count - 1) + 1
    starts = np.random.default_rng(0).integers(
        0, count - block + 1, (RESAMPLES, math.ceil(count / block), 1)
    )
    places = (starts + np.arange(block)).reshape(RESAMPLES, -1)[:, :count]
    medians = np.median(ratios[places], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return float(low), float(high)
